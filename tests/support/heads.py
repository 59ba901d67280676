"""Configs of heads by the names of their tasks."""

from typing import Any

from ulmkit.model.heads import HeadConfig
from ulmkit.tasks import TASKS


def head_config(task: str, classes: int | None = None, **options: Any) -> HeadConfig:
    """The config of a task's head, by default with three classes (one number) and six hidden units."""
    default = 1 if task == "number" else 3
    return TASKS[task].head_type(**{"classes": classes or default, "hidden_size": 6, **options})
