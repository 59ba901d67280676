"""Explanations: which words of a text moved a classifier's prediction."""

from typing import TYPE_CHECKING

from ulmkit.lazy import lazy_exports

if TYPE_CHECKING:
    from ulmkit.explain.integrated_gradients import (
        EXPLANATION_METHODS,
        ClassifierPath,
        MeanProbability,
        MemberPath,
        Slopes,
        WeightedSum,
        explain_by_gradients,
    )
    from ulmkit.explain.occlusion import Explanation, Predict, WordWeight, explain_prediction
    from ulmkit.explain.running import RunningPrediction, running_prediction
    from ulmkit.explain.words import Word, find_words, tokens_in_words
else:
    __getattr__, __all__ = lazy_exports(__name__, __file__)
