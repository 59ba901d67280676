"""Training curves: `--plot` and `--tensorboard`, and what they never replace."""

from pathlib import Path

import pytest
from matplotlib.image import imread
from support import tiny
from support.command import CLASSIFY, TUNE, ulmkit

FINETUNE = (*TUNE, "--steps", 4, "--validations", 1)
TRAIN = (*CLASSIFY, "--steps", 4, "--validations", 1, "--no-baselines")


@pytest.fixture(scope="module")
def reviews(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tiny.write_csv(tmp_path_factory.mktemp("data") / "reviews.csv", tiny.reviews(60))


@pytest.mark.parametrize("stage", ["finetune", "train"])
def test_curves_are_drawn_and_logged(stage: str, models: Path, reviews: Path, tmp_path: Path) -> None:
    command = (stage, models / "lm", reviews, *(FINETUNE if stage == "finetune" else TRAIN))
    curves = ("--plot", tmp_path / "curves.png", "--tensorboard", tmp_path / "events")
    ulmkit(*command, "--out", tmp_path / "out", *curves)
    assert imread(tmp_path / "curves.png").std() > 0.05
    (events,) = (tmp_path / "events").iterdir()
    assert b"validation/valid_loss" in events.read_bytes()
    events.write_bytes(b"of an earlier training")
    told = ulmkit(*command, "--out", tmp_path / "other", *curves[2:], status=2)
    assert "already exists" in told.error
    ulmkit(*command, "--out", tmp_path / "out", *curves, "--overwrite")
    (events,) = (tmp_path / "events").iterdir()  # of the same name, if that was within a second
    assert b"validation/valid_loss" in events.read_bytes()


def test_rungs_of_a_ladder_are_drawn(reviews: Path, tmp_path: Path) -> None:
    options = ("--method", "linear", "--tokenizer", "whitespace", "--no-baselines", "--valid-documents", 4)
    ulmkit("train", "none", reviews, *options, "--out", tmp_path / "out", "--plot", tmp_path / "rungs.svg")
    drawn = (tmp_path / "rungs.svg").read_text()
    assert "NB-SVM" in drawn
    assert "rungs of the ladder" in drawn


@pytest.mark.parametrize(
    ("option", "path", "message"),
    [
        ("--plot", "curves.gif", "--plot: got '.gif'; "),
        ("--plot", "there.png", "there.png: already exists"),
        ("--tensorboard", "notes", "notes.txt: is not a TensorBoard event file; choose another folder"),
        ("--tensorboard", "out/events", "out/events', which is in --out; choose another name"),
        ("--tensorboard", "there.png", "there.png: is not a TensorBoard event file"),
    ],
)
def test_what_is_there_is_kept(option: str, path: str, message: str, reviews: Path, tmp_path: Path) -> None:
    (tmp_path / "notes").mkdir()
    (tmp_path / "notes" / "notes.txt").write_text("keep me")
    (tmp_path / "there.png").write_text("keep me")
    before = tiny.contents(tmp_path)
    told = ulmkit("finetune", "nosuch", reviews, "--out", tmp_path / "out", option, tmp_path / path, status=2)
    assert message in told.error
    assert tiny.contents(tmp_path) == before
