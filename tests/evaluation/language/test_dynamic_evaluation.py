import dataclasses
import math

import numpy as np
import pytest
import torch
from support.streams import (
    CACHE,
    CONTEXT,
    MIXTURE,
    RMS,
    SGD,
    NaiveModel,
    V,
    batches,
    ids,
    inputs_of,
    naive_statistics,
    tiny_model,
)

from ulmkit.errors import ConfigError, DataError
from ulmkit.evaluation import (
    DYNAMIC_PTB,
    DYNAMIC_WIKITEXT2,
    CacheConfig,
    DynamicConfig,
    GradientStatistics,
    convert_printed,
    dynamic_perplexities,
    dynamic_perplexity,
    gradient_statistics,
    perplexity,
)
from ulmkit.evaluation.language.dynamic_evaluation import adapt, decay_rates, step_sizes
from ulmkit.evaluation.language.modes import LearningCopy, unpadded_parameters
from ulmkit.model.language_model import AWDLSTMLanguageModel, LanguageModelConfig


def naive_nll(
    model: AWDLSTMLanguageModel,
    stream: np.ndarray,
    config: DynamicConfig,
    mean_square: dict[str, torch.Tensor] | None,
    cache: CacheConfig | None = None,
) -> float:
    """Segment by segment, one parameter after the other, as the paper's formulas are printed."""
    naive, state, total, keys = NaiveModel(model), None, 0.0, []
    trained = {name: parameter.detach().clone() for name, parameter in naive.parameters.items()}
    inputs, steps = inputs_of(stream), config.segment_steps
    if mean_square is not None:
        average = sum(tensor.sqrt().mean() for tensor in mean_square.values()) / len(mean_square)
    for start in range(0, len(stream), steps):
        losses = []
        for token, target in zip(inputs[start : start + steps], stream[start : start + steps], strict=True):
            log_p, h, state = naive.step(torch.tensor([token]), state)
            losses.append(-log_p[0, target])
            p = log_p[0, target].exp().item()
            if cache is not None:
                held = keys[-cache.window :]
                likeness = [math.exp(cache.theta * float(h[0].detach() @ key)) for key, _ in held]
                if held:
                    hits = sum(value for value, (_, word) in zip(likeness, held, strict=True) if word == target)
                    p = (1 - cache.weight) * p + cache.weight * hits / sum(likeness)
                keys.append((h[0].detach(), target))
            total -= math.log(p)
        gradients = torch.autograd.grad(torch.stack(losses).mean(), list(naive.parameters.values()))
        with torch.no_grad():
            for (name, theta), gradient in zip(naive.parameters.items(), gradients, strict=True):
                if mean_square is None:
                    change = -config.learning_rate * gradient + config.decay * (trained[name] - theta)
                else:
                    root = mean_square[name].sqrt()
                    back = (config.decay * root / average).clamp(max=1.0)
                    change = -config.learning_rate * gradient / (root + config.epsilon) + back * (trained[name] - theta)
                theta += change
        state = [(h.detach(), c.detach()) for h, c in state]
    return total


@pytest.mark.parametrize("cache", [None, CACHE])
@pytest.mark.parametrize("length", [1, 4, 5, 48])
def test_rms_equals_the_printed_formulas(model, statistics, cache, length):
    stream = ids(length)
    result = dynamic_perplexity(model, stream, RMS, first_context=CONTEXT, statistics=statistics, cache=cache)
    expected = naive_nll(model, stream, RMS, naive_statistics(model, batches()), cache)
    assert result.nll == pytest.approx(expected, rel=1e-5)
    assert (result.tokens, result.denominator) == (length, length)
    assert result.method == ("dynamic" if cache is None else "dynamic + cache")
    if length == 48:
        assert expected != pytest.approx(perplexity(model, stream, first_context=CONTEXT).nll, rel=1e-3)


def test_a_mixture_of_softmaxes_adapts_too():
    model = tiny_model(**MIXTURE)
    statistics, expected = gradient_statistics(model, batches()), naive_statistics(model, batches())
    assert statistics.mean_square.keys() == expected.keys()
    for name, tensor in statistics.mean_square.items():
        torch.testing.assert_close(tensor.double(), expected[name], rtol=1e-4, atol=1e-9, msg=name)
    result = dynamic_perplexity(model, ids(48), RMS, first_context=CONTEXT, statistics=statistics, cache=CACHE)
    assert result.nll == pytest.approx(naive_nll(model, ids(48), RMS, expected, CACHE), rel=1e-5)


@pytest.mark.parametrize("cache", [None, CACHE])
@pytest.mark.parametrize("segment_steps", [1, 5, 20])
def test_sgd_equals_the_printed_formulas(model, cache, segment_steps):
    config = DynamicConfig(learning_rate=0.05, decay=0.02, rule="sgd", segment_steps=segment_steps)
    result = dynamic_perplexity(model, ids(48), config, first_context=CONTEXT, cache=cache)
    assert result.nll == pytest.approx(naive_nll(model, ids(48), config, None, cache), rel=1e-5)


@pytest.mark.parametrize("decay", [0.0, 0.5])
def test_a_learning_rate_of_zero_gives_the_plain_perplexity(model, statistics, decay):
    """But for rounding: weights that learn may be multiplied in another order."""
    plain = perplexity(model, ids(48), first_context=CONTEXT, window=5)
    for rule, rule_statistics in (("rms", statistics), ("sgd", None)):
        config = DynamicConfig(learning_rate=0.0, decay=decay, rule=rule)
        result = dynamic_perplexity(model, ids(48), config, first_context=CONTEXT, statistics=rule_statistics)
        assert result.nll == pytest.approx(plain.nll, rel=1e-6)


def test_a_text_that_repeats_itself_becomes_likelier(model, statistics):
    stream = np.tile([1, 5, 2, 5], 75)
    plain = perplexity(model, stream, first_context=CONTEXT).perplexity
    for config, rule_statistics in ((RMS, statistics), (SGD, None)):
        adapted = dynamic_perplexity(
            model, stream, config, first_context=CONTEXT, statistics=rule_statistics
        ).perplexity
        assert adapted < 0.8 * plain


def test_the_model_is_not_changed_not_even_by_an_error(model, statistics):
    model.encoder.precision = "auto"
    model.encoder.layers[0].weight_hh.requires_grad_(False)
    model.encoder.layers.eval()
    before = {name: tensor.clone() for name, tensor in model.state_dict().items()}
    modes = [module.training for module in model.modules()]

    def stop(done: int, total: int) -> None:
        if done == 20:
            raise KeyboardInterrupt

    dynamic_perplexity(model, ids(30), RMS, first_context=CONTEXT, statistics=statistics)
    with pytest.raises(KeyboardInterrupt):
        dynamic_perplexity(model, ids(30), RMS, first_context=CONTEXT, statistics=statistics, progress=stop)
    assert [module.training for module in model.modules()] == modes
    assert model.encoder.precision == "auto"
    assert [name for name, p in model.named_parameters() if not p.requires_grad] == ["encoder.layers.0.weight_hh"]
    assert all(p.grad is None for p in model.parameters())
    for name, tensor in model.state_dict().items():
        assert torch.equal(tensor, before[name]), name


def test_it_learns_where_gradients_are_off_and_parameters_frozen(model, statistics):
    expected = dynamic_perplexity(model, ids(30), RMS, first_context=CONTEXT, statistics=statistics)
    model.requires_grad_(False)
    with torch.no_grad():
        again = gradient_statistics(model, batches())
        assert dynamic_perplexity(model, ids(30), RMS, first_context=CONTEXT, statistics=again) == expected


@pytest.mark.usefixtures("bf16_pays")
def test_auto_precision_is_fp32_and_bf16_is_near(model, statistics):
    nll = {}
    for precision in ("auto", "fp32", "bf16"):
        model.encoder.precision = precision
        options = {"first_context": CONTEXT, "statistics": statistics, "cache": CACHE}
        nll[precision] = dynamic_perplexity(model, ids(30), RMS, **options).nll
    assert nll["auto"] == nll["fp32"] != nll["bf16"]
    assert nll["bf16"] == pytest.approx(nll["fp32"], rel=0.01)


def test_rows_that_only_align_stay_zero(model, statistics):
    """In the copy that learns, after steps that change the rows of words."""
    learner = LearningCopy(model)
    embedding = learner.model.encoder.embedding.weight
    assert (embedding.shape[0], statistics.mean_square["encoder.embedding.weight"].shape) == (16, (V, 8))
    sizes = list(step_sizes(statistics.mean_square, 0.1, 1e-3).values())
    decays = list(decay_rates(statistics.mean_square, 0.1).values())
    for batch in batches():
        with torch.enable_grad():
            loss = learner.model.token_scores(batch.inputs, batch.targets, None).mean_nll
        adapt(
            list(learner.parameters.values()),
            list(unpadded_parameters(model).values()),
            learner.gradients(loss),
            sizes,
            decays,
        )
    assert not torch.equal(embedding[:V], model.encoder.embedding.weight[:V])
    assert not embedding[V:].any()


def test_progress_and_text_counts_are_passed_on(model):
    progress_calls: list[tuple[int, int]] = []
    (result,) = dynamic_perplexities(
        model,
        ids(12),
        SGD,
        (None,),
        first_context=CONTEXT,
        words=3,
        characters=40,
        progress=lambda done, total: progress_calls.append((done, total)),
    )
    assert progress_calls == [(5, 12), (10, 12), (12, 12)]
    assert (result.words, result.characters) == (3, 40)


def test_one_pass_serves_several_caches(model, statistics):
    options = {"first_context": CONTEXT, "statistics": statistics}
    caches = (None, CACHE, CacheConfig(window=3, theta=0.1, weight=0.4))
    together = dynamic_perplexities(model, ids(60), RMS, caches, **options)
    assert together == [dynamic_perplexity(model, ids(60), RMS, cache=cache, **options) for cache in caches]
    assert [each.method for each in together] == ["dynamic", "dynamic + cache", "dynamic + cache"]


def test_a_loss_that_explodes_is_an_infinite_perplexity(model):
    wild = DynamicConfig(learning_rate=1e9, decay=0.0, rule="sgd")
    result = dynamic_perplexity(model, ids(100), wild, first_context=CONTEXT)
    assert result.perplexity == math.inf
    assert result.to_dict()["perplexity"] is None


def test_a_step_by_hand():
    """1 - 0.5 * 0.2 + 0.25 * (3 - 1) = 1.4, and a decay of 1 goes all the way."""
    parameters = [torch.tensor([1.0, 1.0])]
    adapt(
        parameters,
        [torch.tensor([3.0, 7.0])],
        [torch.tensor([0.2, 0.0])],
        [torch.tensor([0.5, 9.0])],
        [torch.tensor([0.25, 1.0])],
    )
    torch.testing.assert_close(parameters[0], torch.tensor([1.4, 7.0]))


def test_step_sizes_and_decay_rates_by_hand():
    """Roots 2, 4 and 6: means 3 and 6, whose mean is 4.5. Decay 1 * 6 / 4.5 is cut to 1."""
    mean_square = {"a": torch.tensor([4.0, 16.0]), "b": torch.tensor([36.0])}
    sizes = step_sizes(mean_square, learning_rate=0.5, epsilon=1.0)
    torch.testing.assert_close(sizes, {"a": torch.tensor([0.5 / 3, 0.5 / 5]), "b": torch.tensor([0.5 / 7])})
    rates = decay_rates(mean_square, 0.1)
    torch.testing.assert_close(rates, {"a": torch.tensor([0.2 / 4.5, 0.4 / 4.5]), "b": torch.tensor([0.6 / 4.5])})
    torch.testing.assert_close(decay_rates(mean_square, 1.0)["b"], torch.tensor([1.0]))


def test_printed_hyperparameters_are_converted_by_hand():
    """sqrt(1859) = 43.116, as for PTB: 0.002 / 43.116, 0.02 / 14, 0.001 / 43.116."""
    assert DYNAMIC_PTB.learning_rate == pytest.approx(4.6387e-5, rel=1e-4)
    assert DYNAMIC_PTB.decay == pytest.approx(1.42857e-3, rel=1e-4)
    assert DYNAMIC_PTB.epsilon == pytest.approx(2.3193e-5, rel=1e-4)
    assert DYNAMIC_WIKITEXT2.learning_rate == pytest.approx(0.002 / 64.63, rel=1e-4)
    nine = convert_printed(0.3, 0.8, 0.6, statistics_batches=9, parameter_tensors=4)
    assert (nine.learning_rate, nine.decay, nine.epsilon) == pytest.approx((0.1, 0.2, 0.2))
    assert (nine.rule, nine.segment_steps) == ("rms", 5)


def test_converted_hyperparameters_take_the_steps_of_the_first_code():
    """There: roots of sums, not of means, and decay relative to the sum of the tensors' means, not to their mean."""
    squares = {"a": torch.rand(5, 3, dtype=torch.float64), "b": torch.rand(2, dtype=torch.float64)}
    rate, decay, epsilon, count = 0.02, 0.3, 0.1, 7
    roots = {name: tensor.sqrt() for name, tensor in squares.items()}  # of sums over the batches
    total = sum(root.mean() for root in roots.values()) / math.sqrt(count)
    config = convert_printed(rate, decay, epsilon, statistics_batches=count, parameter_tensors=2)
    mean_square = {name: tensor / count for name, tensor in squares.items()}
    for name, size in step_sizes(mean_square, config.learning_rate, config.epsilon).items():
        torch.testing.assert_close(size, rate / (roots[name] + epsilon))
    for name, back in decay_rates(mean_square, config.decay).items():
        torch.testing.assert_close(back, decay * mean_square[name].sqrt() / total)


def test_the_published_model_has_as_many_tensors_as_the_conversion_takes():
    assert len(list(AWDLSTMLanguageModel(LanguageModelConfig(), V).parameters())) == 14


def test_longer_segments_take_larger_steps():
    longer = DYNAMIC_PTB.for_segments(20)
    assert (longer.segment_steps, longer.epsilon) == (20, DYNAMIC_PTB.epsilon)
    assert longer.learning_rate == pytest.approx(4 * DYNAMIC_PTB.learning_rate)
    assert longer.decay == pytest.approx(4 * DYNAMIC_PTB.decay)
    assert dataclasses.replace(DYNAMIC_PTB, decay=0.5).for_segments(20).decay == 1.0


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"learning_rate": -1.0}, "learning_rate: .* got -1.0"),
        ({"decay": 1.5}, "decay: expected 0 <= decay <= 1, got 1.5"),
        ({"decay": math.nan}, "decay: .* got nan"),
        ({"epsilon": 0.0}, "epsilon: .* got 0.0"),
        ({"segment_steps": 0}, "segment_steps: .* got 0"),
        ({"rule": "rsm"}, "rule: got 'rsm'; did you mean 'rms'"),
    ],
)
def test_refusals_of_configs(values, message):
    with pytest.raises(ConfigError, match=message):
        DynamicConfig(**{"learning_rate": 1e-3, "decay": 0.1, **values})
    with pytest.raises(ConfigError, match="segment_steps: expected a whole number of at least 1, got 0"):
        DYNAMIC_PTB.for_segments(0)


def test_refusals(model, statistics):
    def run(config: DynamicConfig = RMS, stream: np.ndarray | None = None, **options):
        return dynamic_perplexity(
            model, ids(9) if stream is None else stream, config, **{"first_context": 1, **options}
        )

    with pytest.raises(ConfigError, match="statistics: expected gradient_statistics .* for rule 'rms', got none"):
        run()
    with pytest.raises(ConfigError, match="statistics: expected none for rule 'sgd', got some"):
        run(SGD, statistics=statistics)
    with pytest.raises(ConfigError, match=r"decoder.weight of shape \(13,\), got \(14,\); compute them with this"):
        run(statistics=gradient_statistics(tiny_model(14), batches()))
    with pytest.raises(ConfigError, match=r"expected decoder.weight of shape \(13,\), got None"):
        run(statistics=GradientStatistics({}, 1))
    zeros = {name: torch.zeros_like(tensor) for name, tensor in statistics.mean_square.items()}
    with pytest.raises(DataError, match="expected gradients above zero, got only zeros"):
        run(statistics=GradientStatistics(zeros, 1))
    with pytest.raises(DataError, match="at least 1 tokens, got 0"):
        run(SGD, ids(0))
    with pytest.raises(DataError, match="expected token ids 0 to 12, got 99"):
        run(SGD, np.array([1, 99]))
    with pytest.raises(ConfigError, match="first_context: .* got None"):
        run(SGD, first_context=None)
    with pytest.raises(ConfigError, match="statistics_batches: .* got 0"):
        convert_printed(0.1, 0.1, 0.1, statistics_batches=0)
