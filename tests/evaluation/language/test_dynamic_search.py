import dataclasses

import pytest
from support.streams import CACHE, CONTEXT, RMS, SGD, ids

from ulmkit.errors import ConfigError
from ulmkit.evaluation import (
    DYNAMIC_PTB,
    dynamic_perplexity,
    search_dynamic,
)
from ulmkit.evaluation.language.dynamic_search import search_values


def test_a_search_tries_rates_then_decays_on_the_first_tokens(model, statistics):
    progress_calls: list[tuple[int, int]] = []
    options = {"first_context": CONTEXT, "statistics": statistics, "cache": CACHE}
    values = {"learning_rates": (1e-3, 3e-3), "decays": (0.0, 0.02), "tokens": 33}
    search = search_dynamic(
        model, ids(60), RMS, **options, **values, progress=lambda *done: progress_calls.append(done)
    )
    assert (progress_calls[0], progress_calls[-1]) == ((5, 5 * 33), (5 * 33, 5 * 33))
    assert progress_calls == sorted(progress_calls)
    tried = [(config.learning_rate, config.decay) for config, _ in search.rows]
    rate = min(search.rows[:3], key=lambda row: row[1].perplexity)[0].learning_rate
    assert tried == [(2e-3, 0.01), (1e-3, 0.01), (3e-3, 0.01), (rate, 0.0), (rate, 0.02)]
    for config, result in search.rows:
        assert result == dynamic_perplexity(model, ids(60)[:33], config, **options)
    assert search.perplexity == min(result.perplexity for _, result in search.rows)


def test_what_a_search_tries_is_scaled_with_the_segments():
    """The authors' values, whose own default is 5e-5 and 0.002 for 5 steps."""
    rates, decays = search_values(DYNAMIC_PTB.for_segments(20))
    assert rates == pytest.approx([1.2e-4, 1.6e-4, 2e-4, 2.4e-4, 2.8e-4, 4e-4])
    assert decays == pytest.approx([4e-3, 8e-3, 1.2e-2, 2e-2])
    rates, decays = search_values(dataclasses.replace(SGD, learning_rate=0.1, decay=0.01))
    assert (rates, decays) == (pytest.approx([0.025, 0.05, 0.2, 0.4]), pytest.approx([0.0, 0.0025, 0.04]))


def test_a_search_resumes(model, statistics, monkeypatch):
    """What is known is not computed again, and what is new is handed on."""
    options = {"first_context": CONTEXT, "statistics": statistics, "learning_rates": (1e-3,), "decays": (0.0,)}
    kept = {}
    whole = search_dynamic(model, ids(30), RMS, **options, keep=kept.__setitem__)
    assert tuple(kept.items()) == whole.rows
    new, last = [], list(kept)[-1]
    known = {config: result for config, result in kept.items() if config != last}
    again = search_dynamic(model, ids(30), RMS, **options, known=known, keep=lambda config, _: new.append(config))
    assert (again.rows, new) == (whole.rows, [last])


def test_a_search_passes_over_what_explodes(model):
    base = dataclasses.replace(SGD, learning_rate=1e-3, decay=0.01)
    search = search_dynamic(model, ids(60), base, first_context=CONTEXT, learning_rates=(1e9,), decays=())
    assert search.best.learning_rate == 1e-3
    assert search.table().splitlines()[-1].split() == ["1e+09", "0.01", "2e-05", "5", "sgd", "-"]
    assert search.to_dict()["rows"][1]["perplexity"] is None


def test_a_search_of_no_tokens_is_refused(model):
    with pytest.raises(ConfigError, match="tokens: .* got 0"):
        search_dynamic(model, ids(9), SGD, first_context=1, tokens=0)
