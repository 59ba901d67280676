"""Settings, corpus, machine and cost behind the measurements of a run."""

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any

from recipe_command import machine

from ulmkit.hub import RunFacts as StageFacts


@dataclass(frozen=True, kw_only=True)
class RunFacts:
    """Settings and corpus behind the measurements of a run.

    Attributes:
        corpus: Name of the published corpus.
        recipe: Name of the recipe.
        is_full_length: True if the recipe ran for all its epochs.
        is_published: True if the recipe is a published one, not ours.
        budget: Length of the training, in words.
        seed: Random seed.
        machine: Processor and number of threads.
        device: Device that trained.
        precision: Precision of the training.
        minutes: Minutes of training by stage.
        epochs: Epochs by stage.
        averaged_steps: Steps that the weights are the mean of, for the stages trained by NT-ASGD or ASGD.
        differences: Differences from the published corpus.
        command: Command that made the run.
    """

    corpus: str
    recipe: str
    is_full_length: bool
    is_published: bool
    budget: str
    seed: int
    machine: str
    device: str
    precision: str
    minutes: Mapping[str, float]
    epochs: Mapping[str, float]
    averaged_steps: Mapping[str, int]
    differences: tuple[str, ...]
    command: str

    @property
    def is_reproduction(self) -> bool:
        """True if the measurements may be compared with the published ones."""
        return self.is_published and self.is_full_length and not self.differences

    def caveats(self) -> str:
        """Say in brackets why measurements may not be compared with the published ones; empty if they may."""
        reasons = [] if self.is_full_length else ["reduced"]
        if self.differences:
            reasons.append("other text")
        return f" ({', '.join(reasons)})" if reasons else ""

    def training_minutes(self, stage: str) -> float:
        """Minutes of training to the end of a stage, the stages before it included."""
        names = list(self.minutes)
        return sum(self.minutes[name] for name in names[: names.index(stage) + 1])

    def label(self) -> str:
        """Budget, seed, machine and time in one line."""
        minutes = sum(self.minutes.values())
        epochs = " + ".join(f"{count:g}" for count in self.epochs.values())
        place = self.machine if self.device == "cpu" else f"{self.device}; {self.machine}"
        never = "".join(f", {name} stage never averaged" for name, steps in self.averaged_steps.items() if not steps)
        return (
            f"{self.budget} ({epochs} epochs read), seed {self.seed}, {place}, {self.precision}, "
            f"{minutes:.1f} minutes of training{never}"
        )

    def to_dict(self) -> dict[str, Any]:
        """All facts as a JSON object."""
        return {**asdict(self), "is_reproduction": self.is_reproduction}


def stage_costs(stages: Mapping[str, StageFacts]) -> dict[str, Any]:
    """Machine, time and epochs of the stages of a run.

    Args:
        stages: Facts of each stage's training by name; all ran on one machine.

    Returns:
        The fields of `RunFacts` that the stages tell.
    """
    place = next(iter(stages.values())).machine
    assert place is not None
    return {
        "machine": f"{machine()['processor']}, {place.processors} processors, threads: {place.threads}",
        "device": place.device,
        "precision": place.precision,
        "minutes": {name: stage.minutes for name, stage in stages.items()},
        "epochs": {name: stage.epochs for name, stage in stages.items() if stage.epochs is not None},
        "averaged_steps": {
            name: stage.averaged_steps for name, stage in stages.items() if stage.averaged_steps is not None
        },
    }
