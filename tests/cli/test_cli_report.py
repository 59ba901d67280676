"""`ulmkit report`: a page about a classifier."""

import json
from pathlib import Path

from support import tiny
from support.command import ulmkit


def test_report_writes_a_page(models: Path, tmp_path: Path) -> None:
    data = tiny.write_csv(tmp_path / "reviews.csv", tiny.reviews())
    page = tmp_path / "report.html"
    options = ("--out", page, "--draws", 1, "--documents", 1, "--json", tmp_path / "report.json")
    told = ulmkit("report", models / "classifier", data, *options)
    values = json.loads((tmp_path / "report.json").read_text(encoding="utf-8"))
    assert values["verdict"]["sentence"] in told.out
    assert "accuracy of TF-IDF + logistic regression" in told.out
    assert "Report on classifier" in page.read_text(encoding="utf-8")
    assert values["linear"][0]["name"] == "TF-IDF + logistic regression"


def test_what_cannot_be_reported_on_is_refused(models: Path, tmp_path: Path) -> None:
    data = tiny.write_csv(tmp_path / "reviews.csv", tiny.reviews(20))
    told = ulmkit("report", models / "classifier", data, "--out", tmp_path / "report.pdf", status=2)
    assert "--out: expected a file name that ends in .html" in told.error
    told = ulmkit("report", models / "lm", data, "--out", tmp_path / "report.html", status=2)
    assert "expected a classifier, got a language model" in told.error
