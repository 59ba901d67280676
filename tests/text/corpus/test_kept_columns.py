import json
import tracemalloc
from pathlib import Path

import pytest

from ulmkit.text.corpus import kept_columns
from ulmkit.text.corpus.kept_columns import KeptColumns


def values(columns: KeptColumns, path: Path, groups: list[str]) -> dict[str, list[str | None]]:
    """Write the names and look the values of every document up again."""
    table = columns.table()
    columns.write_names(path, groups)
    names = json.loads(path.read_text(encoding="utf-8"))
    assert names["group"] == groups
    return {
        name: [kept[code] if code >= 0 else None for code in table[f"column_{number}"]]
        for number, (name, kept) in enumerate(names["columns"].items())
    }


def test_values_beyond_those_that_are_remembered_come_back(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(kept_columns, "_REMEMBERED_VALUES", 2)
    monkeypatch.setattr(kept_columns, "_BUFFERED_VALUES", 3)
    languages = ["en", "de", "en", 'f"r', "de", 'f"r', "", "\udc80", "ü"]
    columns = KeptColumns(tmp_path)
    for number, language in enumerate(languages):
        columns.add({"lang": language} | ({"late": "x"} if number in (4, 6) else {}))
    late = ["x" if number in (4, 6) else None for number in range(9)]
    assert values(columns, tmp_path / "names.json", ["ä", "b"]) == {"lang": languages, "late": late}
    assert [path.name for path in tmp_path.iterdir()] == ["names.json"]


def test_columns_without_documents_and_documents_without_columns(tmp_path: Path) -> None:
    columns = KeptColumns(tmp_path)
    columns.add({})
    assert values(columns, tmp_path / "names.json", []) == {}


def test_memory_does_not_grow_with_distinct_values(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(kept_columns, "_REMEMBERED_VALUES", 100)
    tracemalloc.start()
    columns = KeptColumns(tmp_path)
    for number in range(20_000):
        columns.add({"title": f"{number:>200}"})
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert peak < 3_000_000
