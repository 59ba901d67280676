"""ulmkit: transfer learning on text, from a language model of your own to a classifier from few labels."""

from typing import TYPE_CHECKING

from ulmkit.lazy import lazy_exports

if TYPE_CHECKING:
    from ulmkit.api.drift import find_drift
    from ulmkit.api.export import export_int8, export_onnx, export_torch
    from ulmkit.api.fastai import import_fastai
    from ulmkit.api.language_model import LanguageModel
    from ulmkit.api.text_classifier import TextClassifier
    from ulmkit.api.tuning import find_recipe
    from ulmkit.estimator.classifier import ULMFiTClassifier
    from ulmkit.estimator.regressor import ULMFiTRegressor
    from ulmkit.estimator.vectorizer import ULMFiTVectorizer
    from ulmkit.pipeline.data_options import DataOptions
    from ulmkit.pipeline.options import RunOptions
else:
    __getattr__, __all__ = lazy_exports(__name__, __file__)

__version__ = "0.1.0"
