"""Methods of training a classifier, and which of them climb the ladder."""

from ulmkit.config import check_choice
from ulmkit.errors import ConfigError
from ulmkit.tasks import find_task

LADDERS = ("auto", "features", "linear")
"""Methods that climb the ladder: all of it, up to the features of language models, or its linear rungs alone."""

METHODS = ("auto", "finetune", "features", "linear")


def climbs_ladder(method: str, task: str) -> bool:
    """Tell whether a classifier of a task is trained by the ladder; otherwise it is fine-tuned.

    Raises:
        ConfigError: If the method is unknown, or it trains no network and the task has nothing else.
    """
    check_choice("method", method, METHODS)
    has_ladder = find_task(task).has_ladder
    if not has_ladder and method not in ("auto", "finetune"):
        raise ConfigError(f"method: task {task!r} is fine-tuned, got {method!r}; leave it out, or give 'finetune'")
    return method in LADDERS and has_ladder
