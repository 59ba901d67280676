"""Files that hold one object of JSON."""

import json
from pathlib import Path
from typing import Any

import pytest

from ulmkit.errors import DataError
from ulmkit.tasks import find_label_kind
from ulmkit.text import Document, read_documents

ROWS = [{"text": "one", "label": "a"}, {"text": "two", "label": "b"}]
DOCUMENTS = [Document("one", "a"), Document("two", "b")]


def _read(path: Path, value: Any, indent: int | None, **options: Any) -> list[Document]:
    path.write_text(json.dumps(value, indent=indent), encoding="utf-8")
    return list(read_documents(path, label_kind=find_label_kind("single"), **options))


@pytest.mark.parametrize("indent", [None, 2])
@pytest.mark.parametrize(
    ("value", "expected"),
    [
        ({"data": ROWS}, DOCUMENTS),
        ({"version": "1", "size": 2, "data": ROWS, "notes": []}, DOCUMENTS),
        ({"text": "one", "label": "a", "spans": [{"first": 0}]}, DOCUMENTS[:1]),
        ({"body": "one", "label": "a"}, None),
    ],
)
def test_one_object_is_a_row_or_holds_the_only_list_of_them(
    tmp_path: Path, value: dict[str, Any], expected: list[Document] | None, indent: int | None
) -> None:
    if expected is None:
        assert _read(tmp_path / "a.json", value, indent, text_column="body") == DOCUMENTS[:1]
    else:
        assert _read(tmp_path / "a.json", value, indent) == expected


@pytest.mark.parametrize("indent", [None, 2])
@pytest.mark.parametrize(
    ("value", "found"),
    [
        (
            {"train": ROWS, "test": ROWS},
            r"one object with several lists of them \('train', 'test'\); write each",
        ),
        (
            {"text": {"0": "one"}, "label": {"0": "a"}},
            "one object with the keys 'text', 'label'; write an object for each",
        ),
        (
            {"text": ["one"], "label": ["a"]},
            r"one object with the keys 'text', 'label'; .* pandas, with table.to_json\(FILE, orient='records'\)$",
        ),
        ({"data": [["one", "a"]]}, "one object with the keys 'data'; write an object for each document"),
        ({}, "an empty object; write an object for each"),
    ],
)
def test_one_object_without_rows_is_described(
    tmp_path: Path, value: dict[str, Any], found: str, indent: int | None
) -> None:
    with pytest.raises(
        DataError, match=f"a.json: expected an array of objects, or an object on each line, got {found}"
    ):
        _read(tmp_path / "a.json", value, indent)


def test_an_item_of_the_list_is_named_with_its_key(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="a.json, item 2 of 'data': has no column 'text'"):
        _read(tmp_path / "a.json", {"data": [ROWS[0], {"txt": "two"}]}, None)
