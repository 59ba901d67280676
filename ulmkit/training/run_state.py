"""Counters of a training run that a checkpoint saves."""

from collections.abc import Mapping
from dataclasses import dataclass, field, fields
from typing import Any


@dataclass
class RunState:
    """Progress of a run.

    Attributes:
        phase: Number of the phase; the number of phases once all are over.
        step: Optimizer steps of the run.
        phase_step: Optimizer steps of the phase.
        tokens: Tokens trained on.
        run: Progress of the run, 0 to 1.
        phase_start: Progress of the run when the phase began.
        validations: Number of validations due so far.
        checkpoints: Number of checkpoints due so far.
        rates: Learning rate of each layer group at the last step.
        momentum: Momentum at the last step.
        validated_step: Step of the last validation.
        stopped_because: Reason that the last phase ended, "budget" or "patience".
        finished: Whether the run is complete.
    """

    phase: int = 0
    step: int = 0
    phase_step: int = 0
    tokens: int = 0
    run: float = 0.0
    phase_start: float = 0.0
    validations: int = 0
    checkpoints: int = 0
    rates: list[float] = field(default_factory=list)
    momentum: float | None = None
    validated_step: int | None = None
    stopped_because: str = ""
    finished: bool = False

    @classmethod
    def from_json(cls, saved: Mapping[str, Any]) -> "RunState":
        """Restore what `asdict` returned; raise KeyError if a part is missing."""
        return cls(**{part.name: saved[part.name] for part in fields(cls)})
