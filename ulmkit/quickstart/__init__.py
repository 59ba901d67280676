"""The whole path in minutes on text that is already on the machine: pretrain, fine-tune, classify, compare."""

from ulmkit.quickstart.results import NO_LANGUAGE_MODEL_ROW, ULMKIT_ROW, Quickstart
from ulmkit.quickstart.run import QUICKSTART_CLASSIFY, SIZES, WITHOUT_TRANSFER, quickstart

__all__ = [
    "NO_LANGUAGE_MODEL_ROW",
    "QUICKSTART_CLASSIFY",
    "SIZES",
    "ULMKIT_ROW",
    "WITHOUT_TRANSFER",
    "Quickstart",
    "quickstart",
]
