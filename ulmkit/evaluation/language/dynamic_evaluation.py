"""Dynamic evaluation: the model goes on learning from the text while it is evaluated on it.

Each segment is scored first and learnt from then, so every token is predicted by a model that has not seen it.

Source: Krause, Kahembwe, Murray & Renals 2018, "Dynamic evaluation of neural sequence models", arXiv:1709.07432.
"""

import dataclasses
import math
import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
import torch
from torch import Tensor

from ulmkit.config import check_choice, check_not_negative, check_positive, check_whole
from ulmkit.errors import ConfigError
from ulmkit.evaluation.language.blocks import score_block
from ulmkit.evaluation.language.cache import CacheConfig, CacheHistory
from ulmkit.evaluation.language.evaluation_checkpoint import EvaluationCheckpoint
from ulmkit.evaluation.language.gradient_statistics import GradientStatistics, rms_norm, tensors_fingerprint
from ulmkit.evaluation.language.learning_copy import LearningCopy, named_values
from ulmkit.evaluation.language.perplexity import Perplexity
from ulmkit.evaluation.language.streams import StreamCallback, TokenSource, check_context, token_source
from ulmkit.files import fingerprint
from ulmkit.model.awd_lstm import State
from ulmkit.model.language_model import AWDLSTMLanguageModel

_LOOK_SEGMENTS = 64
"""Between two looks at the totals, each of which waits for a GPU."""


@dataclass(frozen=True, kw_only=True)
class DynamicConfig:
    """How a model adapts.

    Attributes:
        learning_rate: eta in the paper.
        decay: lambda, towards the trained parameters, a step.
        epsilon: what keeps steps finite where gradients were zero; of rule "rms" alone.
        segment_steps: tokens between two steps.
        rule: "rms" scales steps and decay with gradient statistics, "sgd" does not.
    Raises: ConfigError if a value is outside its range.
    """

    learning_rate: float
    decay: float
    epsilon: float = 2e-5
    segment_steps: int = 5
    rule: str = "rms"

    def __post_init__(self) -> None:
        check_choice("rule", self.rule, ("rms", "sgd"))
        check_not_negative("learning_rate", self.learning_rate)
        check_positive("epsilon", self.epsilon)
        check_whole("segment_steps", self.segment_steps)
        if not 0.0 <= self.decay <= 1.0:
            raise ConfigError(f"decay: expected 0 <= decay <= 1, got {self.decay!r}")

    def for_segments(self, steps: int) -> "DynamicConfig":
        """The same for segments of another length: learning rate and decay in proportion, as in the authors' search.

        Raises: ConfigError if `steps` is below 1.
        """
        check_whole("segment_steps", steps)
        ratio = steps / self.segment_steps
        rate, decay = self.learning_rate * ratio, min(self.decay * ratio, 1.0)
        return dataclasses.replace(self, learning_rate=rate, decay=decay, segment_steps=steps)


def convert_printed(
    learning_rate: float, decay: float, epsilon: float, *, statistics_batches: int, parameter_tensors: int = 14
) -> DynamicConfig:
    """Hyperparameters for the paper's formulas from those that its first code took ("oldhyper").

    That code had sqrt(sum of squares), not their mean's root: sqrt(N_b) times as much, so eta / sqrt(N_b) and
    epsilon / sqrt(N_b) take the same steps. It divided by the sum of the tensors' means, not by their mean:
    lambda / tensors decays alike.

    Args: learning_rate, decay, epsilon: as printed. statistics_batches: N_b, with which they were tuned.
    parameter_tensors: of that model; an AWD-LSTM of three layers has 14.
    Raises: ConfigError for counts below 1.
    Source: Krause et al. 2018, arXiv:1709.07432: the authors' code.
    """
    check_whole("statistics_batches", statistics_batches)
    check_whole("parameter_tensors", parameter_tensors)
    root = math.sqrt(statistics_batches)
    return DynamicConfig(learning_rate=learning_rate / root, decay=decay / parameter_tensors, epsilon=epsilon / root)


DYNAMIC_PTB = convert_printed(0.002, 0.02, 0.001, statistics_batches=1859)
"""As the paper has it for AWD-LSTM on PTB, whose training text has 1,859 batches of 100 rows and 5 steps."""

DYNAMIC_WIKITEXT2 = convert_printed(0.002, 0.02, 0.001, statistics_batches=4177)
"""The same for WikiText-2."""

DYNAMIC_SGD = DynamicConfig(learning_rate=0.5, decay=1e-3, rule="sgd")
"""For rule "sgd", for which the paper prints none for an AWD-LSTM: the best of rates from 0.02 to 2 on the first 3,000
validation tokens of PTB, read by a model of two hours' training; the decay was not searched."""


def step_sizes(mean_square: Mapping[str, Tensor], learning_rate: float, epsilon: float) -> dict[str, Tensor]:
    """What each parameter's gradient is multiplied by: eta / (sqrt(MS_g) + epsilon).

    Args: mean_square: MS_g by parameter name. Returns: by name, in the same shapes.
    Source: Krause et al. 2018, arXiv:1709.07432, section 5.
    """
    return {name: learning_rate / (tensor.sqrt() + epsilon) for name, tensor in mean_square.items()}


def decay_rates(mean_square: Mapping[str, Tensor], decay: float) -> dict[str, Tensor]:
    """What part of the way to its trained value each parameter goes back at a step: min(lambda RMS_norm, 1).

    Args: mean_square: MS_g by parameter name. Returns: by name, in the same shapes.
    Raises: as `rms_norm`.
    Source: Krause et al. 2018, arXiv:1709.07432, section 5; the limit, lest a step goes too far: the authors' code.
    """
    return {name: (decay * norm).clamp_(max=1.0) for name, norm in rms_norm(mean_square).items()}


def adapt(
    parameters: list[Tensor],
    trained: list[Tensor],
    gradients: list[Tensor],
    sizes: list[Tensor],
    decays: list[Tensor],
) -> None:
    """One step of adaptation, in place.

    theta_i = theta_{i-1} - size grad L(s_i) + decay (theta_g - theta_{i-1})

    Args: parameters: theta, which change; trained: theta_g; gradients: of the segment's mean loss; sizes, decays: from
    `step_sizes` and `decay_rates`, or scalars for rule "sgd": eta and lambda.
    Source: Krause et al. 2018, arXiv:1709.07432, section 5.
    """
    torch._foreach_lerp_(parameters, trained, decays)
    torch._foreach_addcmul_(parameters, gradients, sizes, value=-1.0)


def dynamic_perplexity(
    model: AWDLSTMLanguageModel,
    stream: TokenSource | np.ndarray,
    config: DynamicConfig,
    *,
    first_context: int | None,
    statistics: GradientStatistics | None = None,
    cache: CacheConfig | None = None,
    words: int | None = None,
    characters: int | None = None,
    progress: StreamCallback | None = None,
) -> Perplexity:
    """`perplexity`, exact, of a model that takes a gradient step after each segment of the stream.

    Gradients reach back to the segment's start, and are of the mean of its tokens' losses.

    Args:
        model: it is not changed: a copy learns.
        config: how, for example DYNAMIC_PTB.
        statistics: from `gradient_statistics`, for rule "rms".
        cache: mix in a cache of the adapting model's states.
        The rest as for `perplexity`.
    Returns: an infinite perplexity if the learning rate is so high that the loss stops being finite.
    Raises: as `perplexity`; ConfigError for statistics that are missing, of another model, or not for the rule, and
        for a model of bytes.
    Source: Krause et al. 2018, arXiv:1709.07432, sections 3 and 5.
    """
    return dynamic_perplexities(
        model,
        stream,
        config,
        (cache,),
        first_context=first_context,
        statistics=statistics,
        words=words,
        characters=characters,
        progress=progress,
    )[0]


def dynamic_perplexities(
    model: AWDLSTMLanguageModel,
    stream: TokenSource | np.ndarray,
    config: DynamicConfig,
    caches: Sequence[CacheConfig | None],
    *,
    first_context: int | None,
    statistics: GradientStatistics | None = None,
    words: int | None = None,
    characters: int | None = None,
    progress: StreamCallback | None = None,
    checkpoint: str | os.PathLike[str] | None = None,
) -> list[Perplexity]:
    """`dynamic_perplexity` with each of several caches (None: without), in one pass: a cache does not alter learning.

    Args:
        caches: at least one.
        checkpoint: a file to go on from if it is there; written every few minutes, and removed at the end.
        The rest as for `dynamic_perplexity`.
    Returns: one for each cache.
    Raises: as `dynamic_perplexity`; ConfigError for a checkpoint of something else.
    """
    source = token_source(stream, 1)
    context = check_context(first_context, model.vocab_size)
    learner = LearningCopy(model)
    sizes, decays = _scales(model, config, statistics)
    values, trained = list(learner.values.values()), list(named_values(model).values())
    histories = [None if cache is None else CacheHistory(cache) for cache in caches]
    totals, state, done = torch.zeros(len(histories), dtype=torch.float64, device=learner.model.encoder.device), None, 0
    unfinished = EvaluationCheckpoint(
        checkpoint, "" if checkpoint is None else _origin(model, source, config, caches, statistics)
    )
    kept = unfinished.load()
    if kept is not None:
        totals, state, done = _restore(kept, learner, histories)
    for number, start in enumerate(range(done, len(source), config.segment_steps)):
        with torch.enable_grad():
            block = score_block(learner.model, source, start, config.segment_steps, context, state)
        found = [-block.nll.double() if each is None else each.log_probability(block) for each in histories]
        totals -= torch.stack(found).sum(dim=1)
        if number % _LOOK_SEGMENTS == 0 and not totals.isfinite().all():
            break
        done, state = start + len(block.targets), block.state
        if done < len(source):
            adapt(values, trained, learner.gradients(block.mean_nll), sizes, decays)
        if progress is not None:
            progress(done, len(source))
        if unfinished.is_due:
            unfinished.keep(_tensors(totals, state, done, learner, histories))
    unfinished.remove()
    totals[~totals.isfinite()] = torch.inf
    return [
        Perplexity(nll, len(source), len(source), _method(cache), words, characters)
        for nll, cache in zip(totals.tolist(), caches, strict=True)
    ]


def _origin(
    model: AWDLSTMLanguageModel,
    source: TokenSource,
    config: DynamicConfig,
    caches: Sequence[CacheConfig | None],
    statistics: GradientStatistics | None,
) -> str:
    """What an evaluation depends on."""
    ids = {"ids": torch.from_numpy(np.ascontiguousarray(source.read(0, len(source))).astype(np.int64))}
    mean_square = {} if statistics is None else statistics.mean_square
    ways = [dataclasses.asdict(config), [cache and dataclasses.asdict(cache) for cache in caches]]
    return fingerprint(*map(tensors_fingerprint, (named_values(model), ids, mean_square)), ways)


def _tensors(
    totals: Tensor, state: State | None, done: int, learner: LearningCopy, histories: Sequence[CacheHistory | None]
) -> dict[str, Tensor]:
    """All that an evaluation needs to go on."""
    found = {"totals": totals, "done": torch.tensor(done)}
    found |= {f"model.{name}": value for name, value in learner.values.items()}
    for layer, (h, c) in enumerate(state or ()):
        found |= {f"state.{layer}.h": h, f"state.{layer}.c": c}
    for number, history in enumerate(histories):
        if history is not None:
            found |= {f"cache.{number}.{name}": tensor for name, tensor in history.tensors().items()}
    return found


def _restore(
    kept: Mapping[str, Tensor], learner: LearningCopy, histories: Sequence[CacheHistory | None]
) -> tuple[Tensor, State, int]:
    """The other way. Returns: totals, state, done."""
    device = learner.model.encoder.device

    def part(prefix: str) -> dict[str, Tensor]:
        return {name.removeprefix(prefix): t.to(device) for name, t in kept.items() if name.startswith(prefix)}

    for name, value in part("model.").items():
        learner.values[name].copy_(value)
    for number, history in enumerate(histories):
        if history is not None:
            history.restore(part(f"cache.{number}."))
    state = part("state.")
    layers = [(state[f"{layer}.h"], state[f"{layer}.c"]) for layer in range(len(state) // 2)]
    return kept["totals"].to(device), layers, int(kept["done"])


def _method(cache: CacheConfig | None) -> Literal["dynamic", "dynamic + cache"]:
    return "dynamic" if cache is None else "dynamic + cache"


def _scales(
    model: AWDLSTMLanguageModel, config: DynamicConfig, statistics: GradientStatistics | None
) -> tuple[list[Tensor], list[Tensor]]:
    """`sizes` and `decays` of `adapt` for each parameter."""
    parameters = named_values(model)
    if (config.rule == "rms") != (statistics is not None):
        needed = "gradient_statistics of the training text for rule 'rms'" if statistics is None else "none for 'sgd'"
        raise ConfigError(f"statistics: expected {needed}, got {'none' if statistics is None else 'some'}")
    if statistics is None:
        return (
            [value.new_tensor(config.learning_rate) for value in parameters.values()],
            [value.new_tensor(config.decay) for value in parameters.values()],
        )
    statistics.check(model)
    mean_square = {name: statistics.mean_square[name].to(value) for name, value in parameters.items()}
    sizes = step_sizes(mean_square, config.learning_rate, config.epsilon)
    return list(sizes.values()), list(decay_rates(mean_square, config.decay).values())
