"""The model that a classifier is trained from: a language model, or a classifier that goes on."""

import os

from ulmkit.api.language_model import LanguageModel
from ulmkit.api.text_classifier import TextClassifier
from ulmkit.errors import FolderError
from ulmkit.hub import ClassifierParts, EnsembleParts, LanguageModelParts, load_model, resolve_model


def load_start(name: str | os.PathLike[str]) -> LanguageModel | TextClassifier:
    """Load what `TextClassifier.train` starts from, on the CPU.

    Args:
        name: Folder, name of a shipped model or hub name of a language model or a classifier, or of a pair of either.

    Raises:
        FolderError: If the folder holds neither, or is incomplete, truncated or altered.
    """
    loaded = load_model(resolve_model(name))
    if isinstance(loaded, LanguageModelParts):
        return LanguageModel(loaded)
    if isinstance(loaded, ClassifierParts | EnsembleParts):
        return TextClassifier(loaded)
    forward, backward = loaded.forward, loaded.backward
    if isinstance(forward, LanguageModelParts) and isinstance(backward, LanguageModelParts):
        return LanguageModel(forward, backward)
    if isinstance(forward, ClassifierParts) and isinstance(backward, ClassifierParts):
        return TextClassifier(forward, backward)
    raise FolderError(f"{name}: expected a pair of language models or of classifiers, got one of each")
