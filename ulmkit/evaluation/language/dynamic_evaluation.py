"""Dynamic evaluation: a model that keeps learning from the text while it is evaluated on it.

Each segment is first scored and then learned from, so every token is predicted by a model that has not seen it.

Source: Krause, Kahembwe, Murray & Renals 2018, "Dynamic evaluation of neural sequence models", arXiv:1709.07432.
"""

import dataclasses
import math
import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from ulmkit.config import check_choice, check_not_negative, check_positive, check_whole
from ulmkit.errors import ConfigError
from ulmkit.evaluation.language.cache import CacheConfig, CacheHistory
from ulmkit.evaluation.language.evaluation_checkpoint import EvaluationCheckpoint
from ulmkit.evaluation.language.gradient_statistics import GradientStatistics, rms_norm, tensors_fingerprint
from ulmkit.evaluation.language.modes import LearningCopy, unpadded_parameters
from ulmkit.evaluation.language.perplexity import Method, Perplexity
from ulmkit.evaluation.language.streams import StreamCallback, TokenSource, check_context, score_block, token_source
from ulmkit.files import fingerprint
from ulmkit.model.awd_lstm import State
from ulmkit.model.language_model import AWDLSTMLanguageModel

_CHECK_SEGMENTS = 64
"""Segments between two checks that the loss is finite, each of which waits for a GPU."""


@dataclass(frozen=True, kw_only=True)
class DynamicConfig:
    """Hyperparameters of dynamic evaluation.

    Attributes:
        learning_rate: eta in the paper.
        decay: lambda in the paper: share of the way back to the trained parameters at each step.
        epsilon: Keeps steps finite where gradients were zero; used by rule "rms" only.
        segment_steps: Tokens between two steps.
        rule: "rms" scales steps and decay by gradient statistics, "sgd" does not.

    Raises:
        ConfigError: If a value is outside its range.
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
        """Scale learning rate and decay to segments of another length, as the authors' search does.

        Raises:
            ConfigError: If `steps` is below 1.
        """
        check_whole("segment_steps", steps)
        ratio = steps / self.segment_steps
        return dataclasses.replace(
            self,
            learning_rate=self.learning_rate * ratio,
            decay=min(self.decay * ratio, 1.0),
            segment_steps=steps,
        )


def convert_printed(
    learning_rate: float, decay: float, epsilon: float, *, statistics_batches: int, parameter_tensors: int = 14
) -> DynamicConfig:
    """Convert the hyperparameters of the authors' first code ("oldhyper") to the paper's formulas.

    That code used sqrt(sum_k g_k^2) where the paper has sqrt(MS_g), which is sqrt(N_b) times smaller: eta / sqrt(N_b)
    and epsilon / sqrt(N_b) give the same steps. It divided by the sum of the tensors' means where the paper has their
    mean: lambda / tensors gives the same decay.

    Args:
        learning_rate: eta as printed.
        decay: lambda as printed.
        epsilon: epsilon as printed.
        statistics_batches: N_b, the number of batches that the hyperparameters were tuned with.
        parameter_tensors: Number of the model's parameter tensors; 14 for an AWD-LSTM of three layers.

    Raises:
        ConfigError: If a count is below 1.

    Source: Krause et al. 2018, arXiv:1709.07432: the authors' code.
    """
    check_whole("statistics_batches", statistics_batches)
    check_whole("parameter_tensors", parameter_tensors)
    root = math.sqrt(statistics_batches)
    return DynamicConfig(learning_rate=learning_rate / root, decay=decay / parameter_tensors, epsilon=epsilon / root)


DYNAMIC_PTB = convert_printed(0.002, 0.02, 0.001, statistics_batches=1859)
"""Values of the paper for AWD-LSTM on PTB, whose training text has 1,859 batches of 100 rows and 5 steps."""

DYNAMIC_WIKITEXT2 = convert_printed(0.002, 0.02, 0.001, statistics_batches=4177)
"""Values of the paper for AWD-LSTM on WikiText-2, whose training text has 4,177 such batches."""

DYNAMIC_SGD = DynamicConfig(learning_rate=0.5, decay=1e-3, rule="sgd")
"""Values for rule "sgd", for which the paper prints none for an AWD-LSTM.

The rate is the best of those from 0.02 to 2 on the first 3,000 validation tokens of PTB, for a model trained for two
hours; the decay was not searched."""


def step_sizes(mean_square: Mapping[str, Tensor], learning_rate: float, epsilon: float) -> dict[str, Tensor]:
    """Step size of each parameter: its gradient's factor.

    size = eta / (sqrt(MS_g) + epsilon)

    Args:
        mean_square: MS_g by parameter name.
        learning_rate: eta.
        epsilon: Keeps steps finite where MS_g is zero.

    Returns:
        Sizes by parameter name, in the same shapes.

    Source: Krause et al. 2018, arXiv:1709.07432, section 5.
    """
    return {name: learning_rate / (tensor.sqrt() + epsilon) for name, tensor in mean_square.items()}


def decay_rates(mean_square: Mapping[str, Tensor], decay: float) -> dict[str, Tensor]:
    """Decay of each parameter: the share of the way back to its trained value that a step takes.

    decay = min(lambda RMS_norm, 1)

    Args:
        mean_square: MS_g by parameter name.
        decay: lambda.

    Returns:
        Decays by parameter name, in the same shapes.

    Raises:
        DataError: If all gradients were zero.

    Source: Krause et al. 2018, arXiv:1709.07432, section 5; the limit of 1, so that no step overshoots, is from the
        authors' code.
    """
    return {name: (decay * norm).clamp_(max=1.0) for name, norm in rms_norm(mean_square).items()}


def adapt(
    parameters: list[Tensor],
    trained: list[Tensor],
    gradients: list[Tensor],
    step_sizes: list[Tensor],
    decay_rates: list[Tensor],
) -> None:
    """One step of adaptation, in place.

    theta_i = theta_{i-1} - step_size grad L(s_i) + decay_rate (theta_g - theta_{i-1})

    Args:
        parameters: theta, changed in place.
        trained: theta_g, the trained parameters.
        gradients: Gradients of the segment's mean loss.
        step_sizes: Result of `step_sizes`, or for rule "sgd" the scalar eta for each parameter.
        decay_rates: Result of `decay_rates`, or for rule "sgd" the scalar lambda for each parameter.

    Source: Krause et al. 2018, arXiv:1709.07432, section 5.
    """
    torch._foreach_lerp_(parameters, trained, decay_rates)
    torch._foreach_addcmul_(parameters, gradients, step_sizes, value=-1.0)


def dynamic_perplexity(
    model: AWDLSTMLanguageModel,
    stream: TokenSource | np.ndarray,
    config: DynamicConfig,
    *,
    first_context: int | None,
    statistics: GradientStatistics | None = None,
    cache: CacheConfig | None = None,
    progress: StreamCallback | None = None,
) -> Perplexity:
    """Exact perplexity of a model that takes a gradient step after each segment of the stream.

    The gradient is that of the mean of the segment's losses, and reaches back to the segment's start.

    Args:
        model: Model on any device; a copy of it learns.
        stream: Token ids.
        config: Hyperparameters, for example DYNAMIC_PTB.
        first_context: Token that the first one is predicted from.
        statistics: Statistics of `gradient_statistics`, for rule "rms".
        cache: Cache of the adapting model's states to mix in.
        progress: Called with (tokens done, tokens).

    Returns:
        The perplexity; infinite if the learning rate is so high that the loss stops being finite.

    Raises:
        DataError: If the stream is empty or an id is outside the vocabulary.
        ConfigError: If statistics are missing, belong to another model or are not for the rule, or the model has int8
            weights.

    Source: Krause et al. 2018, arXiv:1709.07432, sections 3 and 5.
    """
    return dynamic_perplexities(
        model, stream, config, (cache,), first_context=first_context, statistics=statistics, progress=progress
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
    """Dynamic perplexity for several caches in one pass; a cache does not affect the updates.

    Args:
        model: Model on any device; a copy of it learns.
        stream: Token ids.
        config: Hyperparameters of dynamic evaluation.
        caches: At least one cache; None stands for no cache.
        first_context: Token that the first one is predicted from.
        statistics: Statistics of `gradient_statistics`, for rule "rms".
        words: Words of the text as written.
        characters: Characters of the text as written.
        progress: Called with (tokens done, tokens).
        checkpoint: File to resume from if it exists; it is written every few minutes and removed at the end.

    Returns:
        A perplexity for each cache.

    Raises:
        DataError: If the stream is empty or an id is outside the vocabulary.
        ConfigError: If `dynamic_perplexity` refuses an argument, or the checkpoint belongs to another evaluation.
    """
    source = token_source(stream, 1)
    context = check_context(first_context, model.vocab_size)
    learner = LearningCopy(model)
    sizes, decays = _step_sizes_and_decays(model, config, statistics)
    parameters = list(learner.parameters.values())
    trained = list(unpadded_parameters(model).values())
    histories = {number: CacheHistory(cache) for number, cache in enumerate(caches) if cache is not None}
    totals = torch.zeros(len(caches), dtype=torch.float64, device=learner.model.encoder.device)
    state: State | None = None
    done = 0
    evaluation_fingerprint = "" if checkpoint is None else _fingerprint(model, source, config, caches, statistics)
    evaluation_checkpoint = EvaluationCheckpoint(checkpoint, evaluation_fingerprint)
    checkpoint_tensors = evaluation_checkpoint.load()
    if checkpoint_tensors is not None:
        totals, state, done = _restore(checkpoint_tensors, learner, histories)
    for segment, start in enumerate(range(done, len(source), config.segment_steps)):
        with torch.enable_grad():
            block = score_block(learner.model, source, start, config.segment_steps, context, state)
        log_probabilities = [
            histories[number].log_probability(block) if number in histories else -block.nll.double()
            for number in range(len(caches))
        ]
        totals -= torch.stack(log_probabilities).sum(dim=1)
        if segment % _CHECK_SEGMENTS == 0 and not totals.isfinite().all():
            break
        done = start + len(block.targets)
        state = block.state
        if done < len(source):
            adapt(parameters, trained, learner.gradients(block.mean_nll), sizes, decays)
        if progress is not None:
            progress(done, len(source))
        if evaluation_checkpoint.is_due:
            evaluation_checkpoint.write(_checkpoint_tensors(totals, state, done, learner, histories))
    evaluation_checkpoint.remove()
    totals[~totals.isfinite()] = torch.inf
    methods: list[Method] = ["dynamic" if cache is None else "dynamic + cache" for cache in caches]
    return [
        Perplexity(nll, len(source), len(source), method, words, characters)
        for nll, method in zip(totals.tolist(), methods, strict=True)
    ]


def _fingerprint(
    model: AWDLSTMLanguageModel,
    source: TokenSource,
    config: DynamicConfig,
    caches: Sequence[CacheConfig | None],
    statistics: GradientStatistics | None,
) -> str:
    """Fingerprint of everything that an evaluation depends on."""
    ids = {"ids": torch.from_numpy(np.ascontiguousarray(source.read(0, len(source))).astype(np.int64))}
    mean_square = {} if statistics is None else statistics.mean_square
    settings = [dataclasses.asdict(config), [cache and dataclasses.asdict(cache) for cache in caches]]
    return fingerprint(*map(tensors_fingerprint, (unpadded_parameters(model), ids, mean_square)), settings)


def _checkpoint_tensors(
    totals: Tensor, state: State | None, done: int, learner: LearningCopy, histories: Mapping[int, CacheHistory]
) -> dict[str, Tensor]:
    """Everything that an evaluation needs to resume."""
    tensors = {"totals": totals, "done": torch.tensor(done)}
    tensors |= {f"model.{name}": value for name, value in learner.parameters.items()}
    for layer, (h, c) in enumerate(state or ()):
        tensors |= {f"state.{layer}.h": h, f"state.{layer}.c": c}
    for number, history in histories.items():
        tensors |= {f"cache.{number}.{name}": tensor for name, tensor in history.tensors().items()}
    return tensors


def _restore(
    tensors: Mapping[str, Tensor], learner: LearningCopy, histories: Mapping[int, CacheHistory]
) -> tuple[Tensor, State, int]:
    """Restore learner and histories from the tensors of a checkpoint.

    Returns:
        Totals, state, and number of tokens done.
    """
    device = learner.model.encoder.device

    def part(prefix: str) -> dict[str, Tensor]:
        return {name.removeprefix(prefix): t.to(device) for name, t in tensors.items() if name.startswith(prefix)}

    for name, value in part("model.").items():
        learner.parameters[name].copy_(value)
    for number, history in histories.items():
        history.restore(part(f"cache.{number}."))
    state = part("state.")
    layers = [(state[f"{layer}.h"], state[f"{layer}.c"]) for layer in range(len(state) // 2)]
    return tensors["totals"].to(device), layers, int(tensors["done"])


def _step_sizes_and_decays(
    model: AWDLSTMLanguageModel, config: DynamicConfig, statistics: GradientStatistics | None
) -> tuple[list[Tensor], list[Tensor]]:
    """Step sizes and decays of each parameter, for `adapt`."""
    parameters = unpadded_parameters(model)
    if config.rule == "rms" and statistics is None:
        raise ConfigError("statistics: expected gradient_statistics of the training text for rule 'rms', got none")
    if config.rule == "sgd" and statistics is not None:
        raise ConfigError("statistics: expected none for rule 'sgd', got some; leave them out")
    if statistics is None:
        return (
            [value.new_tensor(config.learning_rate) for value in parameters.values()],
            [value.new_tensor(config.decay) for value in parameters.values()],
        )
    statistics.check_fits(model)
    mean_square = {name: statistics.mean_square[name].to(value) for name, value in parameters.items()}
    sizes = step_sizes(mean_square, config.learning_rate, config.epsilon)
    return list(sizes.values()), list(decay_rates(mean_square, config.decay).values())
