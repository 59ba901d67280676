"""Where a training run is."""

from collections.abc import Mapping
from dataclasses import dataclass, field, fields
from typing import Any


@dataclass
class RunState:
    """Where a run is.

    phase: its number, the number of phases once all are over. step, phase_step: optimizer steps of the run and phase.
    run, phase_start: progress of the run, 0 to 1, now and when the phase began. validations, checkpoints: how often
    they were due so far. rates, momentum: of the last step. validated_step: step of the last validation.
    stopped_because: of the last phase that ended.
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
        """What `asdict` gave. Raises: KeyError if a part is missing."""
        return cls(**{part.name: saved[part.name] for part in fields(cls)})
