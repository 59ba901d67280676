"""Models as folders: saved, described, checked, loaded."""

from ulmkit.hub.facts import package_versions
from ulmkit.hub.folder_config import FORMAT_VERSION, Direction, read_config
from ulmkit.hub.model_card import model_card
from ulmkit.hub.model_folder import (
    load_classifier,
    load_language_model,
    save_classifier,
    save_language_model,
)
from ulmkit.hub.pair import Pair, load_model, load_pair, save_pair
from ulmkit.hub.parts import ClassifierParts, LanguageModelParts
from ulmkit.hub.resolve import resolve_model

__all__ = [
    "FORMAT_VERSION",
    "ClassifierParts",
    "Direction",
    "LanguageModelParts",
    "Pair",
    "load_classifier",
    "load_language_model",
    "load_model",
    "load_pair",
    "model_card",
    "package_versions",
    "read_config",
    "resolve_model",
    "save_classifier",
    "save_language_model",
    "save_pair",
]
