"""ulmkit: transfer learning on text, from a language model of your own to a classifier from few labels."""

import importlib
from typing import Any

__version__ = "0.1.0"
__all__ = ["LanguageModel", "TextClassifier", "__version__"]


def __getattr__(name: str) -> Any:
    """The classes are imported when they are first asked for, so that `import ulmkit` does no work."""
    if name in ("LanguageModel", "TextClassifier"):
        return getattr(importlib.import_module("ulmkit.api"), name)
    raise AttributeError(f"module 'ulmkit' has no attribute {name!r}")
