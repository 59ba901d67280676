"""Methods of training a classifier, and which of them climb the ladder."""

from typing import Any

from ulmkit.config import check_choice
from ulmkit.errors import ConfigError
from ulmkit.pipeline.recipes import ALL_LAYERS, CLASSIFY, ClassifierRecipe
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


def trains_networks(method: str, task: str, *, has_language_model: bool) -> bool:
    """Tell whether training a classifier of a task trains networks, whose length a budget limits.

    Raises:
        ConfigError: See `climbs_ladder`.
    """
    return not climbs_ladder(method, task) or (method == "auto" and has_language_model)


def usual_recipe(method: str, task: str, *, has_language_model: bool) -> ClassifierRecipe:
    """The recipe where none is given: `ALL_LAYERS` if the ladder trains networks, and else `CLASSIFY`.

    Raises:
        ConfigError: See `climbs_ladder`.
    """
    has_networks = trains_networks(method, task, has_language_model=has_language_model)
    return ALL_LAYERS if has_networks and climbs_ladder(method, task) else CLASSIFY


def check_recipe(recipe: ClassifierRecipe, method: str, task: str, *, has_language_model: bool) -> None:
    """Check that each setting of a recipe has an effect on the training of a classifier.

    Raises:
        ConfigError: If no networks are trained and a setting other than the class weights is not the default, or the
            task's head has no such option. See also `climbs_ladder`.
    """
    if trains_networks(method, task, has_language_model=has_language_model):
        find_task(task).check_options(recipe)
    elif (name := setting_of_networks(recipe)) is not None:
        raise ConfigError(f"{name}: has no effect: {why_no_networks(method)}")


def setting_of_networks(recipe: ClassifierRecipe) -> str | None:
    """Name the first setting that is not the default and has an effect on networks alone; None if there is none."""
    usual = _settings(CLASSIFY)
    changed = (name for name, value in _settings(recipe).items() if value != usual[name])
    return next((name for name in changed if name != "class_weights"), None)


def _settings(recipe: ClassifierRecipe) -> dict[str, Any]:
    """Return the settings of a recipe by name, the constants of its optimizer among them."""
    of_optimizer = dict(vars(recipe.optimizer))
    return {**vars(recipe), "optimizer": of_optimizer.pop("name"), **of_optimizer}


def why_no_networks(method: str, instead: str = "take method='finetune'") -> str:
    """Say in half a sentence why a training that `trains_networks` denies trains none, and what would.

    Args:
        method: Method of the training.
        instead: What to do to train networks if the method would, but there is no language model.
    """
    if method == "auto":
        return f"without a language model no networks are trained; drop it, or {instead}"
    return f"method={method!r} trains no networks; drop it, or take another method"
