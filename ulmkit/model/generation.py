"""Generation from a prompt by sampling or beam search: ids in, ids out."""

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn.functional import one_hot

from ulmkit.config import check_not_negative, check_whole
from ulmkit.errors import ConfigError, DataError, TrainingError
from ulmkit.model.language_model import AWDLSTMLanguageModel
from ulmkit.model.prepared import PreparedWeights, State

_LOWEST_TEMPERATURE = 1e-6  # below it, logits divided by the temperature would overflow


@dataclass(frozen=True)
class Continuation:
    """A generated sequence.

    Attributes:
        ids: Ids after the prompt, including the stop id.
        log_probability: Log-probability of these ids under the model, nats.
    """

    ids: tuple[int, ...]
    log_probability: float


def next_token_probabilities(
    logits: Tensor,
    *,
    temperature: float = 1.0,
    top_k: int | None = None,
    top_p: float = 1.0,
    forbidden: Sequence[int] = (),
) -> Tensor:
    """Distribution to sample the next token from.

    p = softmax(logits / temperature), restricted to the `top_k` most probable tokens, then to the fewest of these that
    together reach `top_p`, and renormalized each time. A temperature below 1e-6 always takes the most probable token,
    the limit at 0.

    Args:
        logits: (B, V) float.
        temperature: At least 0.
        top_k: Tokens to keep; None for all.
        top_p: Probability to keep, 0 < top_p <= 1.
        forbidden: Ids that get probability 0.

    Returns:
        (B, V) at least float32; rows sum to 1.

    Raises:
        ConfigError: If an option is outside its range.
        DataError: If a forbidden id is not in the vocabulary, or all ids are forbidden.

    Source: top-k: Fan et al. 2018, arXiv:1805.04833, section 5.4; top-p: Holtzman et al. 2020, arXiv:1904.09751,
        section 3.1.
    """
    check_not_negative("temperature", temperature)
    if top_k is not None:
        check_whole("top_k", top_k)
    if not 0.0 < top_p <= 1.0:
        raise ConfigError(f"top_p: expected 0 < p <= 1, got {top_p!r}")
    logits = _forbid(logits.to(torch.promote_types(logits.dtype, torch.float32)), forbidden)
    if temperature < _LOWEST_TEMPERATURE:
        return one_hot(logits.argmax(dim=-1), logits.shape[-1]).to(logits.dtype)
    if top_k is None and top_p == 1.0:
        return ((logits - logits.amax(dim=-1, keepdim=True)) / temperature).softmax(dim=-1)
    ranked, order = logits.sort(dim=-1, descending=True, stable=True)
    probabilities = ((ranked - ranked[:, :1]) / temperature).softmax(dim=-1)
    if top_k is not None:
        probabilities[:, top_k:] = 0.0
        probabilities /= probabilities.sum(dim=-1, keepdim=True)
    if top_p < 1.0:
        more_probable = probabilities.cumsum(dim=-1) - probabilities
        probabilities[more_probable >= top_p] = 0.0
        probabilities /= probabilities.sum(dim=-1, keepdim=True)
    return torch.zeros_like(probabilities).scatter(-1, order, probabilities)


def _forbid(scores: Tensor, forbidden: Sequence[int]) -> Tensor:
    """Set the scores (..., V) of forbidden ids to -inf."""
    vocabulary = scores.shape[-1]
    _check_ids("forbidden", forbidden, vocabulary)
    if len(set(forbidden)) == vocabulary:
        raise DataError(f"forbidden: expected to leave at least one token, got all {vocabulary}")
    return scores.index_fill(-1, torch.tensor(forbidden, dtype=torch.int64, device=scores.device), -torch.inf)


def _check_ids(name: str, ids: Sequence[int], vocabulary: int) -> None:
    for number in ids:
        if not 0 <= number < vocabulary:
            raise DataError(f"{name}: expected ids of 0..{vocabulary - 1}, got {number}")


@torch.no_grad()
def sample(
    model: AWDLSTMLanguageModel,
    prompt: Tensor,
    steps: int,
    *,
    temperature: float = 1.0,
    top_k: int | None = None,
    top_p: float = 1.0,
    forbidden: Sequence[int] = (),
    stop: Sequence[int] = (),
    generator: torch.Generator | None = None,
) -> list[Continuation]:
    """Continue each prompt by drawing one token after the other.

    Args:
        model: Language model in evaluation mode.
        prompt: (P, B) int64, P >= 1; the B prompts are independent (repeat one for several samples).
        steps: Most tokens to draw.
        temperature: See `next_token_probabilities`.
        top_k: See `next_token_probabilities`.
        top_p: See `next_token_probabilities`.
        forbidden: See `next_token_probabilities`.
        stop: Ids that end a continuation.
        generator: Source of randomness, on the model's device; None for torch's own.

    Returns:
        A continuation of each prompt; its log-probability is the model's, before any of the options.

    Raises:
        ConfigError: If an option is outside its range, or the model is in training mode.
        DataError: If an id is not in the vocabulary.
    """
    _check_request(model, prompt, 2, steps, stop)
    prepared = model.encoder.prepare(prompt.shape[1])
    logits, state = _read_prompt(model, prompt, prepared)
    is_running = torch.ones(prompt.shape[1], dtype=torch.bool, device=prompt.device)
    drawn: list[Tensor] = []
    log_probability = torch.zeros(prompt.shape[1], dtype=torch.float64, device=prompt.device)
    lengths = torch.zeros_like(prompt[0])
    for step in range(steps):
        if step > 0:
            next_logits, state = model(drawn[-1].unsqueeze(0), state, prepared)
            logits = next_logits[0]
        probabilities = next_token_probabilities(
            logits, temperature=temperature, top_k=top_k, top_p=top_p, forbidden=forbidden
        )
        if not probabilities.isfinite().all():
            raise TrainingError("the model's probabilities are not finite: its weights were altered; train it again")
        token = torch.multinomial(probabilities, 1, generator=generator).squeeze(1)
        drawn.append(token)
        log_probability += is_running * logits.double().log_softmax(dim=-1).gather(1, token.unsqueeze(1)).squeeze(1)
        lengths += is_running
        is_running &= ~_is_any_of(token, stop)
        if not is_running.any():
            break
    return _continuations(torch.stack(drawn, dim=1), lengths, log_probability)


@dataclass(frozen=True)
class _Beams:
    """State of a beam search with n beams.

    Attributes:
        ids: (n, t) int64.
        lengths: (n,) int64, ids of each beam that count.
        log_probability: (n,) float64.
        done: (n,) bool, True once a stop id has been reached.
    """

    ids: Tensor
    lengths: Tensor
    log_probability: Tensor
    done: Tensor


@torch.no_grad()
def beam_search(
    model: AWDLSTMLanguageModel,
    prompt: Tensor,
    steps: int,
    *,
    width: int,
    forbidden: Sequence[int] = (),
    stop: Sequence[int] = (),
    length_power: float = 0.0,
) -> list[Continuation]:
    """Find probable continuations of a prompt by beam search.

    A continuation y is ranked by log p(y) / |y|^length_power. One that has stopped stays in the beam until better ones
    displace it.

    Args:
        model: Language model in evaluation mode.
        prompt: (P,) int64, P >= 1.
        steps: Most tokens to add.
        width: Continuations kept after each step.
        forbidden: Ids that are never generated.
        stop: Ids that end a continuation.
        length_power: 0 ranks by probability, which favors early stops; 1 by the mean over tokens.

    Returns:
        At most `width` continuations, best first.

    Raises:
        ConfigError: If an option is outside its range, or the model is in training mode.
        DataError: If an id is not in the vocabulary.

    Source: length normalization: Wu et al. 2016, arXiv:1609.08144, section 7, without its constant 5.
    """
    _check_request(model, prompt, 1, steps, stop)
    check_whole("width", width)
    check_not_negative("length_power", length_power)
    prepared = model.encoder.prepare(1)  # evaluation mode: no masks, so it serves any number of beams
    logits, state = _read_prompt(model, prompt.unsqueeze(1), prepared)
    zero = torch.zeros(1, dtype=torch.int64, device=prompt.device)
    beams = _Beams(zero.new_empty(1, 0), zero, zero.double(), zero.bool())
    for step in range(steps):
        if step > 0:
            next_logits, state = model(beams.ids[:, -1].unsqueeze(0), state, prepared)
            logits = next_logits[0]
        next_scores = _forbid(logits.double().log_softmax(dim=-1), forbidden)
        beams, parents = _grow(beams, next_scores, width, stop, length_power)
        state = [(h[parents], c[parents]) for h, c in state]
        if beams.done.all():
            break
    return _continuations(beams.ids, beams.lengths, beams.log_probability)


def _grow(
    beams: _Beams, next_scores: Tensor, width: int, stop: Sequence[int], length_power: float
) -> tuple[_Beams, Tensor]:
    """Extend all beams by one token and keep the best `width`, best first.

    A beam that is done has itself as its one successor: id 0, which does not count, with log-probability 0.

    Returns:
        The new beams, and the indices (n,) of the beams they extend.
    """
    vocabulary = next_scores.shape[1]
    only_itself = torch.full_like(next_scores[0], -torch.inf)
    only_itself[0] = 0.0
    next_scores = torch.where(beams.done.unsqueeze(1), only_itself, next_scores)
    log_probability = beams.log_probability.unsqueeze(1) + next_scores  # n, V
    lengths = beams.lengths + ~beams.done
    ranking = (log_probability / lengths.unsqueeze(1) ** length_power).flatten()
    chosen = ranking.topk(min(width, int(ranking.isfinite().sum()))).indices
    parents, tokens = chosen // vocabulary, chosen % vocabulary
    grown = _Beams(
        torch.cat([beams.ids[parents], tokens.unsqueeze(1)], dim=1),
        lengths[parents],
        log_probability.flatten()[chosen],
        beams.done[parents] | _is_any_of(tokens, stop),
    )
    return grown, parents


def _read_prompt(model: AWDLSTMLanguageModel, prompt: Tensor, prepared: PreparedWeights) -> tuple[Tensor, State]:
    """Read prompts (P, B). Returns: logits (B, V) of the first token after them, and the state."""
    state = model.encoder(prompt[:-1], None, prepared).state if len(prompt) > 1 else None
    logits, state = model(prompt[-1:], state, prepared)
    return logits[0], state


def _is_any_of(tokens: Tensor, ids: Sequence[int]) -> Tensor:
    return torch.isin(tokens, torch.tensor(list(ids), dtype=tokens.dtype, device=tokens.device))


def _continuations(ids: Tensor, lengths: Tensor, log_probability: Tensor) -> list[Continuation]:
    rows = zip(ids.tolist(), lengths.tolist(), log_probability.tolist(), strict=True)
    return [Continuation(tuple(row[:length]), total) for row, length, total in rows]


def _check_request(
    model: AWDLSTMLanguageModel, prompt: Tensor, dimensions: int, steps: int, stop: Sequence[int]
) -> None:
    if model.training:
        raise ConfigError("model: expected evaluation mode, got training mode; call model.eval()")
    check_whole("steps", steps)
    expected = "(P, B)" if dimensions == 2 else "(P,)"
    if prompt.dim() != dimensions or prompt.numel() == 0:
        raise DataError(f"prompt: expected shape {expected} with at least one token, got {tuple(prompt.shape)}")
    _check_ids("prompt", prompt.flatten().tolist(), model.vocab_size)
    _check_ids("stop", stop, model.vocab_size)
