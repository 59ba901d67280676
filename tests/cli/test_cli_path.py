"""The whole path through the command line, and what each command leaves."""

import csv
import json
import re
import shutil
import socket
from dataclasses import replace
from pathlib import Path

import pytest
from support import tiny
from support.command import CLASSIFY, SMALL, TINY, TUNE, table_row, ulmkit

from ulmkit import LanguageModel, TextClassifier, __version__
from ulmkit.config import to_dict
from ulmkit.evaluation import DYNAMIC_SGD
from ulmkit.model.cells import QRNN, Cell, Mogrifier
from ulmkit.text import EncodedCorpus


@pytest.fixture(scope="module")
def path(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder in which the commands prepare, pretrain, finetune and train have run."""
    folder = tmp_path_factory.mktemp("path")
    (folder / "reviews").mkdir()
    for split, count, first in (("train", 120, 0), ("valid", 20, 500), ("test", 40, 1000)):
        rows = [(text, label, f"author {at % 3}") for at, (text, label) in enumerate(tiny.reviews(count, first))]
        tiny.write_csv(folder / "reviews" / f"{split}.csv", rows, header=("text", "label", "author"))
    (folder / "general").mkdir()
    for split, count, first in (("train", 150, 2000), ("valid", 20, 3000)):
        text = "\n".join(text for text, _ in tiny.reviews(count, first)) + "\n"
        (folder / "general" / f"{split}.txt").write_text(text)
    general, reviews = folder / "general", folder / "reviews"
    ulmkit("prepare", general, "-o", folder / "corpus", "--tokenizer", "whitespace", "--json", folder / "prepare.json")
    ulmkit(
        "pretrain", folder / "corpus", "-o", folder / "lm", *SMALL, "--steps", 80, "--json", folder / "pretrain.json"
    )
    options = ("--steps", 80, "--json", folder / "finetune.json")
    ulmkit("finetune", folder / "lm", reviews, "-o", folder / "tuned", *TUNE, *options)
    options = ("--steps", 120, "--json", folder / "train.json")
    told = ulmkit("train", folder / "tuned", reviews, "-o", folder / "classifier", *CLASSIFY, *options)
    (folder / "train.out").write_text(told.out)
    (folder / "train.err").write_text(told.err)
    return folder


def _json(path: Path) -> dict:
    return json.loads(path.read_text())


def test_prepare_tells_and_writes_a_corpus(path: Path) -> None:
    corpus = EncodedCorpus.open(path / "corpus", verify=True)
    summary = _json(path / "prepare.json")
    assert summary["vocabulary"] == len(corpus.vocabulary)
    assert summary["facts"]["splits"]["train"]["documents"] == 1
    assert set(summary) == {"corpus", "vocabulary", "tokenizer", "reading", "facts"}
    assert summary["facts"]["split_policy"]["kind"] == "given"
    assert summary["tokenizer"] == "whitespace"


def test_pretrain_and_finetune_lower_perplexity(path: Path) -> None:
    pretrain, finetune = _json(path / "pretrain.json"), _json(path / "finetune.json")
    assert set(pretrain) == {"model", "parameters", "facts", "reading"}
    assert pretrain["facts"]["run"]["steps"] == 80
    assert pretrain["parameters"] > 10_000
    after = [facts["facts"]["validation"]["perplexity"] for facts in (pretrain, finetune)]
    assert after[0] < 0.8 * len(EncodedCorpus.open(path / "corpus").vocabulary)
    assert after[1] < finetune["facts"]["validation_before"]["perplexity"]
    assert finetune["facts"]["base"]["run"]["budget"]["steps"] == 80


def test_train_shows_the_baselines_beside_the_classifier(path: Path) -> None:
    summary = _json(path / "train.json")
    assert summary["facts"]["validation"]["accuracy"] >= 0.8
    reports = {"validation": summary["facts"]["validation"], **summary["facts"]["baselines"]}
    assert len(reports) >= 3
    for name, report in reports.items():
        assert table_row((path / "train.out").read_text(), f"accuracy, {name}") == [f"{report['accuracy']:.4g}"]
    assert "validation" in (path / "train.err").read_text()
    assert "| this model |" in (path / "classifier" / "README.md").read_text()


def test_checkpoints_are_gone_at_the_end(path: Path) -> None:
    assert not list(path.glob("*.training"))
    assert not [name for name in path.iterdir() if name.name.startswith(".")]


def test_evaluate_a_language_model_exactly_and_as_published(path: Path) -> None:
    exact = ulmkit("evaluate", path / "tuned", path / "reviews", "--json", path / "e.json", "--precision", "fp32")
    tuned = LanguageModel.load(path / "tuned", tiny.RUN)
    found = tuned.evaluate(path / "reviews", split="test", data_options=replace(tiny.WORDS, split_by="auto"))
    assert _json(path / "e.json")["perplexity"] == pytest.approx(found.perplexity, rel=1e-6)
    assert table_row(exact.out, "perplexity (exact)") == [f"{found.perplexity:.4f}"]
    published = ulmkit("evaluate", path / "lm", path / "corpus", "--split", "valid", "--published", "--batch-size", 2)
    found = LanguageModel.load(path / "lm", tiny.RUN).evaluate(
        path / "corpus", split="valid", published=True, batch_size=2
    )
    assert table_row(published.out, "perplexity (published)") == [f"{found.perplexity:.4f}"]
    whole = ulmkit("evaluate", path / "tuned", path / "reviews", "--split", "all", "--json", path / "all.json")
    assert _json(path / "all.json")["tokens"] > _json(path / "e.json")["tokens"]
    assert table_row(whole.out, "tokens predicted") == [str(_json(path / "all.json")["tokens"])]


def test_evaluate_a_classifier_with_baselines_and_by_a_column(path: Path) -> None:
    told = ulmkit("evaluate", path / "classifier", path / "reviews", "--by", "author", "--json", path / "c.json")
    summary = _json(path / "c.json")
    assert set(summary) == {"data", "split", "reading", "classifier", "baselines", "confidence"}
    assert summary["classifier"]["documents"] == 40
    assert summary["classifier"]["accuracy"] >= 0.85
    groups = summary["classifier"]["by"]["author"]
    assert [(group["value"], group["documents"]) for group in groups] == [
        ("author 0", 14),
        ("author 1", 13),
        ("author 2", 13),
    ]
    assert told.out.startswith(
        "evaluated on: split test of reviews, 40 documents; held out while the model was trained\n"
    )
    assert told.out.count("from labels of the same 120 documents") >= 2
    alone = ulmkit("evaluate", path / "classifier", path / "reviews", "--no-baselines")
    assert "the same" not in alone.out


def test_baselines_from_as_many_labels_as_the_classifier_had(path: Path, tmp_path: Path) -> None:
    options = ("--steps", 2, "--labels", 12, "--no-baselines")
    ulmkit("train", path / "tuned", path / "reviews", "-o", tmp_path / "few", *CLASSIFY, *options)
    told = ulmkit("evaluate", tmp_path / "few", path / "reviews")
    assert told.out.count("from 12 labels of the same training part") >= 2


def test_evaluate_on_other_data_with_fewer_labels(path: Path, tmp_path: Path) -> None:
    rows = [(text, label, ("train", "test")[at % 4 > 0]) for at, (text, label) in enumerate(tiny.reviews(20, 7000))]
    data = tiny.write_csv(tmp_path / "other.csv", rows, header=("text", "label", "split"))
    told = ulmkit("evaluate", path / "classifier", data, "--split-column", "split", "--split-by", "given")
    assert told.out.startswith("evaluated on: split test of other.csv, 15 documents; not from the data")
    assert told.out.count(f"from 5 labels of the training part of {data.name}") >= 2
    assert "the same" not in told.out


def test_evaluate_on_a_file_without_splits_uses_all_of_it(path: Path, tmp_path: Path) -> None:
    data = tiny.write_csv(tmp_path / "new.csv", tiny.reviews(40, 7000))
    book = tmp_path / "book.txt"
    book.write_text("\n".join(text for text, _ in tiny.reviews(40, 7000)))
    for split in ((), ("--split", "all")):
        told = ulmkit("evaluate", path / "classifier", data, *split, "--json", tmp_path / "c.json", "--overwrite")
        assert told.out.startswith(
            "evaluated on: all of new.csv, 40 documents; not from the data that the model was trained on\n"
        )
        assert (
            told.out.splitlines()[-1] == f"no baselines: {data} has no training documents besides those that are scored"
        )
        found = _json(tmp_path / "c.json")
        assert (found["classifier"]["documents"], found["split"]) == (40, "all")
        told = ulmkit("evaluate", path / "tuned", book, *split)
        assert told.out.startswith(
            "evaluated on: all of book.txt, 1 documents; not from the data that the model was trained on\n"
        )
    told = ulmkit("evaluate", path / "classifier", data, "--split-by", "random", "--valid-fraction", 0.25)
    assert told.out.startswith("evaluated on: split valid of new.csv, 10 documents;")
    dynamic = ("--dynamic", "--statistics-batches", 1)
    assert "that is not scored too" in ulmkit("evaluate", path / "tuned", data, *dynamic, status=2).error


def test_evaluate_on_other_data_of_the_same_name(tmp_path: Path) -> None:
    for place, first in (("mine", 0), ("theirs", 500)):
        (tmp_path / place).mkdir()
        tiny.write_csv(tmp_path / place / "data.csv", tiny.reviews(60, first))
    ulmkit("train", "none", tmp_path / "mine/data.csv", "-o", tmp_path / "c", *CLASSIFY, "--steps", 2, *TINY)
    told = ulmkit("evaluate", tmp_path / "c", tmp_path / "theirs/data.csv")
    assert told.out.startswith("evaluated on: all of data.csv, 60 documents; not from the data")
    shutil.copy(tmp_path / "mine/data.csv", tmp_path / "renamed.csv")
    told = ulmkit("evaluate", tmp_path / "c", tmp_path / "renamed.csv")
    assert told.out.startswith("evaluated on: split valid of renamed.csv, 6 documents; held out")
    assert "from labels of the same 54 documents" in told.out


def test_evaluate_says_why_there_are_no_baselines(path: Path, tmp_path: Path) -> None:
    rows = [(text, label, "test") for text, label in tiny.reviews(20, 7000)]
    data = tiny.write_csv(tmp_path / "other.csv", rows, header=("text", "label", "split"))
    options = ("--split-column", "split", "--split-by", "given")
    for split in ("test", "all"):
        told = ulmkit("evaluate", path / "classifier", data, *options, "--split", split)
        assert (
            told.out.splitlines()[-1] == f"no baselines: {data} has no training documents besides those that are scored"
        )
    assert "no baselines" not in ulmkit("evaluate", path / "classifier", data, *options, "--no-baselines").out
    for split in ("train", "all"):
        told = ulmkit("evaluate", path / "classifier", path / "reviews", "--split", split)
        reason = f"{path / 'reviews'} has no training documents besides those that are scored"
        assert told.out.splitlines()[-1] == f"no baselines: {reason}"


def test_evaluate_where_training_documents_have_one_class_only(path: Path, tmp_path: Path) -> None:
    rows = [(text, label, "train" if label == "pos" else "test") for text, label in tiny.reviews(20, 7000)]
    data = tiny.write_csv(tmp_path / "other.csv", rows, header=("text", "label", "split"))
    told = ulmkit("evaluate", path / "classifier", data, "--split-column", "split", "--split-by", "given")
    predicted = TextClassifier.load(path / "classifier", tiny.RUN).predict([row[0] for row in rows if row[2] == "test"])
    assert re.search(rf"accuracy +{predicted.count('neg') / 10:.4f} \(95%: ", told.out)


def test_predict_to_the_screen_to_json_lines_and_to_csv(path: Path, tmp_path: Path) -> None:
    text, label = tiny.reviews(1, 9000)[0]
    (line,) = ulmkit("predict", path / "classifier", "--text", text).out.splitlines()
    row = json.loads(line)
    assert (row["label"], row["text"]) == (label, text)
    assert row["probability"] == max(row["probabilities"].values())
    assert sum(row["probabilities"].values()) == pytest.approx(1.0, abs=1e-5)
    told = ulmkit("predict", path / "classifier", path / "reviews", "--split", "test", "-o", tmp_path / "p.jsonl")
    assert told.out == f"40 rows written to {tmp_path / 'p.jsonl'}\n"
    rows = [json.loads(line) for line in (tmp_path / "p.jsonl").read_text().splitlines()]
    ulmkit("predict", path / "classifier", path / "reviews", "--split", "test", "-o", tmp_path / "p.csv")
    with open(tmp_path / "p.csv", newline="") as file:
        table = list(csv.DictReader(file))
    assert [row["label"] for row in rows] == [row["label"] for row in table]
    assert [json.loads(row["probabilities"]) for row in table] == [row["probabilities"] for row in rows]
    expected = [label for _, label in tiny.reviews(40, 1000)]
    assert sum(map(str.__eq__, (row["label"] for row in rows), expected)) >= 34


def test_evaluate_a_language_model_in_every_way(path: Path, tmp_path: Path) -> None:
    options = ("--split", "valid", "--cache-values", 30, 0.5, 0.1, "--dynamic", "--statistics-batches", 2)
    command = ("evaluate", path / "tuned", path / "reviews", *options, "--statistics", tmp_path / "statistics")
    told = ulmkit(*command, "--json", tmp_path / "first.json")
    assert (tmp_path / "statistics").is_file()
    ulmkit(*command, "--json", tmp_path / "second.json")
    first, second = (_json(tmp_path / f"{name}.json")["results"] for name in ("first", "second"))
    assert first == second
    assert list(first) == ["plain", "cache", "dynamic", "dynamic + cache"]
    for name, result in first.items():
        assert table_row(told.out, name)[0] == f"{result['perplexity']:.4f}"
    search = ("--cache", "--search-tokens", 50, "--split", "all", "--json", tmp_path / "searched.json")
    searched = ulmkit("evaluate", path / "tuned", path / "reviews", *search)
    found = _json(tmp_path / "searched.json")["cache"]
    assert (
        searched.out.splitlines()[-1]
        == f"cache: window {found['window']}, theta {found['theta']:g}, weight {found['weight']:g}"
    )


def test_evaluate_refuses_ways_that_do_not_go_together(path: Path) -> None:
    told = ulmkit("evaluate", path / "tuned", path / "reviews", "--cache", "--published", status=2)
    assert "--published: has no effect with --cache or --dynamic" in told.error
    told = ulmkit("evaluate", path / "classifier", path / "reviews", "--dynamic", status=2)
    assert "expected a folder of kind 'language_model'" in told.error
    for options, expected in (
        (("--search-tokens", 50), "--search-tokens has no effect without --cache or --dynamic-search"),
        (("--cache", "--statistics", "here"), "--statistics has no effect without --dynamic with rule rms"),
        (("--cache", "--dynamic-rule", "sgd"), "--dynamic-rule has no effect without --dynamic, --dynamic-search or"),
        (("--cache", "--checkpoint", "here"), "--checkpoint has no effect without --dynamic, --dynamic-search or"),
        (
            ("--dynamic-search", "--dynamic-values", 1, 0, 1),
            "--dynamic-search has no effect with --dyn",
        ),
        (("--dynamic-values", 1, 0, 1, "--dynamic-rule", "smg"), "--dynamic-rule: got 'smg'; did you mean 'sgd'"),
        (
            ("--dynamic-values", 1, 0, 1, "--segment-steps", 0),
            "--segment-steps: expected a whole number",
        ),
    ):
        assert expected in ulmkit("evaluate", path / "tuned", path / "reviews", *options, status=2).error


def test_dynamic_evaluation_by_the_other_rule_and_searched(path: Path, tmp_path: Path) -> None:
    command = ("evaluate", path / "tuned", path / "reviews", "--split", "valid")
    by_sgd = ("--dynamic-values", 0.05, 0.01, 1e-5, "--dynamic-rule", "sgd", "--segment-steps", 7)
    ulmkit(*command, *by_sgd, "--json", tmp_path / "sgd.json")
    assert _json(tmp_path / "sgd.json")["dynamic"] == {
        "learning_rate": 0.05,
        "decay": 0.01,
        "epsilon": 1e-5,
        "segment_steps": 7,
        "rule": "sgd",
    }
    searched = ("--dynamic-search", "--search-tokens", 20)
    told = ulmkit(*command, *searched, "--statistics-batches", 1, "--json", tmp_path / "rms.json")
    values = _json(tmp_path / "rms.json")["dynamic"]
    assert values["rule"] == "rms"
    assert f"dynamic evaluation: learning_rate {values['learning_rate']:g}, decay {values['decay']:g}, " in told.out
    ulmkit(*command, *searched, "--dynamic-rule", "sgd", "--segment-steps", 10, "--json", tmp_path / "searched.json")
    found = _json(tmp_path / "searched.json")["dynamic"]
    assert (found["rule"], found["segment_steps"]) == ("sgd", 10)
    (tmp_path / "unfinished").write_text("something else")
    usual = ("--dynamic", "--dynamic-rule", "sgd", "--json", tmp_path / "usual.json")
    told = ulmkit(*command, *usual, "--checkpoint", tmp_path / "unfinished", status=2)
    assert "expected an unfinished evaluation" in told.error
    (tmp_path / "unfinished").unlink()
    ulmkit(*command, *usual, "--checkpoint", tmp_path / "unfinished")
    assert _json(tmp_path / "usual.json")["dynamic"] == to_dict(DYNAMIC_SGD)


def test_score_and_generate(path: Path, tmp_path: Path) -> None:
    lines = ulmkit("score", path / "tuned", "--text", "the film was", "--text", "was film the").out.splitlines()
    usual, odd = map(json.loads, lines)
    assert usual["perplexity"] < odd["perplexity"]
    ulmkit("score", path / "tuned", path / "reviews", "--split", "valid", "--out", tmp_path / "s.csv")
    assert len((tmp_path / "s.csv").read_text().splitlines()) == 21
    options = ("--prompt", "the film", "--max-tokens", 5, "--samples", 2, "--seed", 3)
    first = ulmkit("generate", path / "tuned", *options, "--json", tmp_path / "g.json")
    generated = _json(tmp_path / "g.json")["generated"]
    assert len(generated) == 2
    assert all(text.startswith("the film") for text in generated)
    assert "\n\n".join(generated) in first.out
    assert ulmkit("generate", path / "tuned", *options).out.strip() == "\n\n".join(generated)
    assert ulmkit("generate", path / "tuned", "--prompt", "the", "--max-tokens", 2, "--beam", 3).out.startswith(
        "the film was"
    )


def test_predict_and_score_write_a_summary_with_the_rows_that_no_file_has(path: Path, tmp_path: Path) -> None:
    def without_reading(summary: Path) -> dict:
        content = _json(summary)
        assert content.pop("reading")["file_names"] == ["test.csv"]
        return content

    out, summary = tmp_path / "p.jsonl", tmp_path / "p.json"
    data = (path / "reviews", "--split", "test")
    told = ulmkit("predict", path / "classifier", *data, "--out", out, "--json", summary)
    assert told.out == f"40 rows written to {out}\n"
    labels = [json.loads(line)["label"] for line in out.read_text().splitlines()]
    counts = {"neg": labels.count("neg"), "pos": labels.count("pos")}
    assert without_reading(summary) == {"texts": 40, "out": str(out), "labels": counts}
    text = tiny.reviews(1, 9000)[0][0]
    for command in (("predict", path / "classifier"), ("score", path / "tuned")):
        told = ulmkit(*command, "--text", text, "--json", summary, "--overwrite")
        (row,) = map(json.loads, told.out.splitlines())
        found = _json(summary)
        assert (found["texts"], found["out"], found["rows"]) == (1, None, [row])
    ulmkit("score", path / "tuned", *data, "--out", tmp_path / "s.csv", "--json", summary, "--overwrite")
    assert without_reading(summary) == {"texts": 40, "out": str(tmp_path / "s.csv")}


def test_lr_find_suggests_rates_and_draws_them(path: Path, tmp_path: Path) -> None:
    plot = tmp_path / "rates.png"
    options = ("--batch-size", 8, "--bptt", 16, "--steps", 30, "--plot", plot, "--json", tmp_path / "r.json")
    told = ulmkit("lr-find", path / "lm", path / "reviews", *options)
    summary = _json(tmp_path / "r.json")
    assert set(summary) == {"steepest", "valley", "plot", "rates", "losses", "smoothed", "diverged", "reading"}
    for name in ("steepest", "valley"):
        assert table_row(told.out, name) == [f"{summary[name]:.4g}"]
    assert min(summary["rates"]) <= summary["valley"] <= max(summary["rates"])
    assert plot.read_bytes().startswith(b"\x89PNG")


def test_info_says_what_is_chosen_and_why(tmp_path: Path) -> None:
    told = ulmkit("info", "--device", "cpu", "--precision", "fp32", "--json", tmp_path / "i.json")
    summary = _json(tmp_path / "i.json")
    assert summary["precision_fp32"] == "chosen"
    chosen = [name for name, told in summary.items() if name.startswith("backend") and told.startswith("chosen: ")]
    assert chosen in (["backend_fused"], ["backend_torch"])
    assert summary["backend_reference"].startswith("available: ")
    assert table_row(told.out, "ulmkit") == [__version__]
    assert table_row(told.out, "precision fp32") == ["chosen"]


def test_backward_models_go_the_same_way(path: Path, tmp_path: Path) -> None:
    ulmkit("pretrain", path / "general", "-o", tmp_path / "lm", *SMALL, "--steps", 5, "--backward")
    ulmkit("finetune", tmp_path / "lm", path / "reviews", "-o", tmp_path / "tuned", *TUNE, "--steps", 3)
    ulmkit(
        "train", tmp_path / "tuned", path / "reviews", "-o", tmp_path / "c", *CLASSIFY, "--steps", 3, "--no-baselines"
    )
    assert TextClassifier.load(tmp_path / "c").parts.direction == "backward"


def test_transductive_fine_tuning_is_named_so_in_both_cards(path: Path, tmp_path: Path) -> None:
    options = ("--transductive", "--steps", 3)
    ulmkit("finetune", path / "lm", path / "reviews", "-o", tmp_path / "tuned", *TUNE, *options)
    training = ("--steps", 3, "--labels", 20, "--no-baselines", "--json", tmp_path / "c.json")
    ulmkit("train", tmp_path / "tuned", path / "reviews", "-o", tmp_path / "c", *CLASSIFY, *training)
    for name in ("tuned", "c"):
        assert "(transductive split)" in (tmp_path / name / "README.md").read_text()
    assert "transductive" not in (path / "classifier" / "README.md").read_text()
    assert _json(tmp_path / "c.json")["facts"]["labelled_documents"] == 20


def test_folders_are_complete_wherever_they_are_moved_and_load_offline(
    path: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*_: object, **__: object) -> None:
        raise OSError("no network here")

    for name in ("tuned", "classifier"):
        shutil.copytree(path / name, tmp_path / "elsewhere" / name)
    monkeypatch.chdir(tmp_path / "elsewhere")
    monkeypatch.setattr(socket, "socket", refuse)
    monkeypatch.setattr(socket, "getaddrinfo", refuse)
    text = tiny.reviews(1)[0][0]
    here, there = (ulmkit("predict", name, "--text", text).out for name in (path / "classifier", "classifier"))
    assert here == there
    ulmkit("score", "tuned", "--text", text)
    ulmkit("finetune", "tuned", path / "reviews", "-o", "again", *TUNE, "--steps", 2)


def test_pairs_tokens_numbers_and_several_labels_through_the_commands(tmp_path: Path) -> None:
    pairs = [(a, b, "same" if a == b else "other") for a in "abcd" for b in "abcd"] * 3
    data = {
        "pair": tiny.write_csv(tmp_path / "pair.csv", pairs, header=("first", "second", "label")),
        "number": tiny.write_csv(tmp_path / "number.csv", [(f"n {n % 7}", n % 7) for n in range(40)]),
        "multi": tiny.write_csv(tmp_path / "multi.csv", [("x y", "a|b"), ("x", "a"), ("y", "b")] * 10),
        "tokens": tmp_path / "tokens.jsonl",
    }
    rows = [{"tokens": ["anna", "sleeps"], "labels": ["B-PER", "O"]}, {"tokens": ["so", "be"], "labels": ["O", "O"]}]
    data["tokens"].write_text("".join(json.dumps(row) + "\n" for row in rows * 10))
    small = (*SMALL, "--tokenizer", "bytes")
    for task, file in data.items():
        columns = ("--text-column", "first", "--text-column", "second") if task == "pair" else ()
        lm, out = tmp_path / f"{task}-lm", tmp_path / task
        ulmkit("pretrain", file, "-o", lm, *small, "--steps", 2, "--task", task, *columns)
        ulmkit("train", lm, file, "-o", out, *CLASSIFY, "--steps", 2, "--task", task, *columns)
        told = ulmkit("evaluate", out, file, "--split", "valid", *columns)
        assert ("no baselines: none for a label per word" in told.out) == (task == "tokens")
        if task in ("number", "tokens"):
            told = ulmkit("evaluate", out, file, "--split", "valid", "--by", "text", status=2)
            assert f"by: only for classifiers of task single, multi, pair, got one of task {task!r}" in told.error
        lines = ulmkit("predict", out, file, *columns, "--json", tmp_path / "p.json", "--overwrite").out.splitlines()
        assert len(lines) == len(list(file.read_text().splitlines())) - (file.suffix == ".csv")
        label = json.loads(lines[0])["label"]
        kind = {"pair": str, "number": float, "multi": list, "tokens": list}[task]
        assert isinstance(label, kind)
        given = [json.loads(line)["label"] for line in lines]
        names = {
            "pair": lambda label: [label],
            "multi": lambda label: label,
            "tokens": lambda label: [name for _, name in label],
        }
        counted = _json(tmp_path / "p.json").get("labels")
        if task == "number":
            assert counted is None
        else:
            every = [name for label in given for name in names[task](label)]
            assert set(every) <= set(counted)
            assert counted == {name: every.count(name) for name in counted}


def test_a_number_within_a_range(tmp_path: Path) -> None:
    data = tiny.write_csv(tmp_path / "number.csv", [(f"n {n % 7}", n % 7) for n in range(40)])
    options = ("--steps", 2, "--task", "number", *TINY, "--value-range", -1, 10.5, "--number-loss", "huber")
    ulmkit("train", "none", data, "-o", tmp_path / "c", *CLASSIFY, *options)
    head = TextClassifier.load(tmp_path / "c", tiny.RUN).parts.model.head.config
    assert (head.value_range, head.number_loss) == ((-1.0, 10.5), "huber")
    lines = ulmkit("predict", tmp_path / "c", data).out.splitlines()
    assert all(-1.0 <= json.loads(line)["label"] <= 10.5 for line in lines)


def test_errors_of_several_labels_by_a_column(tmp_path: Path) -> None:
    rows = [("x y", "a|b", "one"), ("x", "a", "two"), ("y", "b", "two")] * 10
    data = tiny.write_csv(tmp_path / "multi.csv", rows, header=("text", "labels", "source"))
    ulmkit("train", "none", data, "-o", tmp_path / "c", *CLASSIFY, "--steps", 2, "--task", "multi", *TINY)
    ulmkit("evaluate", tmp_path / "c", data, "--split", "all", "--by", "source", "--json", tmp_path / "e.json")
    groups = _json(tmp_path / "e.json")["classifier"]["by"]["source"]
    assert {group["value"]: group["documents"] for group in groups} == {"one": 10, "two": 20}


def test_several_batches_of_a_step(path: Path, tmp_path: Path) -> None:
    for count in (1, 2):
        options = ("--steps", 2, "--accumulation", count, "--json", tmp_path / f"{count}.json")
        ulmkit("pretrain", path / "corpus", "-o", tmp_path / f"lm{count}", *SMALL, *options)
    one, two = (_json(tmp_path / f"{count}.json") for count in (1, 2))
    one_run, two_run = one["facts"]["run"], two["facts"]["run"]
    assert (one_run["steps"], two_run["steps"]) == (2, 2)
    assert two_run["epochs"] == pytest.approx(2 * one_run["epochs"], rel=0.02)


def test_the_best_weights(path: Path, tmp_path: Path) -> None:
    training = ("--rate", 0.1, "--schedule", "constant", "--steps", 20, "--no-baselines")
    for seed in range(4):
        for options in ((), ("--restore-best",)):
            out = tmp_path / f"best-{len(options)}-{seed}"
            output = ("-o", out, "--json", tmp_path / "c.json", "--overwrite")
            ulmkit("train", path / "tuned", path / "reviews", *output, *CLASSIFY, *training, *options, "--seed", seed)
            with open(out / "training_log.csv", newline="") as file:
                losses = [float(row["valid_loss"]) for row in csv.DictReader(file) if row["kind"] == "validation"]
            kept = min(losses) if options else losses[-1]
            assert _json(tmp_path / "c.json")["facts"]["validation"]["loss"] == pytest.approx(kept)
        if min(losses) < losses[-1]:
            return
    pytest.fail("the last weights were the best with every seed")


def test_networks_of_the_ladder_train_all_layers_unless_told_otherwise(path: Path, tmp_path: Path) -> None:
    for number, options in enumerate(((), ("--unfreezing", "last"))):
        out = tmp_path / f"c{number}"
        told = ulmkit("train", path / "tuned", path / "reviews", "-o", out, "--steps", 1, "--no-baselines", *options)
        phase = "last" if options else "full"
        assert re.search(rf"{phase}  step 1 ", told.err)
        recipe = TextClassifier.load(out).parts.facts.recipe
        assert (recipe["unfreezing"], recipe["peak_rate"]) == (phase, 5e-3)


def test_optimizer_and_decay(path: Path, tmp_path: Path) -> None:
    options = ("--steps", 2, "--optimizer", "sgd", "--decay", "l2", "--weight-decay", 0.5)
    ulmkit("finetune", path / "lm", path / "reviews", "-o", tmp_path / "tuned", *TUNE, *options)
    optimizer = LanguageModel.load(tmp_path / "tuned").parts.facts.recipe["optimizer"]
    assert (optimizer["name"], optimizer["decay"], optimizer["weight_decay"]) == ("sgd", "l2", 0.5)
    usual = LanguageModel.load(path / "tuned").parts.facts.recipe["optimizer"]
    assert (usual["name"], usual["decay"], usual["weight_decay"]) == ("adamw", "decoupled", 0.01)


def test_prepare_for_a_model_takes_its_tokenizer_and_vocabulary(path: Path, tmp_path: Path) -> None:
    ulmkit("prepare", path / "reviews", "-o", tmp_path / "corpus", "--model", path / "classifier", "--task", "single")
    corpus, classifier = EncodedCorpus.open(tmp_path / "corpus"), TextClassifier.load(path / "classifier", tiny.RUN)
    assert corpus.vocabulary == classifier.parts.vocabulary
    assert corpus.tokenizer.fingerprint == classifier.parts.tokenizer.fingerprint
    ulmkit("evaluate", path / "classifier", tmp_path / "corpus", "--no-baselines", "--json", tmp_path / "prepared.json")
    ulmkit("evaluate", path / "classifier", path / "reviews", "--no-baselines", "--json", tmp_path / "text.json")
    assert _json(tmp_path / "prepared.json")["classifier"] == _json(tmp_path / "text.json")["classifier"]


def test_prepare_for_a_classifier_takes_its_task_and_labels(path: Path, tmp_path: Path) -> None:
    one_class = [(text, label, "test") for text, label in tiny.reviews(20, 7000) if label == "pos"]
    data = tiny.write_csv(tmp_path / "test.csv", one_class, header=("text", "label", "split"))
    options = ("--model", path / "classifier", "--split-column", "split", "--split-by", "given")
    ulmkit("prepare", data, "-o", tmp_path / "corpus", *options)
    corpus = EncodedCorpus.open(tmp_path / "corpus")
    assert (corpus.task, corpus.label_names) == ("single", ("neg", "pos"))
    ulmkit("evaluate", path / "classifier", tmp_path / "corpus", "--json", tmp_path / "e.json")
    assert _json(tmp_path / "e.json")["classifier"]["documents"] == 10
    ulmkit("prepare", data, "-o", tmp_path / "unlabelled", "--model", path / "classifier", "--task", "none")
    assert EncodedCorpus.open(tmp_path / "unlabelled").task == "none"


def test_numbers_are_evaluated_on_a_test_split_alone(tmp_path: Path) -> None:
    data = tiny.write_csv(tmp_path / "number.csv", [(f"n {n % 7}", n % 7) for n in range(40)])
    ulmkit("train", "none", data, "-o", tmp_path / "c", *CLASSIFY, "--steps", 2, "--task", "number", *TINY)
    other = tiny.write_csv(tmp_path / "o.csv", [("n 1", 1, "test"), ("n 2", 2, "test")], ("text", "label", "split"))
    options = ("--split-column", "split", "--split-by", "given")
    ulmkit("evaluate", tmp_path / "c", other, *options, "--json", tmp_path / "e.json")
    assert _json(tmp_path / "e.json")["classifier"]["documents"] == 2
    ulmkit("prepare", other, "-o", tmp_path / "corpus", "--model", tmp_path / "c", *options)
    assert EncodedCorpus.open(tmp_path / "corpus").task == "number"


def test_pretrain_with_a_mixture_of_softmaxes(path: Path, tmp_path: Path) -> None:
    options = ("--softmax-experts", 3, "--latent-dropout", 0.2, "--last-hidden-size", 24)
    ulmkit("pretrain", path / "corpus", "-o", tmp_path / "lm", *SMALL, "--steps", 4, *options)
    config = LanguageModel.load(tmp_path / "lm").parts.model.config
    assert (config.softmax_experts, config.encoder.output_size) == (3, 24)
    assert config.latent_dropout == pytest.approx(0.02)  # --dropout 0.1 multiplies it
    command = ("evaluate", tmp_path / "lm", path / "reviews", "--cache-values", 30, 0.5, 0.1, "--split", "valid")
    told = ulmkit(*command, "--json", tmp_path / "e.json")
    perplexities = [_json(tmp_path / "e.json")["results"][name]["perplexity"] for name in ("plain", "cache")]
    assert perplexities[0] != perplexities[1]
    assert [table_row(told.out, name)[0] for name in ("plain", "cache")] == [f"{value:.4f}" for value in perplexities]
    words = ulmkit("generate", tmp_path / "lm", "--max-tokens", 3, "--seed", 1).out.split()
    assert 1 <= len(words) <= 3
    assert set(words) <= set(EncodedCorpus.open(path / "corpus").vocabulary.tokens)


def test_train_without_a_language_model_takes_sizes_and_tokenizer(path: Path, tmp_path: Path) -> None:
    options = ("--steps", 2, "--no-baselines", "--tokenizer", "bytes", "--embedding-size", 24, "--layers", 1)
    ulmkit("train", "none", path / "reviews", "-o", tmp_path / "classifier", *CLASSIFY, *options)
    parts = TextClassifier.load(tmp_path / "classifier", tiny.RUN).parts
    config = parts.model.encoder.config
    assert (config.embedding_size, config.layers) == (24, 1)
    assert parts.tokenizer.name == "bytes"


@pytest.mark.parametrize(
    ("options", "cell"),
    [
        (("--cell", "qrnn"), QRNN()),
        (("--cell", "mogrifier", "--mogrifier-rounds", 2, "--mogrifier-rank", 0), Mogrifier(rounds=2, rank=None)),
    ],
)
def test_other_cells_are_pretrained_evaluated_and_asked(path: Path, tmp_path: Path, options: tuple, cell: Cell) -> None:
    ulmkit("pretrain", path / "reviews", "-o", tmp_path / "lm", *SMALL, *options, "--steps", 2)
    assert LanguageModel.load(tmp_path / "lm").parts.model.encoder.config.cell == cell
    evaluation = ("--split", "valid", "--cache-values", 30, 0.5, 0.1, "--dynamic", "--statistics-batches", 2)
    told = ulmkit("evaluate", tmp_path / "lm", path / "reviews", *evaluation, "--json", tmp_path / "e.json")
    for name, result in _json(tmp_path / "e.json")["results"].items():
        assert table_row(told.out, name)[0] == f"{result['perplexity']:.4f}"
        assert 1 < result["perplexity"] < 100
    assert ulmkit("generate", tmp_path / "lm", "--prompt", "the film", "--max-tokens", 3).out.startswith("the film")


def test_the_usual_mogrifier(path: Path, tmp_path: Path) -> None:
    ulmkit("pretrain", path / "reviews", "-o", tmp_path / "lm", *SMALL, "--cell", "mogrifier", "--steps", 1)
    assert LanguageModel.load(tmp_path / "lm").parts.model.encoder.config.cell == Mogrifier(rounds=5, rank=84)
