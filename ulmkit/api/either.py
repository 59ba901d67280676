"""Loading of a model of either kind."""

import os

from ulmkit.api.language_model import LanguageModel
from ulmkit.api.text_classifier import TextClassifier
from ulmkit.hub import holds_language_model, resolve_model
from ulmkit.pipeline import RunOptions


def load_either(name: str | os.PathLike[str], run: RunOptions | None = None) -> LanguageModel | TextClassifier:
    """Load a language model or a classifier, whichever a folder holds.

    Args:
        name: Folder, name of a shipped model or hub name; see `ulmkit.hub.resolve_model`.
        run: Device, precision and backend to run with; see `LanguageModel.load`.

    Returns:
        The model in evaluation mode.

    Raises:
        FolderError: If the folder holds neither, or is incomplete, truncated or altered.
    """
    folder = resolve_model(name)
    return (LanguageModel if holds_language_model(folder) else TextClassifier).load(folder, run)
