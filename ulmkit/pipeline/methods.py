"""Methods of training a classifier, and which of them climb the ladder."""

from ulmkit.config import check_choice
from ulmkit.tasks import find_task

LADDERS = ("auto", "features", "linear")
"""Methods that climb the ladder: all of it, up to the features of language models, or its linear rungs alone."""

METHODS = ("auto", "finetune", "features", "linear")


def climbs_ladder(method: str, task: str) -> bool:
    """Tell whether a classifier of a task is trained by the ladder; otherwise it is fine-tuned.

    Raises:
        ConfigError: If the method is unknown.
    """
    check_choice("method", method, METHODS)
    return method in LADDERS and find_task(task).has_ladder
