"""A served classifier, and what is exchanged with it when a new one was trained."""

from dataclasses import dataclass

from ulmkit.api import TextClassifier
from ulmkit.serve.drift import ServedTexts
from ulmkit.serve.options import ServeOptions
from ulmkit.serve.promises import Promises


@dataclass(frozen=True)
class Served:
    """A classifier that is served, and what belongs to it alone.

    Attributes:
        classifier: The classifier.
        name: Its name.
        promises: What it promises of its answers.
        texts: The texts that it was asked for.
    """

    classifier: TextClassifier
    name: str
    promises: Promises
    texts: ServedTexts

    @classmethod
    def of(cls, classifier: TextClassifier, name: str, options: ServeOptions) -> "Served":
        """Prepare a classifier. Raises: as `Promises.of`."""
        promises = Promises.of(classifier, options.confidence)
        return cls(classifier, name, promises, ServedTexts(classifier, options.drift_share))
