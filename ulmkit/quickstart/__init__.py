"""The whole path in minutes on text that is already on the machine: pretrain, fine-tune, classify, compare."""

from ulmkit.quickstart.results import FROM_SCRATCH, OURS, Quickstart
from ulmkit.quickstart.run import CLASSIFY, SIZES, WITHOUT_TRANSFER, quickstart

__all__ = ["CLASSIFY", "FROM_SCRATCH", "OURS", "SIZES", "WITHOUT_TRANSFER", "Quickstart", "quickstart"]
