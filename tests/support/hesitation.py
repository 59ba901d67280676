"""A tiny classifier that is sure of half of the texts here, and not of the others."""

import functools
from dataclasses import replace

import numpy as np

from support import tiny
from ulmkit import TextClassifier
from ulmkit.evaluation import HeldOutAnswers
from ulmkit.hub import HeldOut

TEXTS = [text for text, _ in tiny.reviews(30)]


@functools.cache
def classifier() -> TextClassifier:
    """The tiny classifier with held-out answers that are wrong up to its median confidence in the texts."""
    parts = tiny.classifier().parts
    sure = np.sort(tiny.classifier().predict_proba(TEXTS).max(axis=1).astype(np.float64))
    limit = sure[len(sure) // 2 - 1]
    confidence = np.concatenate([np.linspace(0.5 * limit, limit, 200), np.linspace(limit, 1.0, 201)[1:]])
    is_right = np.arange(400) >= 200
    above_right = np.where(is_right, 0.0, confidence)
    answers = HeldOutAnswers(
        "made up", is_right.astype(np.int64), np.ones(400, dtype=np.int64), confidence, above_right
    )
    texts = None if parts.held_out is None else parts.held_out.texts
    return TextClassifier(replace(parts, held_out=HeldOut(answers, texts)))
