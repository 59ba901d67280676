"""Training a classifier further: same classes, new ones, dropped ones, and scores on the old documents."""

import functools
import io
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from support import tiny

from ulmkit import TextClassifier
from ulmkit.errors import ConfigError, DataError
from ulmkit.model.heads import Head
from ulmkit.pipeline import GO_ON, DataOptions
from ulmkit.text import Document
from ulmkit.training import LineProgress

ONE_WORKER = DataOptions(workers=1)
GENTLE = replace(tiny.CLASSIFY, peak_rate=1e-3)


@functools.cache
def mixed_reviews() -> list[tuple[str, str]]:
    """New reviews of a third class, "so-so", which has words of both others, and some of the old classes."""
    texts = []
    for number in range(40):
        good, bad = tiny.review("pos", 500 + number, 6), tiny.review("neg", 500 + number, 6)
        texts.append((f"{good} and music {bad}", "so-so"))
    return texts + tiny.reviews(40, first=700)


def go_on(classifier: TextClassifier, data: object, **options: object) -> TextClassifier:
    settings = {"steps": 3, "recipe": GENTLE, "data_options": ONE_WORKER, "run": tiny.RUN} | options
    return TextClassifier.train(data, classifier, **settings)  # type: ignore[arg-type]


def last_layer(head: Head) -> torch.Tensor:
    layer = head.layers[-1]
    assert isinstance(layer, torch.nn.Linear)
    return torch.cat([layer.weight, layer.bias[:, None]], dim=1).detach()


@functools.cache
def with_a_third_class() -> tuple[TextClassifier, str]:
    """A classifier that went on with a new class, and what its training said."""
    stream = io.StringIO()
    run = replace(tiny.RUN, progress=LineProgress(stream))
    classifier = go_on(
        tiny.classifier(), mixed_reviews(), steps=40, recipe=replace(tiny.CLASSIFY, peak_rate=1e-2), run=run,
        old_data=tiny.reviews(),
    )  # fmt: skip
    return classifier, stream.getvalue()


def test_a_classifier_goes_on_from_all_its_weights() -> None:
    before = tiny.classifier()
    weights = {name: tensor.clone() for name, tensor in before.parts.model.state_dict().items()}
    after = go_on(before, tiny.reviews(), steps=1, recipe=replace(GENTLE, peak_rate=1e-9))
    assert after.labels == before.labels
    texts = [text for text, _ in tiny.reviews(10, first=900)]
    scaled = [np.log(np.asarray(each.predict_proba(texts))) * each.parts.temperature for each in (before, after)]
    margins = [logs[:, 1] - logs[:, 0] for logs in scaled]
    for name, tensor in after.parts.model.state_dict().items():
        assert torch.equal(before.parts.model.state_dict()[name], weights[name])
        if "running" not in name and "num_batches" not in name:
            torch.testing.assert_close(tensor, weights[name], atol=1e-6, rtol=0)
    assert np.corrcoef(*margins)[0, 1] > 0.99


def test_old_validation_documents_are_scored_before_and_after() -> None:
    before = tiny.classifier()
    after = go_on(before, tiny.reviews(), steps=2)
    continuation = after.parts.facts.continuation
    assert continuation is not None
    assert continuation.old_documents is not None
    assert continuation.old_data == "12 labelled documents, split valid of documents given in Python"
    expected = before.parts.facts.validation["accuracy"]
    assert continuation.old_documents.measure == "accuracy"
    assert continuation.old_documents.documents == 12
    assert continuation.old_documents.before == pytest.approx(expected)
    assert continuation.old_documents.after == pytest.approx(after.parts.facts.validation["accuracy"])
    assert (continuation.kept, continuation.added, continuation.removed) == (("neg", "pos"), (), ())
    assert (continuation.kept_held_out, continuation.seen_before) == (0, 0)


def test_a_new_class_is_learned_and_the_old_rows_move_by_name(tmp_path: Path) -> None:
    classifier, said = with_a_third_class()
    assert classifier.labels == ("neg", "pos", "so-so")
    texts = [text for text, label in mixed_reviews() if label == "so-so"]
    assert classifier.predict(texts).count("so-so") >= 30
    continuation = classifier.parts.facts.continuation
    assert continuation is not None
    assert continuation.added == ("so-so",)
    assert continuation.old_documents is not None
    assert continuation.old_documents.before == pytest.approx(tiny.classifier().parts.facts.validation["accuracy"])
    assert "classes kept: 'neg', 'pos'; classes added: 'so-so'\n" in said
    assert "old validation documents: 12 labelled documents, split valid of documents given in Python\n" in said
    classifier.save(tmp_path / "saved")
    card = (tmp_path / "saved" / "README.md").read_text()
    assert "classes: kept neg, pos; added so-so." in card
    assert "a classifier trained on documents given in Python" in card
    assert f"accuracy was {continuation.old_documents.before:.4f} before this training" in card
    assert TextClassifier.load(tmp_path / "saved").parts.facts.continuation == continuation


def test_a_class_is_dropped_for_good() -> None:
    before, _ = with_a_third_class()
    data = [(text, label) for text, label in mixed_reviews() if label != "neg"]
    after = go_on(before, data, drop_classes=["neg"], steps=1, recipe=replace(GENTLE, peak_rate=1e-9))
    assert after.labels == ("pos", "so-so")
    torch.testing.assert_close(last_layer(after.parts.model.head), last_layer(before.parts.model.head)[1:])
    continuation = after.parts.facts.continuation
    assert continuation is not None
    assert (continuation.kept, continuation.removed) == (("pos", "so-so"), ("neg",))
    with pytest.raises(DataError, match="expected none of the dropped classes, got 'neg'; remove their documents"):
        go_on(before, mixed_reviews(), drop_classes=["neg"])
    with pytest.raises(ConfigError, match="drop_classes: got 'so so'; did you mean 'so-so'"):
        go_on(before, data, drop_classes=["so so"])
    with pytest.raises(ConfigError, match="drop_classes: expected at least 2 classes to stay, got 1"):
        go_on(tiny.classifier(), [data[-2]] * 20, drop_classes=["neg"])


def test_scores_leave_out_old_documents_of_a_dropped_class() -> None:
    data = [(text, label) for text, label in mixed_reviews() if label != "neg"]
    after = go_on(tiny.classifier(), data, drop_classes=["neg"], old_data=tiny.reviews())
    continuation = after.parts.facts.continuation
    assert continuation is not None
    assert continuation.old_documents is not None
    assert continuation.old_documents.documents == 6


def test_classes_without_documents_stay_and_are_named() -> None:
    stream = io.StringIO()
    only_new = [(text, label) for text, label in mixed_reviews() if label == "so-so"]
    run = replace(tiny.RUN, progress=LineProgress(stream))
    after = go_on(tiny.classifier(), only_new, run=run, baselines=True)
    assert after.labels == ("neg", "pos", "so-so")
    assert "classes without documents to learn from: 'neg', 'pos'; training on others alone forgets them" in (
        stream.getvalue()
    )
    assert "old validation documents: not found beside the new ones" in stream.getvalue()
    assert after.parts.facts.continuation is not None
    assert after.parts.facts.continuation.without_documents == ("neg", "pos")
    assert after.parts.facts.baselines == {}


def test_a_new_class_needs_documents_to_learn_from() -> None:
    data = [Document(text=text, label=label, split="train") for text, label in tiny.reviews(20)]
    data.append(Document(text="a story", label="so-so", split="valid"))
    with pytest.raises(DataError, match="every new class in the train split, got none of 'so-so'"):
        go_on(tiny.classifier(), data)


def test_old_and_new_documents_are_kept_apart() -> None:
    old, new = tiny.reviews(), tiny.reviews(60, first=2000)
    after = go_on(tiny.classifier(), [*old, *new], old_data=old)
    facts = after.parts.facts
    assert facts.continuation is not None
    assert facts.continuation.kept_held_out > 0
    assert facts.continuation.seen_before > 0
    assert facts.labelled_documents == 162 - facts.continuation.kept_held_out
    assert facts.validation_documents == 18 - facts.continuation.seen_before


def test_a_backward_classifier_goes_on_backward() -> None:
    before = TextClassifier.train(
        tiny.reviews(), tiny.backward_language_model(), method="finetune", steps=5, recipe=tiny.CLASSIFY,
        data_options=tiny.WORDS, run=tiny.RUN,
    )  # fmt: skip
    after = go_on(before, tiny.reviews())
    assert isinstance(after.parts, type(before.parts))
    assert after.parts.direction == "backward"
    assert after.parts.facts.continuation is not None
    assert after.parts.facts.continuation.old_documents is not None
    expected = before.parts.facts.validation["accuracy"]
    assert after.parts.facts.continuation.old_documents.before == pytest.approx(expected)


@pytest.mark.parametrize("task", ["multi", "tokens", "pair"])
def test_each_task_takes_a_new_class_and_drops_one(task: str) -> None:
    options: dict[str, Any] = {"steps": 1, "recipe": GENTLE, "run": tiny.RUN}
    old = [_document(task, text, label) for text, label in tiny.reviews(20)]
    if task == "pair":  # white space cannot mark where the second text begins
        options |= {"sizes": tiny.ENCODER, "data_options": DataOptions(tokenizer="bytes", workers=1)}
    else:
        options["data_options"] = ONE_WORKER
    before = TextClassifier.train(old, None if task == "pair" else tiny.language_model(), task=task, **options)
    new = [_document(task, text, {"neg": "new"}.get(label, label)) for text, label in tiny.reviews(20, first=40)]
    after = go_on(before, new, steps=1, old_data=old, drop_classes=["neg"])
    assert after.task == task
    assert after.labels == ("new", "pos")
    continuation = after.parts.facts.continuation
    assert continuation is not None
    assert (continuation.kept, continuation.added, continuation.removed) == (("pos",), ("new",), ("neg",))
    assert continuation.old_documents is not None
    assert continuation.old_documents.documents == 1


def _document(task: str, text: str, label: str) -> Document:
    """A review as a document of a task."""
    if task == "pair":
        return Document(text=(text, "a story"), label=label)
    if task == "multi":
        return Document(text=text, label=(label,))
    words = tuple(text.split())
    return Document(text=text, tokens=words, label=(label,) * len(words))


def test_a_number_keeps_its_scale() -> None:
    data = [Document(text=text, label=100.0 if label == "pos" else 200.0) for text, label in tiny.reviews(40)]
    options = {"task": "number", "recipe": GENTLE, "data_options": ONE_WORKER, "run": tiny.RUN}
    before = TextClassifier.train(data, tiny.language_model(), steps=2, **options)
    other = [Document(text=text, label=1.0) for text, _ in tiny.reviews(40)]
    after = go_on(before, other, steps=1, recipe=replace(GENTLE, peak_rate=1e-9))
    texts = [text for text, _ in tiny.reviews(4)]
    assert np.all(np.asarray(after.predict_proba(texts)) > 50)
    with pytest.raises(ConfigError, match="drop_classes: expected none for task 'number', got 'a'"):
        go_on(before, other, drop_classes=["a"])


def test_what_cannot_go_on_is_refused(tmp_path: Path) -> None:
    classifier = tiny.classifier()
    with pytest.raises(ConfigError, match="task: expected 'single', that of the classifier, got 'multi'"):
        go_on(classifier, tiny.reviews(), task="multi")
    with pytest.raises(ConfigError, match="method: expected finetune from a classifier, got 'linear'"):
        go_on(classifier, tiny.reviews(), method="linear")
    with pytest.raises(ConfigError, match="tokenizer: the classifier has its own; leave it out"):
        go_on(classifier, tiny.reviews(), data_options=DataOptions(tokenizer="bytes"))
    with pytest.raises(ConfigError, match="min_freq: the classifier has its own"):
        go_on(classifier, tiny.reviews(), data_options=DataOptions(min_freq=2))
    with pytest.raises(ConfigError, match="transductive: has no effect on a classifier that is trained further"):
        go_on(classifier, tiny.reviews(), transductive=True)
    with pytest.raises(ConfigError, match="expected weights in float32, got int8, which cannot be trained"):
        go_on(classifier.to_int8(), tiny.reviews())
    pair = TextClassifier(classifier.parts, classifier.parts)  # type: ignore[arg-type]
    with pytest.raises(ConfigError, match="expected one classifier, got a pair; train its 'forward'"):
        go_on(pair, tiny.reviews())
    ladder = TextClassifier.train(tiny.reviews(), None, method="linear", data_options=tiny.WORDS, run=tiny.RUN)
    with pytest.raises(ConfigError, match="got .*, which cannot be trained further on new documents alone; give the"):
        go_on(ladder, tiny.reviews())
    for option in ({"drop_classes": ["pos"]}, {"old_data": tiny.reviews()}):
        (name,) = option
        with pytest.raises(ConfigError, match=f"{name}: expected a classifier to start from, got none"):
            TextClassifier.train(tiny.reviews(), tiny.language_model(), steps=1, **option)  # type: ignore[arg-type]


def test_the_recipe_of_going_on_is_gentle() -> None:
    assert (GO_ON.unfreezing, GO_ON.peak_rate) == ("full", 2.5e-3)
    after = go_on(tiny.classifier(), tiny.reviews(), recipe=None, steps=1)
    assert after.parts.facts.recipe["unfreezing"] == "full"
