"""Commands under torchrun: one run, one summary, one line for a mistake."""

from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file
from support import tiny
from support.command import SMALL, ulmkit
from support.torchrun import torchrun

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def reviews(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tiny.write_csv(tmp_path_factory.mktemp("data") / "reviews.csv", tiny.reviews())


def test_two_processes_make_the_model_that_one_makes(reviews: Path, tmp_path: Path) -> None:
    command = ("pretrain", reviews, *SMALL, "--dropout", 0, "--steps", 6, "--optimizer", "sgd", "--device", "cpu")
    alone = ulmkit(*command, "--out", tmp_path / "one")
    told = torchrun("-m", "ulmkit", *command, "--out", tmp_path / "two", "--json", tmp_path / "two.json")
    names = [[line.split("  ")[0] for line in text.splitlines()] for text in (alone.out, told.stdout)]
    assert names[0] == names[1]
    assert told.stderr.count("step 6: validation") == 1
    assert sorted(path.name for path in tmp_path.iterdir()) == ["one", "two", "two.json"]
    assert "2 processes" in (tmp_path / "two" / "README.md").read_text()
    one, two = (load_file(tmp_path / name / "model.safetensors") for name in ("one", "two"))
    assert one.keys() == two.keys()
    for name, tensor in one.items():
        torch.testing.assert_close(two[name], tensor, rtol=1e-4, atol=2e-5)


@pytest.mark.parametrize(
    ("options", "line"),
    [
        (("--batch-size", 7), "ulmkit: --batch-size: expected a multiple of 2, the number of processes that share it"),
        (("--text-column", "body"), "ulmkit: "),
        (("--stepps", 3), "ulmkit: No such option: --stepps"),
    ],
)
def test_a_mistake_is_reported_once(options: tuple[object, ...], line: str, reviews: Path, tmp_path: Path) -> None:
    told = torchrun("-m", "ulmkit", "pretrain", reviews, *SMALL, *options, "--out", tmp_path / "lm", check=False)
    assert told.returncode != 0
    said = [line for line in told.stderr.splitlines() if line.startswith("ulmkit: ")]
    assert len(said) == 1
    assert said[0].startswith(line)
    assert told.stderr.count("Traceback") == 1  # torchrun's own
    assert list(tmp_path.iterdir()) == []
