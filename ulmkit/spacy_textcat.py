"""`ulmkit_textcat`: a component of spaCy pipelines that classifies documents with a `TextClassifier`.

    nlp.add_pipe("ulmkit_textcat", config={"model": "my-classifier"})

spaCy finds it by the entry point `spacy_factories` of the installed package.
"""

import os
from collections.abc import Iterable, Iterator
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from ulmkit.errors import ConfigError, MissingPackageError
from ulmkit.hub import copy_model, resolve_model
from ulmkit.safe_writes import atomic_folder

try:
    from spacy.language import Language
except ImportError as error:
    raise MissingPackageError("spacy: is not installed, and ulmkit_textcat needs it; run: pip install spacy") from error

# Annotations stay objects, without `from __future__ import annotations`: some releases of spaCy cannot read strings.
if TYPE_CHECKING:
    from spacy.tokens import Doc

    from ulmkit.api import TextClassifier


class TextCategorizer:
    """Sets `doc.cats` to the probability of each label.

    The classifier is loaded when it is first used: a pipeline that is read back from a folder takes the one in there,
    though its config still has the name of the model that it was made with.

    Args:
        name: Name of the component in the pipeline.
        model: Folder, name of a shipped model or hub name, "owner/name" or "owner/name@revision".
    """

    def __init__(self, name: str, model: str | os.PathLike[str]) -> None:
        self.name = name
        self.model = model
        self._classifier: TextClassifier | None = None

    @property
    def classifier(self) -> "TextClassifier":
        """The classifier.

        Raises:
            FolderError: If the model cannot be found or downloaded, or its folder is no classifier's.
            ConfigError: If it does not predict one or several labels of a text.
        """
        if self._classifier is None:
            from ulmkit.api import TextClassifier

            classifier = TextClassifier.load(self.model)
            task = classifier.parts.task
            if not classifier.labels or task.per_word or task.text_fields != 1:
                raise ConfigError(
                    f"ulmkit_textcat: expected a classifier with one or several labels per text, got {self.model}, "
                    f"which predicts {task.summary}"
                )
            self._classifier = classifier
        return self._classifier

    @property
    def labels(self) -> tuple[str, ...]:
        """The keys of `doc.cats` in the order of the classifier; empty until it is loaded.

        spaCy asks for them before it reads a pipeline's folder, when the model that the config names need not exist.
        """
        return () if self._classifier is None else self._classifier.labels

    def __call__(self, doc: "Doc") -> "Doc":
        """Classify one document."""
        self._classify([doc])
        return doc

    def pipe(self, stream: Iterable["Doc"], *, batch_size: int = 128) -> Iterator["Doc"]:
        """Classify a stream of documents.

        Args:
            stream: The documents.
            batch_size: Number of documents that are classified together.
        """
        documents = iter(stream)
        while batch := list(islice(documents, batch_size)):
            self._classify(batch)
            yield from batch

    def to_disk(self, path: str | os.PathLike[str], *, exclude: Iterable[str] = ()) -> None:
        """Copy the classifier's folder.

        Args:
            path: Folder to write; it is replaced if it is a model folder.
            exclude: Ignored; spaCy gives it.
        """
        source = resolve_model(self.model)
        with atomic_folder(path, overwrite=True) as temporary:
            copy_model(source, temporary)

    def from_disk(self, path: str | os.PathLike[str], *, exclude: Iterable[str] = ()) -> "TextCategorizer":
        """Take the classifier in a folder that `to_disk` wrote.

        Args:
            path: The folder.
            exclude: Ignored; spaCy gives it.
        """
        self.model = Path(path)
        self._classifier = None
        return self

    def _classify(self, documents: list["Doc"]) -> None:
        classifier = self.classifier
        outputs = np.asarray(classifier.predict_proba([document.text for document in documents]))
        for document, probabilities in zip(documents, outputs.tolist(), strict=True):
            document.cats.update(zip(classifier.labels, probabilities, strict=True))


@Language.factory("ulmkit_textcat", assigns=["doc.cats"])
def make_textcat(nlp: Language, name: str, model: str) -> TextCategorizer:
    """Make the component; spaCy calls this.

    Args:
        nlp: The pipeline.
        name: Name of the component.
        model: The classifier; see `TextCategorizer`.
    """
    return TextCategorizer(name, model)
