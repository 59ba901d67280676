"""ulmkit: transfer learning on text, from a language model of your own to a classifier from few labels."""

import importlib
from typing import Any

__version__ = "0.1.0"
__all__ = ["DataOptions", "LanguageModel", "RunOptions", "TextClassifier", "__version__", "export_int8"]

_WHERE = {
    "DataOptions": "ulmkit.pipeline",
    "LanguageModel": "ulmkit.api",
    "RunOptions": "ulmkit.pipeline",
    "TextClassifier": "ulmkit.api",
    "export_int8": "ulmkit.api",
}


def __getattr__(name: str) -> Any:
    """The classes are imported when they are first asked for, so that `import ulmkit` does no work."""
    if name in _WHERE:
        return getattr(importlib.import_module(_WHERE[name]), name)
    raise AttributeError(f"module 'ulmkit' has no attribute {name!r}")
