import tracemalloc

import numpy as np
import pytest

from ulmkit.tasks import find_label_kind
from ulmkit.text.corpus.chunks import EncodedChunk
from ulmkit.text.corpus.records import Records
from ulmkit.text.corpus.split_columns import Codes, Integers
from ulmkit.text.corpus.splits import SplitPolicy, Splits
from ulmkit.text.read.document import Document


def encoded(lengths: list[int]) -> EncodedChunk:
    column = np.array(lengths, dtype=np.int64)
    ids = np.zeros(0, dtype=np.uint8)
    return EncodedChunk([], ids, column, column, column * 5, np.full(len(lengths), -1), [])


def make_records(folder, documents: int) -> Records:
    records = Records(find_label_kind("single"), None, folder)
    for start in range(0, documents, 1000):
        records.add([Document("one two", "ab"[row % 2]) for row in range(start, start + 1000)], encoded([2] * 1000))
    return records


def test_a_document_takes_a_few_bytes(tmp_path) -> None:
    documents = 20_000
    make_records(tmp_path, 1000).split_columns.assign(SplitPolicy(kind="random"))  # imports and caches
    tracemalloc.start()
    try:
        records = make_records(tmp_path, documents)
        splits = records.split_columns.assign(SplitPolicy(kind="random"))
        table = records.table(splits, ["train", "valid"])
        kept, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert len(table["length"]) == documents
    assert kept < 50 * documents
    assert peak < 100 * documents


def test_the_table_is_written_as_it_was_made(tmp_path) -> None:
    records = Records(find_label_kind("single"), None, tmp_path)
    documents = [Document("a", "x"), Document("b"), Document("c", "y", group="g", time=3.0, split="test")]
    records.add(documents, encoded([2, 3 << 31, 4]))
    splits = records.split_columns.assign(SplitPolicy())
    records.save_table(tmp_path, records.table(splits, ["train", "test"]), records.label_rows(["x", "y"]))
    table = {path.stem: np.load(path) for path in tmp_path.glob("*.npy")}
    assert {name: column.tolist() for name, column in table.items() if name != "time"} == {
        "length": [2, 3 << 31, 4],
        "words": [2, 3 << 31, 4],
        "characters": [10, 15 << 31, 20],
        "boundary": [-1, -1, -1],
        "offset": [0, 2, (3 << 31) + 2],
        "split": [0, 0, 1],
        "group": [-1, -1, 0],
        "labelled": [True, False, True],
        "label": [0, -1, 1],
    }
    assert np.isnan(table["time"][:2]).all()
    assert table["time"][2] == 3
    assert {table[name].dtype for name in ("length", "words", "characters", "boundary", "offset")} == {np.dtype("i8")}


@pytest.mark.parametrize("values", [[], [None], [None, None, "a", None, "b", "a"], ["a", None]])
def test_codes(values) -> None:
    codes = Codes()
    for value in values:
        codes.add(value)
    assert len(codes) == len(values)
    assert [None if code < 0 else codes.values[code] for code in codes.array().tolist()] == values


def test_integers_grow_where_they_must() -> None:
    column = Integers()
    column.extend(np.array([1, -1]))
    assert column.array().dtype == np.int32
    column = Integers()
    for value in (-1, 1 << 40, 2):
        column.extend(np.array([value]))
    assert column.array().tolist() == [-1, 1 << 40, 2]


def test_splits() -> None:
    splits = Splits(["test", "train", "valid"], np.array([1, 0, 1, -1]))
    assert splits.occurring == {"test", "train"}
    assert splits.where(("train", "other")).tolist() == [True, False, True, False]
    assert splits.ordered(["train", "test"]).codes.tolist() == [0, 1, 0, -1]
