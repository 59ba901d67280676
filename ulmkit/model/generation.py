"""Going on from a prompt, by sampling or by beam search. Ids in, ids out."""

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn.functional import one_hot

from ulmkit.config import check_not_negative, check_positive
from ulmkit.errors import ConfigError, DataError
from ulmkit.model.awd_lstm import Prepared, State
from ulmkit.model.language_model import AWDLSTMLanguageModel

_COLDEST = 1e-6  # below, logits divided by the temperature would overflow


@dataclass(frozen=True)
class Continuation:
    """ids: what follows the prompt, its stop id included. log_probability: of these ids under the model, nats."""

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
    """What to sample the next token from.

    p = softmax(logits / temperature), then only the `top_k` most probable, then only the fewest of these that
    together reach `top_p`, each time renormalised. Temperature 0 is the limit: always the most probable token (as for
    any temperature below 1e-6).

    Args: logits: (B, V) float. forbidden: ids of probability 0.
    Returns: (B, V) float, at least float32, rows sum to 1.
    Raises: ConfigError for options outside their range; DataError for forbidden ids that leave no token or are none.
    Source: top-k: Fan et al. 2018, arXiv:1805.04833, section 5.4; top-p: Holtzman et al. 2020, arXiv:1904.09751,
        section 3.1.
    """
    check_not_negative("temperature", temperature)
    if top_k is not None:
        check_positive("top_k", top_k)
    if not 0.0 < top_p <= 1.0:
        raise ConfigError(f"top_p: expected 0 < p <= 1, got {top_p!r}")
    logits = _forbid(logits.to(torch.promote_types(logits.dtype, torch.float32)), forbidden)
    if temperature < _COLDEST:
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
    """Scores (..., V) with -inf for the forbidden ids."""
    vocabulary = scores.shape[-1]
    for number in forbidden:
        if not 0 <= number < vocabulary:
            raise DataError(f"forbidden: expected ids of 0..{vocabulary - 1}, got {number}")
    if len(set(forbidden)) == vocabulary:
        raise DataError(f"forbidden: expected to leave at least one token, got all {vocabulary}")
    index = torch.tensor(sorted(set(forbidden)), dtype=torch.int64, device=scores.device)
    return scores.index_fill(-1, index, -torch.inf)


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
    """Go on from each prompt by drawing one token after the other.

    Args:
        model: in evaluation mode.
        prompt: (P, B) int64, P >= 1; the B prompts go on independently (repeat one for several samples).
        steps: tokens to draw, at most.
        temperature, top_k, top_p, forbidden: see `next_token_probabilities`.
        stop: ids that end a continuation.
        generator: source of randomness, on the model's device; None for torch's own.
    Returns: a continuation for each prompt; its log-probability is the model's own, before any of the options.
    Raises: ConfigError for options outside their range or a model in training mode; DataError for ids that are none.
    """
    _check_request(model, prompt, 2, steps, stop)
    prepared = model.encoder.prepare(prompt.shape[1])
    logits, state = _read_prompt(model, prompt, prepared)
    going = torch.ones(prompt.shape[1], dtype=torch.bool, device=prompt.device)
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
        token = torch.multinomial(probabilities, 1, generator=generator).squeeze(1)
        drawn.append(token)
        log_probability += going * logits.double().log_softmax(dim=-1).gather(1, token.unsqueeze(1)).squeeze(1)
        lengths += going
        going = going & ~_is_any_of(token, stop)
        if not going.any():
            break
    return _continuations(torch.stack(drawn, dim=1), lengths, log_probability)


@dataclass(frozen=True)
class _Beams:
    """ids: (n, t) int64. lengths: (n,) of them that count. log_probability: (n,) float64. done: (n,) bool."""

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
    """The most probable continuations that a beam of `width` finds.

    A continuation y is ranked by log p(y) / |y|^length_power. One that has stopped keeps its place in the beam until
    better ones take it.

    Args:
        model: in evaluation mode.
        prompt: (P,) int64, P >= 1.
        steps: tokens to add, at most.
        width: continuations kept after each step.
        forbidden: ids that are not taken. stop: ids that end a continuation.
        length_power: 0 ranks by probability, which favours early stops; 1 by the mean over tokens.
    Returns: at most `width` continuations, best first.
    Raises: ConfigError for options outside their range or a model in training mode; DataError for ids that are none.
    Source: length normalisation: Wu et al. 2016, arXiv:1609.08144, section 7, without its constant 5.
    """
    _check_request(model, prompt, 1, steps, stop)
    check_positive("width", width)
    check_not_negative("length_power", length_power)
    prepared = model.encoder.prepare(1)  # evaluation mode: no masks, so it serves any number of beams
    logits, state = _read_prompt(model, prompt.unsqueeze(1), prepared)
    nothing = torch.zeros(1, dtype=torch.int64, device=prompt.device)
    beams = _Beams(nothing.new_empty(1, 0), nothing, nothing.double(), nothing.bool())
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
    """The best `width` of all beams made one token longer, best first, and the beams (n,) they come from.

    A beam that is done goes on as itself: its one successor has id 0, which does not count, and costs nothing.
    """
    vocabulary = next_scores.shape[1]
    itself = torch.full_like(next_scores[0], -torch.inf)
    itself[0] = 0.0
    next_scores = torch.where(beams.done.unsqueeze(1), itself, next_scores)
    log_probability = beams.log_probability.unsqueeze(1) + next_scores  # n, V
    lengths = beams.lengths + ~beams.done
    ranking = (log_probability / lengths.unsqueeze(1) ** length_power).flatten()
    chosen = ranking.topk(min(width, int(ranking.isfinite().sum()))).indices
    parents, tokens = chosen // vocabulary, chosen % vocabulary
    done = beams.done[parents]
    grown = _Beams(
        torch.cat([beams.ids[parents], tokens.unsqueeze(1)], dim=1),
        lengths[parents],
        log_probability.flatten()[chosen],
        done | _is_any_of(tokens, stop),
    )
    return grown, parents


def _read_prompt(model: AWDLSTMLanguageModel, prompt: Tensor, prepared: Prepared) -> tuple[Tensor, State]:
    """Logits (B, V) of the first token after prompt (P, B), and the state there."""
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
    check_positive("steps", steps)
    expected = "(P, B)" if dimensions == 2 else "(P,)"
    if prompt.dim() != dimensions or prompt.numel() == 0:
        raise DataError(f"prompt: expected shape {expected} with at least one token, got {tuple(prompt.shape)}")
    vocabulary = model.vocab_size
    for name, ids in (("prompt", prompt.flatten().tolist()), ("stop", stop)):
        for number in ids:
            if not 0 <= number < vocabulary:
                raise DataError(f"{name}: expected ids of 0..{vocabulary - 1}, got {number}")
