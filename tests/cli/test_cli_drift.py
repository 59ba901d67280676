"""The drift command: its exit status, its figures and its refusals."""

import json
from pathlib import Path

from support import tiny
from support.command import ulmkit

ALIKE = [(text, "2024-03-04") for text, _ in tiny.reviews(60, 5000)]
OTHER = [(f"{number} invoices were not paid in time by customer {number}", "2024-03-11") for number in range(30)]


def test_the_exit_status_tells_of_drift(models: Path, tmp_path: Path) -> None:
    alike = tiny.write_csv(tmp_path / "alike.csv", ALIKE, ("text", "date"))
    changed = tiny.write_csv(tmp_path / "changed.csv", [*ALIKE, *OTHER], ("text", "date"))
    for model in (models / "lm", models / "classifier"):
        told = ulmkit("drift", model, alike)
        assert "no drift (60 texts beside 12 held-out ones of the training)" in told.out
    told = ulmkit(
        *("drift", models / "lm", changed, "--time-column", "date", "--documents", 2, "--json", tmp_path / "d.json"),
        status=1,
    )
    assert "drift: 2024-W11 (90 texts" in told.out
    values = json.loads((tmp_path / "d.json").read_text())
    assert values["has_drifted"] is True
    assert [(each["name"], each["has_drifted"]) for each in values["periods"]] == [
        ("2024-W10", False),
        ("2024-W11", True),
    ]
    assert [int(each["name"]) > 60 for each in values["unlike"]] == [True, True]  # rows are counted from 1
    told = ulmkit("drift", models / "lm", changed, "--time-column", "date", "--period", "month", "--min-effect", 0.99)
    assert "2024-03" in told.out


def test_too_few_texts_are_no_sign_that_nothing_changed(models: Path, tmp_path: Path) -> None:
    few = tiny.write_csv(tmp_path / "few.csv", ALIKE[:19], ("text", "date"))
    told = ulmkit("drift", models / "classifier", few, status=2)
    assert "too few to compare" in told.out
    assert "not compared: expected at least 20 texts; give more (19 texts" in told.out
    assert "no drift" not in told.out


def test_refusals_say_what_to_do(models: Path, tmp_path: Path) -> None:
    data = tiny.write_csv(tmp_path / "t.csv", ALIKE, ("text", "date"))
    told = ulmkit("drift", models / "lm", data, "--period", "day", status=2)
    assert told.error.endswith("--period: has no effect without --time-column; add it or drop this")
    told = ulmkit("drift", models / "lm", data, "--time-column", "date", "--period", "year", status=2)
    assert "--period: got 'year'; there are: day, week, month" in told.error
