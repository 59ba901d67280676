"""The whole path in minutes on text that is already on the machine: fine-tune a language model, classify, compare."""

from typing import TYPE_CHECKING

from ulmkit.lazy import lazy_exports

if TYPE_CHECKING:
    from ulmkit.quickstart.results import NO_LANGUAGE_MODEL_ROW, ULMKIT_ROW, Quickstart
    from ulmkit.quickstart.run import quickstart
else:
    __getattr__, __all__ = lazy_exports(__name__, __file__)
