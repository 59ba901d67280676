"""The cache of corpora."""

import shutil
from pathlib import Path
from unittest import mock

import pytest
from support.corpora import WORDS, labelled

from ulmkit.errors import ConfigError
from ulmkit.tasks import TASKS
from ulmkit.text.corpus.cache import cached_corpus
from ulmkit.text.corpus.encoded_corpus import EncodedCorpus
from ulmkit.text.corpus.fingerprints import fingerprint_documents, joined_fingerprint, text_fingerprint
from ulmkit.text.corpus.splits import SplitPolicy
from ulmkit.text.read.document import Document
from ulmkit.text.tokens.plain_tokenizers import ByteTokenizer
from ulmkit.text.tokens.tokenizers import TokenizerSettings
from ulmkit.text.tokens.vocabulary import Vocabulary


def test_a_corpus_that_another_process_builds_meanwhile_is_used(tmp_path):
    documents, others = labelled(8), []

    def progress(done):
        if not others:
            others.append(cached_corpus(documents, tmp_path, tokenizer=WORDS, workers=1))

    found = cached_corpus(documents, tmp_path, tokenizer=WORDS, workers=1, progress=progress)
    assert found.folder == others[0].folder
    assert [path.name for path in tmp_path.iterdir()] == [found.folder.name]


def test_cache_is_used_and_renewed(tmp_path, monkeypatch):
    documents = labelled(8)
    first = cached_corpus(documents, tmp_path, tokenizer=WORDS, label_kind=TASKS["single"], workers=1)
    monkeypatch.setattr("ulmkit.text.corpus.cache.build_corpus", None)
    again = cached_corpus(documents, tmp_path, tokenizer=WORDS, label_kind=TASKS["single"], workers=2, progress=print)
    assert again.folder == first.folder
    monkeypatch.undo()
    others = [
        cached_corpus(labelled(9), tmp_path, tokenizer=WORDS, label_kind=TASKS["single"]),
        cached_corpus(documents, tmp_path, tokenizer=WORDS),
        cached_corpus(documents, tmp_path, tokenizer=WORDS, split_policy=SplitPolicy(kind="random")),
        cached_corpus(documents, tmp_path, tokenizer=ByteTokenizer()),
        cached_corpus(documents, tmp_path, tokenizer=WORDS, vocabulary=Vocabulary(["<unk>", "<eos>"])),
    ]
    assert len({first.folder, *(other.folder for other in others)}) == 6


def test_damaged_cache_is_built_anew(tmp_path):
    first = cached_corpus(labelled(8), tmp_path, tokenizer=WORDS)
    (first.folder / "tokens-00000.bin").write_bytes(b"")
    assert len(cached_corpus(labelled(8), tmp_path, tokenizer=WORDS).document(0)) == 3
    tokens = first.folder / "tokens-00000.bin"
    whole = tokens.read_bytes()
    tokens.write_bytes(b"\xff" * len(whole))
    cached_corpus(labelled(8), tmp_path, tokenizer=WORDS)
    assert tokens.read_bytes() == whole
    (first.folder / "corpus.json").write_text("")
    cached_corpus(labelled(8), tmp_path, tokenizer=WORDS)
    assert tokens.read_bytes() == whole


def test_cache_needs_documents_that_can_be_read_twice(tmp_path):
    with pytest.raises(ConfigError, match=r"expected a list or a DocumentSource, .*got an iterator"):
        cached_corpus(iter(labelled(2)), tmp_path, tokenizer=WORDS)


@pytest.mark.parametrize(
    "change",
    [
        *({"text": text} for text in ("y", "", ("x",), ("x", ""), ("", "x"), "x" * 10 + "y", "\ud800")),
        *({"label": "b"}, {"group": "g"}, {"time": 1.0}, {"split": "train"}, {"columns": {"a": "b"}}),
    ],
    ids=str,
)
def test_fingerprint_covers_all_of_a_document(change, monkeypatch):
    monkeypatch.setattr("ulmkit.text.corpus.fingerprints._PIECE_CHARACTERS", 4)
    known = {"text": "x", "label": "a"}
    assert fingerprint_documents([Document(**known)]) != fingerprint_documents([Document(**{**known, **change})])


def test_the_digest_of_texts_knows_their_fields_and_not_their_order(monkeypatch):
    monkeypatch.setattr("ulmkit.text.corpus.fingerprints._PIECE_CHARACTERS", 4)
    texts = ("x", "y", "", ("x",), ("x", ""), ("", "x"), ("xy", "z"), ("x", "yz"), "x" * 10, "x" * 10 + "y", "\ud800")
    digests = [text_fingerprint(Document(text)) for text in texts]
    assert len(set(digests)) == len(texts)
    assert text_fingerprint(Document("x", "label", group="g", split="test")) == digests[0]
    assert joined_fingerprint(digests) == joined_fingerprint(reversed(digests)) != joined_fingerprint(digests[1:])
    halves = (joined_fingerprint(digests[:4]), joined_fingerprint(digests[4:]))
    assert joined_fingerprint(int(half, 16) for half in halves) == joined_fingerprint(digests)
    assert joined_fingerprint([1 << 63, 1 << 63, 5]) == "0000000000000005"


def test_a_corpus_that_was_written_elsewhere_is_found_again(tmp_path: Path) -> None:
    cache, folder = tmp_path / "cache", tmp_path / "corpus"
    documents = labelled(40)
    settings = TokenizerSettings(kind="sentencepiece", pieces=60)
    cached_corpus(documents, cache, tokenizer=settings, folder=folder, workers=1)
    with mock.patch.object(TokenizerSettings, "make", side_effect=AssertionError("was trained again")):
        found = cached_corpus(documents, cache, tokenizer=settings, workers=1)
        copy = cached_corpus(documents, cache, tokenizer=settings, folder=tmp_path / "copy", workers=1)
    assert found.facts == copy.facts == EncodedCorpus.open(folder).facts
    shutil.rmtree(folder)  # the link in the cache leads nowhere: the corpus is built there
    rebuilt = cached_corpus(documents, cache, tokenizer=settings, workers=1)
    assert not rebuilt.folder.is_symlink()
    assert rebuilt.facts.fingerprint == copy.facts.fingerprint
