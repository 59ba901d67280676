"""A ladder that is stopped inside one of its networks goes on there, and ends with the very same weights."""

from collections.abc import Iterator
from pathlib import Path

import pytest
from support import tiny
from support.command import ulmkit
from support.interrupts import InterruptInNetwork

from ulmkit.cli import training_commands
from ulmkit.pipeline import automatic, ladder
from ulmkit.pipeline.rungs import linear_rungs

STEPS = 4
NETWORKS = 6
"""A network for each of five folds, and one of all labels."""


class Ladder:
    """Trains classifiers by a short ladder, of which the blend of all rungs is kept.

    Args:
        folder: Folder for a language model, data and classifiers.
        patch: Replaces the display, the linear rungs and the choice of a rung.
    """

    def __init__(self, folder: Path, patch: pytest.MonkeyPatch) -> None:
        self.folder = folder
        self._patch = patch
        patch.setattr(ladder, "_cheapest_good", lambda losses, kinds: len(losses) - 1)
        patch.setattr(automatic, "linear_rungs", lambda *given: linear_rungs(*given)[:1])
        tiny.language_model().save(folder / "lm")
        tiny.write_csv(folder / "reviews.csv", tiny.reviews(30))

    def train(self, name: str, display: InterruptInNetwork, *more: str, status: int = 0) -> str:
        """Run `ulmkit train`. Returns: what it wrote to standard error."""
        self._patch.setattr(training_commands, "make_progress", lambda: display)
        command = ("train", self.folder / "lm", self.folder / "reviews.csv", "--out", self.folder / name)
        options = ("--steps", STEPS, "--batch-size", 16, "--precision", "fp32", "--device", "cpu", "--threads", 1)
        return ulmkit(*command, *options, "--validations", 1, "--no-baselines", *more, status=status).err

    def weights(self, name: str) -> dict[str, bytes]:
        """Files of a classifier that hold weights."""
        contents = tiny.contents(self.folder / name)
        return {path: content for path, content in contents.items() if path.endswith((".safetensors", "words.json"))}


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Ladder]:
    with pytest.MonkeyPatch.context() as patch:
        trained = Ladder(tmp_path_factory.mktemp("ladder"), patch)
        display = InterruptInNetwork()
        trained.train("whole", display)
        assert len(display.steps) == NETWORKS * STEPS
        assert "members/fine-tuned-forward/model.safetensors" in trained.weights("whole")
        yield trained


@pytest.mark.parametrize(("network", "step"), [(2, 2), (NETWORKS, 1)])
def test_a_stopped_network_goes_on_at_its_step(network: int, step: int, trained: Ladder) -> None:
    name = f"halves-{network}"
    stopped, resumed = InterruptInNetwork(network, step), InterruptInNetwork()
    said = trained.train(name, stopped, status=143)
    assert stopped.steps[-1] == (network, step)
    checkpoint = trained.folder / f"{name}.training" / f"forward-{network}" / f"checkpoint-{step:08d}"
    assert said.endswith(
        f"training stopped at step {step}: the newest checkpoint is {checkpoint}; run again with --resume to continue\n"
    )
    trained.train(name, resumed, "--resume")
    assert resumed.steps[0] == (1, step + 1)
    assert len(stopped.steps) + len(resumed.steps) == NETWORKS * STEPS
    assert trained.weights(name) == trained.weights("whole")
    assert not (trained.folder / f"{name}.training").exists()


def test_a_network_without_a_checkpoint_begins_anew(trained: Ladder) -> None:
    """The second signal stops a training at once, before its first checkpoint; those before it are kept."""
    stopped, resumed = InterruptInNetwork(3, 1, times=2), InterruptInNetwork()
    said = trained.train("at-once", stopped, status=143)
    checkpoint = trained.folder / "at-once.training" / "forward-2" / f"checkpoint-{STEPS:08d}"
    assert said.endswith(
        f"training stopped: the newest checkpoint is {checkpoint}; run again with --resume to continue\n"
    )
    trained.train("at-once", resumed, "--resume")
    assert len(resumed.steps) == (NETWORKS - 2) * STEPS
    assert trained.weights("at-once") == trained.weights("whole")
