"""Corpora built by several processes."""

import functools
import gc
import os
import subprocess
import sys

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from support.corpora import WORDS, build, folder_bytes, labelled

from ulmkit.errors import DataError
from ulmkit.text import workers
from ulmkit.text.corpus.chunks import encode_chunk
from ulmkit.text.corpus.splits import SplitPolicy
from ulmkit.text.read.document import Document
from ulmkit.text.workers import Worker, WorkerPool

ENCODE = functools.partial(encode_chunk, WORDS)


@pytest.fixture
def small_chunks(monkeypatch):
    monkeypatch.setattr("ulmkit.text.workers.CHUNK_CHARACTERS", 300)
    monkeypatch.setattr("ulmkit.text.workers.SMALL_CHARACTERS", 0)


def test_folder_does_not_depend_on_workers(tmp_path, small_chunks):
    documents = [*labelled(120), Document("w " * 400, "a"), Document("", "b")]
    options = {"task": "single", "split_policy": SplitPolicy(kind="random", valid_fraction=0.2)}
    build(documents, tmp_path / "one", workers=1, **options)
    build(documents, tmp_path / "three", workers=3, **options)
    assert folder_bytes(tmp_path / "one") == folder_bytes(tmp_path / "three")


def test_little_text_starts_no_worker(tmp_path, monkeypatch):
    monkeypatch.setattr("ulmkit.text.workers.WorkerPool", None)
    assert len(build(labelled(10), tmp_path / "c", workers=4)) == 10


def test_workers_do_not_import_torch():
    program = "import ulmkit.text, ulmkit.text.workers, sys; sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", program], check=False).returncode == 0


def test_pool_keeps_the_order_and_reads_little_ahead():
    taken = []

    def chunks():
        for at in range(12):
            taken.append(at)
            yield [f"t{at} " * (100 if at % 3 == 0 else 1)]

    with WorkerPool(ENCODE, 2) as pool:
        for at, encoded in enumerate(pool.map(chunks())):
            assert encoded.types == [f"t{at}", "<eos>"]
            assert len(taken) <= at + 6
    assert all(worker.process.returncode is not None for worker in pool._workers)


def test_error_in_a_worker_reaches_the_caller_and_leaves_nothing(tmp_path, small_chunks):
    documents = [*labelled(50), Document(("two", "fields"))]
    with pytest.raises(DataError, match=r"expected one field for the whitespace tokenizer, got 2"):
        build(documents, tmp_path / "c", workers=2)
    assert list(tmp_path.iterdir()) == []


def test_workers_end_when_a_document_does_not_fit(tmp_path, small_chunks, monkeypatch):
    started = []

    class Counted(Worker):
        def __init__(self, function):
            super().__init__(function)
            started.append(self)

    monkeypatch.setattr(workers, "Worker", Counted)
    with pytest.raises(DataError, match=r"document 50: expected one class name"):
        build([*labelled(50), Document("x", 1.5), *labelled(500)], tmp_path / "c", workers=2, task="single")
    assert [worker.process.returncode is None for worker in started] == [False, False]


def test_unforeseen_error_in_a_worker():
    with WorkerPool(ENCODE, 1) as pool, pytest.raises(DataError, match=r"worker process: TypeError: .*'int'"):
        list(pool.map([[5]]))


def test_death_of_a_worker():
    worker = Worker(ENCODE)
    worker.process.kill()
    worker.process.wait()
    with pytest.raises(DataError, match=r"worker process: stopped with status -9; if memory ran out"):
        worker.call(["a"])
    worker.stop()


def test_available_processors():
    assert 1 <= workers.available_processors() <= (os.cpu_count() or 1)


def test_chunk_numbers_its_own_tokens():
    encoded = encode_chunk(WORDS, ["b a b", ""])
    assert encoded.types == ["b", "a", "<eos>"]
    assert encoded.ids.tolist() == [0, 1, 0, 2]
    assert encoded.ids.dtype == np.uint8
    assert encoded.lengths.tolist() == [4, 0]


@settings(max_examples=60, deadline=None)
@given(texts=st.lists(st.text("ab \n\u3000.", max_size=40), max_size=4), piece=st.integers(1, 12))
def test_long_texts_are_tokenized_by_pieces(texts, piece):
    whole = encode_chunk(WORDS, texts)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("ulmkit.text.corpus.chunks.PIECE_CHARACTERS", piece)
        cut = encode_chunk(WORDS, texts)
    assert [whole.types[at] for at in whole.ids] == [cut.types[at] for at in cut.ids]
    assert whole.lengths.tolist() == cut.lengths.tolist()
    assert cut.words.tolist() == whole.words.tolist() == [len(text.split()) for text in texts]


def test_chunk_is_freed_at_once():
    gc.collect()
    gc.disable()
    try:
        encode_chunk(WORDS, ["b a b", ""])
        assert gc.collect() == 0  # no cycles, which would pile up: a worker makes too few objects to be collected
    finally:
        gc.enable()
