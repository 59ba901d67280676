import math

import numpy as np
import pytest
import torch
from support.streams import CONTEXT, MIXTURE, NaiveModel, V, ids, inputs_of, tiny_model
from torch.nn import functional

from ulmkit.errors import ConfigError, DataError
from ulmkit.evaluation import (
    CACHE_PTB,
    CACHE_PTB_PAPER,
    CACHE_WIKITEXT2,
    CacheConfig,
    cache_log_probability,
    cache_perplexity,
    mixed_log_probability,
    perplexity,
    search_cache,
)
from ulmkit.model.language_model import AWDLSTMLanguageModel

CONFIG = CacheConfig(window=20, theta=0.7, weight=0.2)


def dense_cache(hidden: torch.Tensor, tokens: torch.Tensor, theta: float, window: int) -> torch.Tensor:
    """(T, V) p_cache at each step, a one-hot for each key; NaN where there is no history."""
    rows = []
    for t in range(len(hidden)):
        past = slice(max(t - window, 0), t)
        one_hot = functional.one_hot(tokens[past], V).double()
        scores = (theta * hidden[past] @ hidden[t]).exp()
        rows.append((scores[:, None] * one_hot).sum(dim=0) / scores.sum())
    return torch.stack(rows)


def naive_nll(model: AWDLSTMLanguageModel, stream: np.ndarray, config: CacheConfig) -> float:
    naive, state, log_p, hidden = NaiveModel(model), None, [], []
    with torch.no_grad():
        for token in inputs_of(stream):
            scores, h, state = naive.step(torch.tensor([token]), state)
            log_p.append(scores[0])
            hidden.append(h[0])
    tokens = torch.from_numpy(stream)
    vocabulary = torch.stack(log_p).exp()
    cache = dense_cache(torch.stack(hidden), tokens, config.theta, config.window)
    cache[0] = vocabulary[0]
    mixed = (1 - config.weight) * vocabulary + config.weight * cache
    return -mixed[range(len(stream)), tokens].log().sum().item()


@pytest.mark.parametrize("window", [1, 3, 20, 1000])
@pytest.mark.parametrize("block_steps", [1, 6, 256])
def test_the_perplexity_is_that_of_the_dense_formula(model, window, block_steps):
    stream = ids(70)
    config = CacheConfig(window=window, theta=0.7, weight=0.2)
    result = cache_perplexity(model, stream, config, first_context=CONTEXT, block_steps=block_steps)
    assert (result.tokens, result.denominator, result.method) == (70, 70, "cache")
    assert result.nll == pytest.approx(naive_nll(model, stream, config), rel=1e-6)
    assert result.nll != pytest.approx(perplexity(model, stream, first_context=CONTEXT).nll, rel=1e-3)


def test_a_mixture_of_softmaxes_has_a_cache_of_its_last_layer():
    model = tiny_model(**MIXTURE)
    expected = naive_nll(model, ids(70), CONFIG)
    assert cache_perplexity(model, ids(70), CONFIG, first_context=CONTEXT).nll == pytest.approx(expected, rel=1e-6)


@pytest.mark.parametrize(("dtype", "tolerance"), [(torch.float32, 1e-6), (torch.float64, 1e-12)])
@pytest.mark.parametrize("first", [0, 1, 17])
@pytest.mark.parametrize("window", [1, 5, 23, 400])
def test_a_block_of_queries_equals_the_dense_formula(dtype, tolerance, first, window):
    hidden = torch.randn(40, 6, generator=torch.Generator().manual_seed(2), dtype=torch.float64)
    tokens = torch.from_numpy(ids(40))
    expected = dense_cache(hidden, tokens, 0.3, window)[range(40), tokens][first:]
    keys = hidden.to(dtype)
    got = cache_log_probability(keys[first:], keys, tokens, tokens[first:], 0.3, window)
    assert got.dtype == dtype
    seen = ~expected.isnan()
    torch.testing.assert_close(got.exp().double()[seen], expected[seen], rtol=tolerance, atol=tolerance)
    assert got[~seen].isneginf().all()


def test_the_cache_is_a_distribution_over_the_words_it_holds():
    hidden, tokens = torch.randn(9, 4, dtype=torch.float64), torch.tensor([1, 2, 1, 5, 5, 1, 2, 7, 0])
    p = torch.stack(
        [cache_log_probability(hidden[8:], hidden, tokens, torch.tensor([w]), 0.9, 6).exp()[0] for w in range(V)]
    )
    assert p.sum().item() == pytest.approx(1.0)
    assert p.nonzero().flatten().tolist() == [1, 2, 5, 7]


def test_by_hand():
    """Words 4, 6, 4, then 4: at theta 0 two of three; else exp of the products 1, 2, 3 with the state."""
    keys = torch.tensor([[1.0, 0.0], [2.0, 0.0], [3.0, 0.0], [1.0, 5.0]])
    tokens = torch.tensor([4, 6, 4, 4])

    def p(theta: float, window: int) -> float:
        return cache_log_probability(keys[3:], keys, tokens, tokens[3:], theta, window).exp().item()

    assert p(0.0, 10) == pytest.approx(2 / 3)
    assert p(0.0, 2) == pytest.approx(1 / 2)
    assert p(1.0, 10) == pytest.approx((math.e + math.e**3) / (math.e + math.e**2 + math.e**3))
    assert p(1.0, 1) == pytest.approx(1.0)


def test_the_mixture_by_hand():
    vocabulary, cache = torch.tensor([[0.1, 0.2], [0.5, 0.0]], dtype=torch.float64).log()
    torch.testing.assert_close(
        mixed_log_probability(vocabulary, cache, 0.25).exp(), torch.tensor([0.2, 0.15], dtype=torch.float64)
    )
    torch.testing.assert_close(mixed_log_probability(vocabulary, cache, 0.0), vocabulary)
    several = mixed_log_probability(vocabulary, cache, torch.tensor([[0.25], [0.5]]))
    torch.testing.assert_close(several.exp(), torch.tensor([[0.2, 0.15], [0.3, 0.1]], dtype=torch.float64))


def test_large_products_neither_overflow_nor_vanish():
    keys = torch.tensor([[100.0], [90.0], [-100.0], [100.0]])
    log_p = cache_log_probability(keys[3:], keys, torch.tensor([1, 2, 3, 3]), torch.tensor([3]), 1.0, 3)
    assert log_p.item() == pytest.approx(-20_000.0)


def test_the_first_token_has_the_models_own_probability(model):
    one = cache_perplexity(model, np.array([5]), CONFIG, first_context=CONTEXT)
    assert one.nll == pytest.approx(perplexity(model, np.array([5]), first_context=CONTEXT).nll, rel=1e-6)


def test_without_weight_it_is_the_plain_perplexity(model):
    none = CacheConfig(window=20, theta=1.0, weight=0.0)
    result = cache_perplexity(model, ids(50), none, first_context=CONTEXT)
    assert result.nll == pytest.approx(perplexity(model, ids(50), first_context=CONTEXT).nll, rel=1e-7)


def test_a_text_that_repeats_itself_becomes_likelier(model):
    stream = np.tile([1, 5, 2, 5], 50)
    plain = perplexity(model, stream, first_context=CONTEXT).perplexity
    assert cache_perplexity(model, stream, CONFIG, first_context=CONTEXT).perplexity < 0.8 * plain


def test_a_search_reads_the_text_once_and_finds_what_each_config_gives(model, monkeypatch):
    stream, calls = ids(60), []
    token_scores = model.token_scores
    monkeypatch.setattr(model, "token_scores", lambda *inputs: (calls.append(len(inputs[0])), token_scores(*inputs))[1])
    grid = {"weights": (0.1, 0.3), "thetas": (0.0, 0.7), "windows": (3, 40, 8)}
    search = search_cache(model, stream, first_context=CONTEXT, block_steps=16, **grid)
    assert calls == [16, 16, 16, 12]
    assert len(search.rows) == 12
    for config, result in search.rows:
        expected = cache_perplexity(model, stream, config, first_context=CONTEXT)
        assert result.nll == pytest.approx(expected.nll, rel=1e-6)
    assert search.perplexity == min(result.perplexity for _, result in search.rows)
    assert (search.best, search.perplexity) in [(config, result.perplexity) for config, result in search.rows]
    assert search.table().splitlines()[0].split() == ["window", "theta", "weight", "perplexity"]
    assert search.to_dict()["best"]["window"] == search.best.window
    assert len(search.to_dict()["rows"]) == 12


@pytest.mark.usefixtures("bf16_pays")
def test_the_model_is_left_as_it_was_and_computes_in_fp32(model):
    model.encoder.precision = "auto"
    model.encoder.layers.eval()
    modes = [module.training for module in model.modules()]
    result = cache_perplexity(model, ids(30), CONFIG, first_context=CONTEXT)
    assert [module.training for module in model.modules()] == modes
    assert model.encoder.precision == "auto"
    model.encoder.precision = "fp32"
    assert cache_perplexity(model, ids(30), CONFIG, first_context=CONTEXT) == result
    model.encoder.precision = "bf16"
    assert cache_perplexity(model, ids(30), CONFIG, first_context=CONTEXT).nll == pytest.approx(result.nll, rel=0.01)


def test_text_counts_and_progress_are_passed_on(model):
    progress_calls: list[tuple[int, int]] = []
    result = cache_perplexity(
        model,
        ids(25),
        CONFIG,
        first_context=CONTEXT,
        block_steps=10,
        words=7,
        characters=60,
        progress=lambda done, total: progress_calls.append((done, total)),
    )
    assert progress_calls == [(10, 25), (20, 25), (25, 25)]
    assert (result.words, result.characters) == (7, 60)
    assert "perplexity (cache)" in result.table()


def test_presets():
    assert (CACHE_PTB.window, CACHE_PTB.theta, CACHE_PTB.weight) == (500, 1.0, 0.1)
    assert (CACHE_PTB_PAPER.window, CACHE_PTB_PAPER.theta, CACHE_PTB_PAPER.weight) == (2000, 1.0, 0.1)
    assert (CACHE_WIKITEXT2.window, CACHE_WIKITEXT2.theta, CACHE_WIKITEXT2.weight) == (3785, 0.662, 0.1279)


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"window": 0}, "window: .* got 0"),
        ({"theta": -0.5}, "theta: .* got -0.5"),
        ({"theta": math.inf}, "theta: .* got inf"),
        ({"weight": 1.0}, "weight: .* got 1.0"),
        ({"weight": -0.1}, "weight: .* got -0.1"),
    ],
)
def test_refusals_of_configs(values, message):
    with pytest.raises(ConfigError, match=message):
        CacheConfig(**{"window": 5, "theta": 1.0, "weight": 0.1, **values})


def test_refusals(model):
    with pytest.raises(DataError, match="at least 1 tokens, got 0"):
        cache_perplexity(model, ids(0), CONFIG, first_context=1)
    with pytest.raises(DataError, match="expected token ids 0 to 12, got 99"):
        cache_perplexity(model, np.array([1, 99]), CONFIG, first_context=1)
    with pytest.raises(ConfigError, match="first_context: .* got None"):
        cache_perplexity(model, ids(9), CONFIG, first_context=None)
    with pytest.raises(ConfigError, match="block_steps: .* got 0"):
        cache_perplexity(model, ids(9), CONFIG, first_context=1, block_steps=0)
    with pytest.raises(ConfigError, match="first_context: .* got 13"):
        search_cache(model, ids(9), first_context=V)
    with pytest.raises(ConfigError, match="weights, thetas, windows: expected at least one value of each, got none"):
        search_cache(model, ids(9), first_context=1, thetas=())
    with pytest.raises(ConfigError, match="weight: .* got 1.5"):
        search_cache(model, ids(9), first_context=1, weights=(0.1, 1.5))
