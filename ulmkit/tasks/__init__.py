"""Tasks: what a classifier can predict. `TASKS` is the only place that knows them by name."""

from ulmkit.config import check_choice
from ulmkit.tasks.multi_label import MultiLabel
from ulmkit.tasks.number import Number
from ulmkit.tasks.pair import PairLabel
from ulmkit.tasks.single_label import SingleLabel
from ulmkit.tasks.task import HeadOptions, Outputs, Report, Task, TokenizedTexts, as_text
from ulmkit.tasks.token_labels import TokenLabels
from ulmkit.text import NO_LABELS, LabelKind

TASKS: dict[str, Task] = {
    task.name: task for task in (SingleLabel(), MultiLabel(), Number(), TokenLabels(), PairLabel())
}
"""The tasks by name."""


def find_task(name: str) -> Task:
    """Look up a task.

    Raises:
        ConfigError: If there is no task of that name; the message names the nearest one.
    """
    check_choice("task", name, TASKS)
    return TASKS[name]


def find_label_kind(name: str, option: str = "task") -> LabelKind:
    """Look up a task, or `NO_LABELS` by its name "none".

    Args:
        name: Name of the task.
        option: Name of the option that gives it, for the error.

    Raises:
        ConfigError: If there is neither of that name.
    """
    check_choice(option, name, (NO_LABELS.name, *TASKS))
    return TASKS.get(name, NO_LABELS)
