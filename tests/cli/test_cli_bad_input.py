"""Bad input: one clear line on standard error, exit status 2, and nothing half-written."""

import errno
import json
import os
import shutil
import socket
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from support import tiny
from support.command import CLASSIFY, SMALL, TUNE, ulmkit

import ulmkit.quickstart.run as ulmkit_quickstart
from ulmkit import LanguageModel
from ulmkit.files import fingerprint
from ulmkit.text.corpus.encoded_corpus import EncodedCorpus
from ulmkit.text.corpus.shards import ShardWriter

PRETRAIN = (*SMALL, "--steps", 2)


@pytest.fixture
def here(tmp_path: Path, models: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The current folder, with reviews.csv, lm/ and classifier/, and a cache beside it."""
    (tmp_path / "here").mkdir()
    tiny.write_csv(tmp_path / "here" / "reviews.csv", tiny.reviews(40))
    for name in ("lm", "classifier"):
        shutil.copytree(models / name, tmp_path / "here" / name)
    monkeypatch.chdir(tmp_path / "here")
    monkeypatch.setenv("ULMKIT_CACHE", str(tmp_path / "cache"))
    return tmp_path / "here"


def refused(here: Path, *arguments: Any) -> str:
    """The line that a command is refused with; it leaves the folder as it was and nothing half-made in the cache."""
    before, folders = tiny.contents(here), sorted(here.rglob("*"))
    line = ulmkit(*arguments, status=2).error
    assert tiny.contents(here) == before
    assert sorted(here.rglob("*")) == folders
    cache = here.parent / "cache"
    assert not [path for path in cache.rglob("*") if path.name.startswith(".")]
    return line


def _csv(here: Path, rows: list, header: tuple = ("text", "label")) -> str:
    return tiny.write_csv(here / "data.csv", rows, header).name


def _bytes(here: Path, data: bytes, name: str = "data.txt") -> str:
    (here / name).write_bytes(data)
    return name


def _text_folder(here: Path, *names: str) -> str:
    (here / "d").mkdir()
    for name in names:
        _bytes(here, b"the film", f"d/{name}")
    return "d"


FILES: list[tuple[str, Callable[[Path], str], str]] = [
    ("empty text", lambda here: _bytes(here, b""), "data.txt: the file is empty"),
    ("empty csv", lambda here: _bytes(here, b"", "data.csv"), "data.csv: the file is empty"),
    ("header alone", lambda here: _csv(here, []), "data.csv: expected documents, got none"),
    ("white space", lambda here: _bytes(here, b" \n\t\n "), "data.txt: expected text, got 1 documents without any"),
    ("no text", lambda here: _csv(here, [("", "a"), (" ", "b")]), "expected text, got 2 documents without any"),
    ("binary", lambda here: _bytes(here, b"\x89PNG\r\n\x1a\n\0\0\0\rIHDR"), "got a binary file (zero byte at offset 8"),
    ("binary csv", lambda here: _bytes(here, b"text,label\na\0b,c\n", "data.csv"), "got a binary file (zero byte at"),
    ("latin-1", lambda here: _bytes(here, "ein\nschön".encode("latin-1")), "got byte 0xf6 at offset 7 (line 2)"),
    ("utf-16", lambda here: _bytes(here, "schön".encode("utf-16")), "expected UTF-8 text, got UTF-16; convert it"),
    ("kind", lambda here: _bytes(here, b"%PDF", "data.pdf"), "got a document; save it as .txt"),
    ("not parquet", lambda here: _bytes(here, b"abc", "data.parquet"), "data.parquet: not a readable parquet file"),
    ("bad json", lambda here: _bytes(here, b'{"text": "a"\n', "data.jsonl"), "data.jsonl, line 1: not valid JSON"),
    ("not there", lambda here: "data.txt", "data.txt: no such file or folder"),
    ("one document", lambda here: _bytes(here, b"one alone"), "expected at least 2 documents to divide, got 1; give"),
    ("two text columns", lambda here: _csv(here, [("a", "b", 1)], ("title", "body", "label")),
     "expected a column 'text' or one text column alone, got the columns title, body, label"),
    ("names of splits", lambda here: _text_folder(here, "ptb.train.txt", "ptb.tset.txt"),
     "d: expected every data file to name its split, as ptb.train.txt does, got ptb.tset.txt; rename or move it"),
    ("two splits", lambda here: _text_folder(here, "train_test.txt"), "train_test.txt: expected the name of one split"),
    ("empty folder", lambda here: str((here / "d").mkdir() or "d"), "d: expected data files"),
]  # fmt: skip


@pytest.mark.parametrize(("make", "message"), [file[1:] for file in FILES], ids=[file[0] for file in FILES])
@pytest.mark.parametrize("command", ["prepare", "pretrain"])
def test_files(command: str, make: Callable[[Path], str], message: str, here: Path) -> None:
    data = make(here)
    options = PRETRAIN if command == "pretrain" else ("--tokenizer", "whitespace")
    assert message in refused(here, command, data, "--out", "out", *options)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (("--text-column", "txt"), "reviews.csv: has no column 'txt'; did you mean 'text'? there are: text, label"),
        (("--label-column", "lable"), "has no column 'lable'; did you mean 'label'? there are: text, label"),
        (("--split-by", "group", "--group-column", "author"), "has no column 'author'; there are: text, label"),
        (("--split-by", "time", "--time-column", "day"), "has no column 'day'; there are: text, label"),
        (
            ("--group-column", "label"),
            "--split-by: expected a choice beside --group-column; say 'group', or leave",
        ),
        (("--split-column", "part"), "has no column 'part'; there are: text, label"),
        (("--column", "source"), "has no column 'source'; there are: text, label"),
        (("--split-by", "time"), "split by time: expected a time for every document, got 40 of 40 without; name the"),
        (("--split-by", "group"), "split by group: expected a group for every document"),
        (("--split-by", "given"), "validation: expected labelled documents in a split 'valid', got none"),
    ],
)
def test_columns(options: tuple, message: str, here: Path) -> None:
    assert message in refused(here, "train", "lm", "reviews.csv", "--out", "out", *CLASSIFY, "--steps", 2, *options)


def test_a_label_column_of_another_name(here: Path) -> None:
    data = _csv(here, [("the film", "x"), ("a story", "y")] * 4, ("text", "stars"))
    line = refused(here, "train", "lm", data, "--out", "out")
    assert "data.csv: has no column 'label'; there are: text, stars" in line


@pytest.mark.parametrize(
    ("rows", "message"),
    [
        ([("the film", "x", ""), ("a story", "x", "")] * 5, "at least two classes in the train split, got one: 'x'"),
        ([("the film", "x", "train"), ("a story", "y", "train"), ("some", "x", "valid"), ("some", "z", "test")],
         "expected every class of the test split to be in the train split, got 'z' in test alone"),
        ([("the film", "", "train"), ("a story", "", "train"), ("some", "x", "valid")],
         "expected labelled documents in the train split, got none (classes by split: valid 1)"),
    ],
)  # fmt: skip
def test_labels(rows: list, message: str, here: Path) -> None:
    data = _csv(here, rows, ("text", "label", "part"))
    line = refused(here, "train", "lm", data, "--split-column", "part", "--out", "out", *CLASSIFY, "--steps", 2)
    assert message in line


def test_labels_that_a_model_does_not_know(here: Path) -> None:
    data = _csv(here, [("the film", "great"), ("a story", "neg")])
    line = refused(here, "evaluate", "classifier", data, "--split", "all", "--split-by", "given")
    assert "labels: got 'great', which the model does not know; there are: neg, pos" in line


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("--steps", 3, "--epochs", 1), "one of --epochs, --steps, --minutes, got --epochs and --steps"),
        (("--steps", 0), "--steps: expected a whole number of at least 1, got 0"),
        (("--minutes", -1), "--minutes: expected a number above 0, got -1.0"),
        (("--steps", "many"), "Invalid value for '--steps'"),
        (("--modle", 3), "No such option"),
        (("--device", "gpu"), "device: expected auto, cpu, cuda or cuda:N, got 'gpu'"),
        (("--device", "cuda:77"), "device: got 'cuda:77', but torch finds"),
        (("--precision", "fp16"), "precision: got 'fp16'; did you mean 'bf16'"),
        (("--backend", "tourch"), "backend: got 'tourch'; did you mean 'torch'"),
        (("--threads", 0), "threads: expected auto or a whole number from 1 to "),
        (("--threads", 40_000), "processor, got 40000"),
        (("--threads", "many"), "processor, got 'many'"),
        (("--seed", -1), "seed: expected a whole number of at least 0, got -1"),
        (("--tokenizer", "spacey"), "tokenizer: got 'spacey'; did you mean 'spacy'"),
        (("--schedule", "onecycle"), "schedule: got 'onecycle'; did you mean 'one_cycle'"),
        (("--split-by", "auther"), "--split-by: got 'auther'"),
        (("--valid-fraction", 1), "--valid-fraction: expected 0 < fraction < 1, got 1.0"),
        (("--workers", 0), "workers: expected a whole number of at least 1, got 0"),
        (("--batch-size", 100_000), "take a smaller --batch-size or more text"),
        (("--hidden-size", 0), "--hidden-size: expected a whole number of at least 1, got 0"),
        (("--cell", "gru"), "cell: got 'gru'; there are: lstm, qrnn, mogrifier"),
        (("--mogrifier-rank", -1), "--mogrifier-rank: expected a whole number of at least 0, got -1"),
        (("--cell", "qrnn", "--backend", "fused"), "expected auto, stepwise or reference for the cell 'qrnn', got 'fu"),
        (("--softmax-experts", 0), "--softmax-experts: expected a whole number of at least 1, got 0"),
        (("--last-hidden-size", 48), "--last-hidden-size: expected --embedding-size, 32, to which the softmax is tied"),
        (("--latent-dropout", 0.2), "--latent-dropout: expected 0 with one softmax, got 0.2; set --softmax-experts"),
        (("--dropout", -1), "--dropout: expected a number of at least 0, got -1.0"),
        (("--accumulation", 0), "accumulation: expected a whole number of at least 1, got 0"),
        (("--optimizer", "adam"), "optimizer: got 'adam'; did you mean 'adamw'"),
        (("--decay", "l1"), "decay: got 'l1'; there are: decoupled, l2"),
        (("--clip", 0), "clip: expected a number above 0, got 0.0"),
        (("--tokenizer", "spacy", "--language", "english"), "language: expected a code that spaCy has, got 'english'"),
        (("--tokenizer", "sentencepiece", "--pieces", 5), "expected more than the 11 reserved tokens, got 5"),
        (("--tokenizer", "spacy", "--max-vocab", 9), "--max-vocab: expected more than the 9 special tokens, got 9"),
        (("--task", "singel"), "--task: got 'singel'; did you mean 'single'"),
    ],
)  # fmt: skip
def test_options(arguments: tuple, message: str, here: Path) -> None:
    budget = () if {"--steps", "--minutes"} & set(arguments) else ("--steps", 2)
    assert message in refused(here, "pretrain", "reviews.csv", "--out", "out", *SMALL, *budget, *arguments)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("pretrain", "reviews.csv"), "Missing option '--out'"),
        (("pretrian",), "No such command 'pretrian'"),
        (("train", "lm", "reviews.csv", "--out", "o", "--task", "none"), "task: got 'none'; there are: single, multi"),
        (("train", "lm", "reviews.csv", "--out", "o", "--labels", 400), "labels: expected 1 to 36, the labelled"),
        (("train", "lm", "reviews.csv", "--out", "o", "--class-weights", "even"), "--class-weights: got 'even'"),
        (("train", "lm", "reviews.csv", "--out", "o", "--hidden-size", 8), "--hidden-size: the language model has its"),
        (("prepare", "reviews.csv", "-o", "o", "--model", "lm", "--min-freq", 1), "--min-freq: the model has its own"),
        (("prepare", "reviews.csv", "-o", "o", "--model", "lm", "--language", "en"), "--language: the model has its o"),
        (("prepare", "reviews.csv", "-o", "o", "--model", "lm", "--tokenizer", "spacy"), "--tokenizer: the model has"),
        (("train", "lm", "reviews.csv", "-o", "o", "--tokenizer", "spacy"), "--tokenizer: the language model has its"),
        (("train", "lm", "reviews.csv", "--out", "o", "--patience", 0), "patience: expected a whole number of"),
        (("predict", "classifier"), "expected either DATA or --text"),
        (("predict", "classifier", "reviews.csv", "--text", "the film"), "expected either DATA or --text"),
        (("predict", "classifier", "reviews.csv", "-o", "p.xlsx"), "ends in .jsonl or .csv, got 'p.xlsx'"),
        (("predict", "classifier", "--text", "a", "--column", "id"), "--column: has no effect with --text"),
        (("score", "lm", "--text", "a", "--split", "test"), "--split: has no effect with --text; drop it"),
        (("predict", "classifier", "reviews.csv", "--column", "label"), "--column: got 'label', which is the name of"),
        (("score", "lm", "reviews.csv", "--column", "perplexity"), "--column: got 'perplexity', which is the name of"),
        (("predict", "classifier", "reviews.csv", "--column", "id"), "has no column 'id'"),
        (("score", "lm", "reviews.csv", "--task", "pairs"), "task: got 'pairs'; did you mean 'pair'"),
        (("predict", "classifier", "--text", "a", "--threshold", 2), "threshold: expected 0 <= p < 1, got 2.0"),
        (("predict", "classifier", "reviews.csv", "--split", "tset"), "has no split tset; there are: none"),
        (("score", "lm", "reviews.csv", "-o", "p.txt"), "--out: expected a file name that ends in .jsonl"),
        (("generate", "lm", "--max-tokens", 0), "--max-tokens: expected a whole number of at least 1, got 0"),
        (("lr-find", "lm", "reviews.csv", "--batch-size", 4, "--steps", 3), "steps: expected a whole number of at"),
        (("evaluate", "lm", "reviews.csv", "--split", "test"), "split: got 'test', but reviews.csv names no splits"),
        (("evaluate", "lm", "reviews.csv", "--split", "test", "--split-by", "random"),
         "split: got 'test'; there are: train, valid"),
        (("evaluate", "classifier", "reviews.csv", "--by", "author"), "has no column 'author'"),
        (("evaluate", "lm", "reviews.csv", "--batch-size", 3), "--batch-size: has no effect without --published"),
        (("evaluate", "lm", "reviews.csv", "--by", "label"),
         "--by: only for classifiers of task single, multi, pair, got a language model; drop --by"),
        (("info", "--device", "cuda:77"), "device: got 'cuda:77', but torch finds"),
        (("predict", "lm", "--text", "a"), "lm: expected a classifier, got a language model; train"),
        (("score", "classifier", "--text", "a"), "expected a folder of kind 'language_model', got 'classifier'"),
        (("finetune", "classifier", "reviews.csv", "-o", "o"), "expected a folder of kind 'language_model'"),
        (("evaluate", "classifier", "reviews.csv", "--published"), "expected a folder of kind 'language_model'"),
        (("predict", "reviews.csv", "--text", "a"), "reviews.csv: expected the folder of a model, got a file"),
        (("predict", "nosuch", "--text", "a"), "nosuch: no such folder, and not the name of a model on the hub"),
        (("predict", ".", "--text", "a"), "expected config.json in a model folder, found none; is"),
    ],
)  # fmt: skip
def test_commands(arguments: tuple, message: str, here: Path) -> None:
    assert message in refused(here, *arguments)


def test_a_picture_of_an_unknown_kind_is_refused_before_any_work(here: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def work(*_: object, **__: object) -> None:
        raise AssertionError("work was done")

    monkeypatch.setattr(LanguageModel, "load", work)
    line = refused(here, "lr-find", "lm", "reviews.csv", "--plot", "x.gif")
    assert "plot: got '.gif'; there are: .png, .svg, .pdf" in line


@pytest.mark.parametrize(
    ("option", "rule"),
    [
        ("--held-out", "whole number of at least 1"),
        ("--labels", "whole number of at least 1"),
        ("--minutes", "number above 0"),
    ],
)
def test_a_quickstart_of_nothing_is_refused_before_any_work(
    option: str, rule: str, here: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def work(*_: object, **__: object) -> None:
        raise AssertionError("work was done")

    monkeypatch.setattr(ulmkit_quickstart, "harvest_docstrings", work)
    assert f"{option}: expected a {rule}, got 0" in refused(here, "quickstart", option, 0)


def _truncate(path: Path) -> None:
    path.write_bytes(path.read_bytes()[:-100])


def _flip(path: Path) -> None:
    data = bytearray(path.read_bytes())
    data[-1] ^= 1
    path.write_bytes(bytes(data))


def _edit(path: Path, change: Callable[[dict], object]) -> None:
    content = json.loads(path.read_text())
    change(content)
    path.write_text(json.dumps(content))


def _edit_config(path: Path, change: Callable[[dict], object]) -> None:
    """Change config.json as another program might write it: with a fingerprint that fits."""
    _edit(path, lambda content: (content.pop("fingerprint"), change(content)))
    _edit(path, lambda content: content.update(fingerprint=fingerprint(content)))


DAMAGE: list[tuple[str, Callable[[Path], object], str]] = [
    ("truncated weights", lambda lm: _truncate(lm / "model.safetensors"), "it is truncated or was altered"),
    ("altered weights", lambda lm: _flip(lm / "model.safetensors"), "its SHA-256 is not the recorded"),
    ("no weights", lambda lm: (lm / "model.safetensors").unlink(), "model.safetensors: no such file, but the folder"),
    ("altered vocabulary", lambda lm: _edit(lm / "vocabulary.json", lambda c: c["tokens"].reverse()),
     "vocabulary.json: "),
    ("no tokenizer", lambda lm: shutil.rmtree(lm / "tokenizer"), "tokenizer.json: no such file"),
    ("truncated config", lambda lm: _truncate(lm / "config.json"), "config.json: not valid JSON"),
    ("altered config", lambda lm: _edit(lm / "config.json", lambda c: c["encoder"].update(hidden_size=48)),
     "config.json: its fingerprint is wrong, it was altered"),
    ("unknown key", lambda lm: _edit_config(lm / "config.json", lambda c: c["encoder"].update(hiden_size=3)),
     "encoder: unknown key 'hiden_size'; did you mean 'hidden_size'"),
    ("newer format", lambda lm: _edit_config(lm / "config.json", lambda c: c.update(format_version=99)),
     "has format version 99, this ulmkit reads up to 2; upgrade with"),
    ("other sizes", lambda lm: _edit_config(lm / "config.json", lambda c: c["encoder"].update(hidden_size=48)),
     "model.safetensors: shapes do not match the model that config.json describes"),
]  # fmt: skip


@pytest.mark.parametrize(("damage", "message"), [case[1:] for case in DAMAGE], ids=[case[0] for case in DAMAGE])
def test_damaged_model_folders(damage: Callable[[Path], object], message: str, here: Path) -> None:
    damage(here / "lm")
    assert message in refused(here, "finetune", "lm", "reviews.csv", "--out", "out", *TUNE)
    assert message in refused(here, "score", "lm", "--text", "the film")


@pytest.mark.parametrize(
    ("damage", "message"),
    [
        (
            lambda corpus: _truncate(corpus / "tokens-00000.bin"),
            "it is truncated or was altered: prepare the corpus",
        ),
        (
            lambda corpus: (corpus / "vocabulary.json").unlink(),
            "no such file, but the folder lists it; prepare the corpus again",
        ),
        (lambda corpus: _edit(corpus / "corpus.json", lambda c: c.pop("files")), "missing key 'files'; it was altered"),
        (lambda corpus: _truncate(corpus / "corpus.json"), "corpus.json: not valid JSON"),
    ],
)
def test_damaged_corpora(damage: Callable[[Path], object], message: str, here: Path) -> None:
    ulmkit("prepare", "reviews.csv", "--out", "corpus", "--tokenizer", "whitespace")
    damage(here / "corpus")
    assert message in refused(here, "pretrain", "corpus", "--out", "out", *PRETRAIN)


def test_a_corpus_of_another_tokenizer_or_vocabulary(here: Path) -> None:
    ulmkit("prepare", "reviews.csv", "--out", "bytes", "--tokenizer", "bytes", "--task", "single")
    assert "was prepared with another tokenizer (bytes) than the model's" in refused(
        here, "finetune", "lm", "bytes", "--out", "out", *TUNE
    )
    assert "its vocabulary (265 tokens) is not the model's" in refused(here, "train", "lm", "bytes", "--out", "out")
    assert "expected a corpus prepared with task 'multi', got 'single'" in refused(
        here, "train", "lm", "bytes", "--out", "out", "--task", "multi"
    )
    assert "expected text to prepare, got a prepared corpus" in refused(here, "prepare", "bytes", "--out", "out")
    assert "--tokenizer: got 'spacy', but bytes was prepared with 'bytes'; leave --tokenizer out" in refused(
        here, "pretrain", "bytes", "--out", "out", *PRETRAIN, "--tokenizer", "spacy"
    )
    assert "--split-by: got 'group', but bytes was prepared with 'random'; leave --split-by out" in refused(
        here, "train", "lm", "bytes", "--out", "out", "--split-by", "group"
    )
    assert "--batch-size: has no effect without --published" in refused(
        here, "evaluate", "classifier", "reviews.csv", "--batch-size", "1"
    )


def test_a_folder_that_is_there(here: Path) -> None:
    line = refused(here, "prepare", "reviews.csv", "--out", "lm", "--tokenizer", "sentencepiece")
    assert "lm: already exists; choose another name, or replace it with --overwrite" in line
    assert "reviews.csv: cannot be written" in refused(here, "prepare", "reviews.csv", "--out", "reviews.csv/x")
    told = ulmkit("info", "--json", "lm", status=2)
    assert told.err == "ulmkit: lm: cannot be written (Is a directory); choose another place\n"


def _full(*_: object, **__: object) -> None:
    raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))


def test_a_full_disk_while_preparing(here: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ShardWriter, "write", _full)
    line = refused(here, "prepare", "reviews.csv", "--out", "out", "--tokenizer", "whitespace")
    assert "out: the disk is full; free some space and run again" in line
    assert "the disk is full" in refused(here, "pretrain", "reviews.csv", "--out", "out", *PRETRAIN)


def test_a_full_disk_while_training_and_while_predicting(here: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    ulmkit("prepare", "reviews.csv", "--out", "corpus", "--tokenizer", "whitespace")
    with monkeypatch.context() as patched:
        patched.setattr(os, "fsync", _full)
        assert "the disk is full" in refused(here, "pretrain", "corpus", "--out", "out", *PRETRAIN)
        assert "p.csv: the disk is full" in refused(here, "predict", "classifier", "--text", "the film", "-o", "p.csv")


def test_a_full_disk_at_the_end_loses_no_training(here: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from ulmkit.hub import model_folder

    with monkeypatch.context() as patched:
        patched.setattr(model_folder, "save_tensors", _full)
        told = ulmkit("pretrain", "reviews.csv", "--out", "out", *PRETRAIN, status=2)
    assert "ulmkit: out: the disk is full; free some space and run again" in told.err
    assert not (here / "out").exists()
    assert [path.name for path in here.glob("*.training")] == ["out.training"]
    ulmkit("pretrain", "reviews.csv", "--out", "out", *PRETRAIN, "--resume")
    assert (here / "out" / "model.safetensors").is_file()


def test_names_of_the_hub_without_a_network(here: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def unreachable(*_: object, **__: object) -> None:
        raise socket.gaierror(-3, "Temporary failure in name resolution")

    for name in ("http_proxy", "https_proxy", "HTTP_PROXY", "HTTPS_PROXY", "all_proxy", "ALL_PROXY", "HF_HUB_OFFLINE"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("HF_HUB_CACHE", str(here.parent / "hub"))
    monkeypatch.setattr(socket, "getaddrinfo", unreachable)
    line = refused(here, "pretrain", "owner/texts", "--out", "out")
    assert "owner/texts: no such file or folder, and the hub cannot be reached" in line
    line = refused(here, "predict", "owner/model", "--text", "a")
    assert "owner/model: no such folder, and the hub gives no model of this name" in line


def test_system_errors_take_one_line(here: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def unreadable(path: Path, *_: object) -> bytes:
        raise PermissionError(errno.EACCES, os.strerror(errno.EACCES), str(path))

    (here / "data.txt").write_text("some text")
    with monkeypatch.context() as patched:
        patched.setattr("ulmkit.text.read.text_files._open", unreadable)
        told = ulmkit("prepare", "data.txt", "--out", "out", "--tokenizer", "bytes", status=2)
    assert "data.txt" in told.error
    assert "Permission denied" in told.error
    assert not (here / "out").exists()


def test_documents_of_no_tokens_go_all_the_way(here: Path) -> None:
    rows = [("", "pos"), ("", "neg"), *tiny.reviews(30)]
    data = _csv(here, rows)
    ulmkit("finetune", "lm", data, "--out", "tuned", *TUNE, "--steps", 2)
    ulmkit("train", "tuned", data, "--out", "c", *CLASSIFY, "--steps", 2)
    lines = [json.loads(line) for line in ulmkit("predict", "c", data).out.splitlines()]
    assert len(lines) == 32
    assert lines[0]["probabilities"] == lines[1]["probabilities"]
    scores = [json.loads(line) for line in ulmkit("score", "tuned", data).out.splitlines()]
    assert (scores[0]["tokens"], scores[0]["perplexity"]) == (0, None)
    assert scores[2]["tokens"] > 0


def test_half_characters_go_all_the_way(here: Path) -> None:
    rows = [rf'{{"text": "the film \ud83d of {at}", "label": "\udc00{at % 2}"}}' for at in range(20)]
    data = _bytes(here, "\n".join(rows).encode(), "data.jsonl")
    ulmkit("prepare", data, "--out", "corpus", "--tokenizer", "whitespace", "--task", "single", "--min-freq", 1)
    corpus = EncodedCorpus.open(here / "corpus")
    assert corpus.label_names == ("\ufffd0", "\ufffd1")
    assert "\ufffd" in corpus.vocabulary.tokens


@pytest.mark.slow
def test_a_document_of_a_million_tokens_goes_all_the_way(here: Path) -> None:
    text = " ".join(text for text, _ in tiny.reviews(2000))
    rows = [(" ".join([text] * 50), "pos"), *tiny.reviews(30)]
    assert len(rows[0][0].split()) > 1_000_000
    data = _csv(here, rows)
    ulmkit("prepare", data, "--out", "corpus", "--tokenizer", "whitespace")
    (row, *_) = [
        json.loads(line) for line in ulmkit("predict", "classifier", data, "--precision", "fp32").out.splitlines()
    ]
    assert row["label"] in ("pos", "neg")
    (score, *_) = [json.loads(line) for line in ulmkit("score", "lm", data).out.splitlines()]
    assert score["tokens"] > 1_000_000
    ulmkit("train", "lm", data, "--out", "c", *CLASSIFY, "--steps", 2, "--no-baselines")
