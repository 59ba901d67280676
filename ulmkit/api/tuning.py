"""Search for the settings of a training that starts from a language model."""

from __future__ import annotations

from collections.abc import Callable

from ulmkit import pipeline
from ulmkit.api.language_model import LanguageModel
from ulmkit.pipeline import (
    CLASSIFY,
    ClassifierRecipe,
    DataOptions,
    LanguageModelRecipe,
    RecipeSearch,
    RunOptions,
    SearchOptions,
)
from ulmkit.text import EncodedCorpus
from ulmkit.text.read.documents import Data


def find_recipe(
    data: Data | EncodedCorpus,
    language_model: LanguageModel,
    search: SearchOptions,
    *,
    recipe: ClassifierRecipe | LanguageModelRecipe = CLASSIFY,
    task: str = "single",
    data_options: DataOptions | None = None,
    run: RunOptions | None = None,
    labels: int | None = None,
    valid_documents: int | None = None,
    progress: Callable[[int], None] | None = None,
) -> RecipeSearch:
    """Search for a recipe, by trials that are compared on the validation split; needs Optuna.

    Args:
        data: Documents as a path, a hub name or a list, or an encoded corpus.
        language_model: The model to start from; of a pair, the forward member.
        search: Minutes, trials and their length, and the file to write.
        recipe: Recipe that the search starts from, and that has the settings that are not searched. A ClassifierRecipe
            is for `TextClassifier.train` with method "finetune", a LanguageModelRecipe for `LanguageModel.finetune`.
        task: Name of the task of a classifier, one of `ulmkit.tasks.TASKS`.
        data_options: How the documents are read, split and tokenized.
        run: Device, precision, seed and progress of the trainings.
        labels: Train classifiers on this many labelled documents; None takes all.
        valid_documents: Validate classifiers on this many documents; None takes all.
        progress: Called with the number of documents prepared so far.

    Returns:
        The best recipe and all trials.

    Raises:
        MissingPackageError: If Optuna is not installed.
        ConfigError: If another search is resumed, or an option is outside its range.
        DataError: If documents cannot be read, labels are missing, or they do not fit the task.
        FolderError: If something may not be replaced, or there is no search to resume.
        TrainingError: If no trial could be completed.
    """
    if language_model.backward is not None and run is not None and run.progress is not None:
        run.progress.message("language model: a pair, of which the search takes the forward member")
    if isinstance(recipe, LanguageModelRecipe):
        return pipeline.search_finetuning_recipe(
            data, language_model.parts, search, recipe=recipe, data_options=data_options, run=run, progress=progress
        )
    return pipeline.search_classifier_recipe(
        data,
        language_model.parts,
        search,
        task=task,
        recipe=recipe,
        data_options=data_options,
        run=run,
        labels=labels,
        valid_documents=valid_documents,
        progress=progress,
    )
