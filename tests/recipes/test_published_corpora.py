"""Published corpora: recognized by their counts, downloaded, and the error where a download fails."""

import io
import sys
from pathlib import Path
from types import SimpleNamespace

import published_corpora
import pytest
from published_corpora import PTB, SPLITS, WIKITEXT2, download_corpus, open_corpus
from wikitext2 import TASK
from word_level import run_word_level

from ulmkit.errors import ConfigError, DataError
from ulmkit.files import read_json
from ulmkit.pipeline import DataOptions, prepare


@pytest.fixture
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("ULMKIT_CACHE", str(tmp_path / "cache"))
    return tmp_path / "cache"


def test_another_text_is_recognized_by_its_counts(text: Path):
    corpus = open_corpus(str(text), PTB)
    tokens = {name: split.tokens for name, split in corpus.facts.splits.items()}
    assert PTB.differences(corpus) == [
        f"{tokens['train']:,} train tokens for 929,589",
        f"{tokens['valid']:,} valid tokens for 73,760",
        f"{tokens['test']:,} test tokens for 82,430",
        f"{len(corpus.vocabulary)} words in the vocabulary for 10,000",
    ]
    same = published_corpora.PublishedCorpus(
        name="x", tokens=tokens, vocab_size=len(corpus.vocabulary), download=PTB.download
    )
    assert same.differences(corpus) == []


def test_a_prepared_corpus_is_opened_as_it_is(text: Path, tmp_path: Path):
    prepared = prepare(str(text), DataOptions(tokenizer="whitespace", workers=1), folder=tmp_path / "prepared")
    assert open_corpus(str(tmp_path / "prepared"), PTB).facts == prepared.facts
    prepare(str(text), DataOptions(tokenizer="bytes", workers=1), folder=tmp_path / "bytes")
    with pytest.raises(ConfigError, match="tokenizer: got 'whitespace', but .* was prepared with 'bytes'"):
        open_corpus(str(tmp_path / "bytes"), PTB)


def test_penn_treebank_is_downloaded_once(cache: Path, monkeypatch: pytest.MonkeyPatch):
    asked = []

    def answer(url: str, timeout: float) -> io.BytesIO:
        asked.append(url.rsplit("/", 1)[1])
        return io.BytesIO(b" a b <unk> \n c a \n")

    monkeypatch.setattr(published_corpora.urllib.request, "urlopen", answer)
    for _ in range(2):
        corpus = open_corpus("download", PTB)
    assert asked == ["ptb.train.txt", "ptb.valid.txt", "ptb.test.txt"]
    assert {name: split.tokens for name, split in corpus.facts.splits.items()} == dict.fromkeys(SPLITS, 7)


def test_wikitext_keeps_its_empty_lines(cache: Path, monkeypatch: pytest.MonkeyPatch):
    rows = {"text": ["", " = A = \n", "", " a b \n"]}
    named = []

    def load(*name: str) -> dict:
        named.append(name)
        return dict.fromkeys(("train", "validation", "test"), rows)

    monkeypatch.setitem(sys.modules, "datasets", SimpleNamespace(load_dataset=load))
    folder = download_corpus(WIKITEXT2)
    assert named == [("Salesforce/wikitext", "wikitext-2-v1")]
    assert {path.name: path.read_text() for path in folder.iterdir()} == dict.fromkeys(
        ("train.txt", "valid.txt", "test.txt"), "\n = A = \n\n a b \n"
    )
    assert open_corpus("download", WIKITEXT2).facts.splits["train"].tokens == 9


def test_a_download_that_fails_says_what_to_do(cache: Path, monkeypatch: pytest.MonkeyPatch):
    def fail(*_: object, **__: object) -> None:
        raise OSError("no route to host")

    monkeypatch.setattr(published_corpora.urllib.request, "urlopen", fail)
    with pytest.raises(
        DataError, match=r"PTB: could not be downloaded \(no route to host\); get its three files elsewhere"
    ):
        download_corpus(PTB)
    assert not cache.exists()


def test_the_recipe_of_wikitext2_runs(text: Path, tmp_path: Path):
    places = ["--data", str(text), "--out", str(tmp_path / "run"), "--json", str(tmp_path / "results.json")]
    options = ["--quick", "--epochs", "1", "--evaluate", "plain", "--recipe", "paper", "--device", "cpu"]
    run_word_level(TASK, None, [*places, *options])
    rows = {row["case"]: row for row in read_json(tmp_path / "results.json")["rows"]}
    assert rows["valid, paper, tuning stage, plain"]["peer"] == 68.6
    assert rows["valid, paper, main stage, original's arithmetic"]["peer"] == 69.1
