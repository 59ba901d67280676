"""The model that a classifier is trained from: a language model, or a classifier that goes on."""

import os

from ulmkit.api.common import place_parts
from ulmkit.api.language_model import LanguageModel
from ulmkit.api.text_classifier import TextClassifier
from ulmkit.errors import FolderError
from ulmkit.hub import ClassifierParts, EnsembleParts, LanguageModelParts, load_model, resolve_model
from ulmkit.pipeline import RunOptions


def load_start(name: str | os.PathLike[str], run: RunOptions | None = None) -> LanguageModel | TextClassifier:
    """Load what `TextClassifier.train` starts from.

    Args:
        name: Folder, name of a shipped model or hub name of a language model or a classifier, or of a pair of either.
        run: Device, precision and backend to run with; see `LanguageModel.load`.

    Raises:
        FolderError: If the folder holds neither, or is incomplete, truncated or altered.
    """
    loaded = load_model(resolve_model(name))
    if isinstance(loaded, LanguageModelParts):
        return LanguageModel(place_parts(loaded, run))
    if isinstance(loaded, ClassifierParts):
        return TextClassifier(place_parts(loaded, run))
    if isinstance(loaded, EnsembleParts):
        return TextClassifier(loaded)
    forward, backward = loaded.forward, loaded.backward
    if isinstance(forward, LanguageModelParts) and isinstance(backward, LanguageModelParts):
        return LanguageModel(place_parts(forward, run), place_parts(backward, run))
    if isinstance(forward, ClassifierParts) and isinstance(backward, ClassifierParts):
        return TextClassifier(place_parts(forward, run), place_parts(backward, run))
    raise FolderError(f"{name}: expected a pair of language models or of classifiers, got one of each")
