"""Classifiers for other runtimes: an ONNX graph or a torch.export program, and a text reader that needs no ulmkit."""

from ulmkit.portable.folder import FORMATS, export_network
from ulmkit.portable.parity import Parity

__all__ = ["FORMATS", "Parity", "export_network"]
