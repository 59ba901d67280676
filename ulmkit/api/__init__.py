"""The Python API: `LanguageModel` and `TextClassifier`."""

from typing import TYPE_CHECKING

from ulmkit.lazy import lazy_exports

if TYPE_CHECKING:
    from ulmkit.api.classifier_stream import TextStream
    from ulmkit.api.confidence import ConformalClassifier, SelectiveClassifier
    from ulmkit.api.confidence_options import Confidence
    from ulmkit.api.drift import DriftMonitor, find_drift
    from ulmkit.api.either import load_either
    from ulmkit.api.export import export_int8, export_onnx, export_torch
    from ulmkit.api.fastai import import_fastai
    from ulmkit.api.language_model import LanguageModel
    from ulmkit.api.text_classifier import TextClassifier
    from ulmkit.api.tuning import find_recipe
else:
    __getattr__, __all__ = lazy_exports(__name__, __file__)
