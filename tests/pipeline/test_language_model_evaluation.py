"""One evaluation of a language model in every way."""

import copy
import math
from dataclasses import replace

import pytest
import torch
from support import tiny
from support.command import table_row

from ulmkit import DataOptions
from ulmkit.errors import ConfigError
from ulmkit.evaluation import CacheConfig, DynamicConfig, first_context, search_cache
from ulmkit.pipeline import evaluate_language_model, prepare, training_statistics

CACHE = CacheConfig(window=40, theta=0.5, weight=0.2)
DYNAMIC = DynamicConfig(learning_rate=1e-4, decay=1e-3)


@pytest.fixture(scope="module")
def corpus():
    parts = tiny.language_model().parts
    options = DataOptions(tokenizer="whitespace", workers=1, split_by="random", valid_fraction=0.2)
    return prepare(tiny.reviews(60, 500), options, tokenizer=parts.tokenizer, vocabulary=parts.vocabulary)


def test_every_way_in_one_table(corpus):
    model = tiny.language_model()
    told = []
    found = evaluate_language_model(
        model.parts,
        corpus,
        "valid",
        cache=CACHE,
        dynamic=DYNAMIC,
        statistics_batches=2,
        progress=lambda what, done, total: told.append(what),
    )
    assert list(found.results) == ["plain", "cache", "dynamic", "dynamic + cache"]
    assert len({result.tokens for result in found.results.values()}) == 1
    plain = model.evaluate(corpus, split="valid")
    assert found.results["plain"].perplexity == pytest.approx(plain.perplexity)
    dynamic = found.results["dynamic"]
    assert dynamic.bits_per_character == pytest.approx(dynamic.nll / dynamic.characters / math.log(2))
    assert set(told) == {"plain", "cache", "dynamic"}
    table, figures = found.table(), found.to_dict()
    for name, result in found.results.items():
        assert table_row(table, name)[0] == f"{result.perplexity:.4f}"
    assert "window 40, theta 0.5, weight 0.2" in table
    assert figures["cache"]["window"] == 40
    assert figures["results"]["plain"]["perplexity"] == pytest.approx(plain.perplexity)


def test_values_are_searched_on_validation_tokens(corpus):
    parts = tiny.language_model().parts
    found = evaluate_language_model(parts, corpus, "train", cache=True, search_tokens=80)
    assert list(found.results) == ["plain", "cache"]
    head = corpus.stream(corpus.rows("valid")).read(0, 80)
    assert found.cache == search_cache(parts.model, head, first_context=first_context(parts.vocabulary)).best


def test_values_of_dynamic_evaluation_are_searched_too(corpus):
    told = []
    found = evaluate_language_model(
        tiny.language_model().parts,
        corpus,
        "train",
        dynamic=True,
        only=["dynamic"],
        search_tokens=20,
        statistics_batches=1,
        progress=lambda what, done, total: told.append((what, done, total)),
    )
    assert list(found.results) == ["dynamic"]
    assert found.dynamic.segment_steps == 5
    searched = [step for step in told if step[0] == "search of dynamic evaluation's values"]
    assert searched[-1][1:] == (11 * 20, 11 * 20)


def test_nothing_is_searched_for_results_that_are_not_wanted(corpus):
    found = evaluate_language_model(tiny.language_model().parts, corpus, "valid", cache=True, only=["plain"])
    assert (list(found.results), found.cache) == (["plain"], None)


def test_statistics_of_something_else_are_refused(corpus, tmp_path):
    """In a file: a model that was trained on, and other batches."""
    parts, file = tiny.language_model().parts, tmp_path / "statistics"
    given = {"dynamic": DYNAMIC, "only": ["dynamic"], "statistics": file}
    evaluate_language_model(parts, corpus, "valid", **given, statistics_batches=2)
    with pytest.raises(ConfigError, match="statistics: holds gradient statistics of another model or text, or of oth"):
        evaluate_language_model(parts, corpus, "valid", **given, statistics_batches=3)
    other = copy.deepcopy(parts.model)
    with torch.no_grad():
        other.encoder.embedding.weight[0, 0] += 1e-3
    with pytest.raises(ConfigError, match="give another file, or remove this one"):
        evaluate_language_model(replace(parts, model=other), corpus, "valid", **given, statistics_batches=2)


def test_plain_alone(corpus):
    assert list(evaluate_language_model(tiny.language_model().parts, corpus, None).results) == ["plain"]


def test_some_results_alone_are_as_among_all(corpus):
    parts = tiny.language_model().parts
    given = {"cache": CACHE, "dynamic": DYNAMIC, "statistics_batches": 2}
    whole = evaluate_language_model(parts, corpus, "valid", **given).results
    for only in (["cache"], ["dynamic + cache"], ["dynamic", "plain"]):
        found = evaluate_language_model(parts, corpus, "valid", **given, only=only).results
        assert {name: result.nll for name, result in found.items()} == {name: whole[name].nll for name in only}


def test_results_that_cannot_be_computed(corpus):
    parts = tiny.language_model().parts
    with pytest.raises(ConfigError, match="only: got 'dynamic', whose hyperparameters are missing; give them"):
        evaluate_language_model(parts, corpus, "valid", cache=CACHE, only=["dynamic"])
    with pytest.raises(ConfigError, match="only: got 'both'; there are: plain, cache, dynamic, dynamic [+] cache"):
        evaluate_language_model(parts, corpus, "valid", only=["both"])


def test_statistics_are_taken_once(corpus):
    parts = tiny.language_model().parts
    statistics = training_statistics(parts, corpus, batches=2)
    given = evaluate_language_model(parts, corpus, "valid", dynamic=DYNAMIC, statistics=statistics)
    computed = evaluate_language_model(parts, corpus, "valid", dynamic=DYNAMIC, statistics_batches=2)
    assert given.results["dynamic"].nll == computed.results["dynamic"].nll


def test_parts_that_are_missing(tmp_path):
    parts = tiny.language_model().parts
    (tmp_path / "test.txt").write_text("\n".join(text for text, _ in tiny.reviews(20, 700)))
    options = DataOptions(tokenizer="whitespace", workers=1, split_by="given")
    alone = prepare(str(tmp_path), options, tokenizer=parts.tokenizer, vocabulary=parts.vocabulary)
    with pytest.raises(ConfigError, match="expected a validation part to search the cache's values on, got test alone"):
        evaluate_language_model(parts, alone, "test", cache=True)
    with pytest.raises(ConfigError, match="expected a training part for gradient statistics, got test alone"):
        evaluate_language_model(parts, alone, "test", dynamic=DYNAMIC)
