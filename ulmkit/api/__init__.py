"""The two things people hold: a LanguageModel and a TextClassifier."""

from ulmkit.api.classifier_stream import ClassifierStream
from ulmkit.api.export import export_int8
from ulmkit.api.language_model import LanguageModel
from ulmkit.api.text_classifier import TextClassifier

__all__ = ["ClassifierStream", "LanguageModel", "TextClassifier", "export_int8"]
