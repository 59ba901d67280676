"""scikit-learn estimators on text: `ULMFiTClassifier`, `ULMFiTRegressor` and `ULMFiTVectorizer`."""

from typing import TYPE_CHECKING

from ulmkit.lazy import lazy_exports

if TYPE_CHECKING:
    from ulmkit.estimator.classifier import ULMFiTClassifier
    from ulmkit.estimator.regressor import ULMFiTRegressor
    from ulmkit.estimator.vectorizer import ULMFiTVectorizer
else:
    __getattr__, __all__ = lazy_exports(__name__, __file__)
