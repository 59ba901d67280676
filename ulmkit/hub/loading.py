"""Loading of model folders of any kind. A kind that needs torch imports it when a folder of it is loaded."""

import os

from ulmkit.hub.ensemble import load_ensemble
from ulmkit.hub.folder_config import read_config
from ulmkit.hub.parts import ClassifierParts, EnsembleParts, LanguageModelParts, Pair


def load_model(folder: str | os.PathLike[str]) -> LanguageModelParts | ClassifierParts | EnsembleParts | Pair:
    """Load a model folder of any kind.

    Raises:
        FolderError: If it is incomplete, truncated, altered, or of a newer format version.
    """
    kind = read_config(folder)["kind"]
    if kind == "ensemble":
        return load_ensemble(folder)
    if kind == "pair":
        from ulmkit.hub.pair import load_pair

        return load_pair(folder)
    from ulmkit.hub.model_folder import load_classifier, load_language_model

    return load_classifier(folder) if kind == "classifier" else load_language_model(folder)
