"""Methods of training a classifier, and which of them climb the ladder."""

from ulmkit.config import check_choice

LADDERS = ("auto", "features", "linear")
"""Methods that climb the ladder: all of it, up to the features of language models, or its linear rungs alone."""

METHODS = ("auto", "finetune", "features", "linear")

LADDER_TASK = "single"
"""The only task that the ladder is made for; others are fine-tuned."""


def climbs_ladder(method: str, task: str) -> bool:
    """Tell whether a classifier of a task is trained by the ladder; otherwise it is fine-tuned.

    Raises:
        ConfigError: If the method is unknown.
    """
    check_choice("method", method, METHODS)
    return method in LADDERS and task == LADDER_TASK
