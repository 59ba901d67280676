"""Models with their vocabulary and tokenizer: the units that are trained, saved and loaded. Imports without torch."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import numpy as np

from ulmkit.config import check_positive
from ulmkit.errors import ConfigError
from ulmkit.evaluation import scaled_probabilities
from ulmkit.hub.facts import TrainingFacts
from ulmkit.hub.folder_config import Direction
from ulmkit.hub.held_out import HeldOut
from ulmkit.members.combiner import Combiner
from ulmkit.members.linear import LinearMember
from ulmkit.members.word_vectors import WordVectors
from ulmkit.model.config import feature_count
from ulmkit.tasks import Outputs, Task
from ulmkit.text import Tokenizer, Vocabulary
from ulmkit.training.log import LogRow

if TYPE_CHECKING:
    from ulmkit.model.classifier import AWDLSTMClassifier
    from ulmkit.model.language_model import AWDLSTMLanguageModel


@dataclass(frozen=True)
class LanguageModelParts:
    """A language model with everything that it needs to read text.

    Attributes:
        model: The weights.
        vocabulary: The token of each id.
        tokenizer: Cuts text into the vocabulary's tokens.
        direction: Whether it reads text forward or backward.
        facts: How it was made.
        history: Rows of the training log; a loaded model has none.
        held_out: Its answers for held-out documents and measures of them; None if they are not kept.
        word_vectors: Vectors of words, learned from the text of its pretraining; None if there are none.
    """

    model: AWDLSTMLanguageModel
    vocabulary: Vocabulary
    tokenizer: Tokenizer
    direction: Direction
    facts: TrainingFacts
    history: list[LogRow] = field(default_factory=list)
    held_out: HeldOut | None = None
    word_vectors: WordVectors | None = None


@dataclass(frozen=True)
class ClassifierParts:
    """A classifier with everything that it needs to read text.

    Attributes:
        task: What it predicts.
        model: The weights.
        vocabulary: The token of each id.
        tokenizer: Cuts text into the vocabulary's tokens.
        label_names: Labels in the order of the outputs; empty for a number.
        direction: Whether it reads text forward or backward.
        facts: How it was made.
        history: Rows of the training log; a loaded model has none.
        held_out: Its answers for held-out documents and measures of them; None if they are not kept.
        temperature: Divides the log-probabilities of a network on its own, see `fit_temperature`; a member of an
            ensemble is calibrated by the combiner.

    Raises:
        ConfigError: Unless the temperature is above 0.
    """

    task: Task
    model: AWDLSTMClassifier
    vocabulary: Vocabulary
    tokenizer: Tokenizer
    label_names: tuple[str, ...]
    direction: Direction
    facts: TrainingFacts
    history: list[LogRow] = field(default_factory=list)
    held_out: HeldOut | None = None
    temperature: float = 1.0

    def __post_init__(self) -> None:
        check_positive("temperature", self.temperature)

    def calibrated(self, outputs: Outputs) -> Outputs:
        """Scale the outputs of the network on its own by the temperature; the most probable labels stay."""
        if self.temperature == 1.0 or isinstance(outputs, list):
            return outputs
        return scaled_probabilities(outputs, self.temperature)


@dataclass(frozen=True)
class Pair:
    """A forward and a backward model of one kind; classifiers have the same labels in the same order.

    Attributes:
        forward: The model that reads forward.
        backward: The model that reads backward.
        facts: Facts of the pair, such as its metrics.
    """

    forward: LanguageModelParts | ClassifierParts
    backward: LanguageModelParts | ClassifierParts
    facts: TrainingFacts


@dataclass(frozen=True)
class FeatureParts:
    """A softmax regression on the features that language models compute of a document.

    z = f W + b,  f: the features of each language model side by side, see `document_features`

    Attributes:
        language_models: The language models; only their encoders are used.
        coefficients: W, (F, classes) float32; with two classes (F, 1), the log-odds of the second.
        intercept: b, (classes,) float32, or (1,).

    Raises:
        ConfigError: If the shapes do not fit the language models.
    """

    language_models: tuple[LanguageModelParts, ...]
    coefficients: np.ndarray
    intercept: np.ndarray

    def __post_init__(self) -> None:
        features = sum(feature_count(parts.model.encoder.config) for parts in self.language_models)
        if self.coefficients.shape != (features, *self.intercept.shape):
            raise ConfigError(
                f"coefficients: expected shape {(features, *self.intercept.shape)}, got {self.coefficients.shape}"
            )

    @property
    def name(self) -> str:
        """Its name in reports."""
        return "language model features"


Member = LinearMember | FeatureParts | ClassifierParts
"""A member of an ensemble."""


@dataclass(frozen=True)
class EnsembleParts:
    """A classifier of several members, which read the same tokens, and a combiner of their log-probabilities.

    Attributes:
        task: What it predicts.
        vocabulary: The token of each id, the same for all members.
        tokenizer: Cuts text into the vocabulary's tokens.
        label_names: Labels in the order of the outputs.
        members: The members.
        combiner: Their weights.
        facts: How it was made.
        history: Always empty: each network has its own training log.
        held_out: Its answers for held-out documents and measures of them; None if they are not kept.
        class_shares: (classes,) float64, the share of each class among the documents that it learned from, which linear
            members answer where they know nothing of a text; None in folders of older versions.

    Raises:
        ConfigError: If a member, the combiner or the shares do not belong to this vocabulary or these labels.
    """

    task: Task
    vocabulary: Vocabulary
    tokenizer: Tokenizer
    label_names: tuple[str, ...]
    members: tuple[Member, ...]
    combiner: Combiner
    facts: TrainingFacts
    history: list[LogRow] = field(default_factory=list)
    held_out: HeldOut | None = None
    class_shares: np.ndarray | None = None

    def __post_init__(self) -> None:
        if len(self.combiner.weights) != len(self.members):
            raise ConfigError(f"combiner: expected {len(self.members)} weights, got {len(self.combiner.weights)}")
        if len(self.combiner.bias) != len(self.label_names):
            raise ConfigError(f"combiner: expected {len(self.label_names)} biases, got {len(self.combiner.bias)}")
        shares = self.class_shares
        if shares is not None and (shares.shape != (len(self.label_names),) or not (shares > 0).all()):
            raise ConfigError(f"class_shares: expected a positive number for each of {len(self.label_names)} classes")
        if shares is not None and not np.isclose(shares.sum(), 1.0):
            raise ConfigError(f"class_shares: expected them to sum to 1, got {shares.sum():g}")
        if not self.task.has_ladder:
            raise ConfigError(f"task: expected one that has a ladder, got {self.task.name!r}")
        for member in self.members:
            self._check(member)

    def _check(self, member: Member) -> None:
        """Raise ConfigError unless a member reads the ensemble's tokens and answers with its classes."""
        networks: tuple[ClassifierParts | LanguageModelParts, ...] = ()
        if isinstance(member, ClassifierParts):
            networks = (member,)
            if member.label_names != self.label_names:
                raise ConfigError(f"{member_name(member)}: expected the ensemble's labels, got {member.label_names}")
        else:
            columns = 1 if len(self.label_names) == 2 else len(self.label_names)
            shapes = member.coefficients.shape[1:], member.intercept.shape
            if shapes != ((columns,), (columns,)):
                raise ConfigError(f"{member.name}: expected scores of {len(self.label_names)} classes, got {shapes}")
        if isinstance(member, FeatureParts):
            networks = member.language_models
        if any(network.vocabulary != self.vocabulary for network in networks):
            raise ConfigError(f"{member_name(member)}: expected the ensemble's vocabulary, got another one")


def member_name(member: Member) -> str:
    """Name of a member in reports and folders."""
    return f"fine-tuned {member.direction}" if isinstance(member, ClassifierParts) else member.name
