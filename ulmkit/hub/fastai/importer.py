"""Models of ulmkit from the files of a fastai model."""

import os
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import TypeVar

import torch
from torch import nn

from ulmkit.config import check_choice
from ulmkit.errors import ConfigError, DataError, FolderError
from ulmkit.files import expand_user, read_bytes
from ulmkit.hub.facts import TrainingFacts
from ulmkit.hub.fastai.names import FastaiWeights, check_shapes, convert
from ulmkit.hub.fastai.pickles import read_tensors
from ulmkit.hub.fastai.vocabulary import FastaiVocabulary, label_names, read_vocabulary
from ulmkit.hub.folder_config import DIRECTIONS, Direction
from ulmkit.hub.parts import ClassifierParts, LanguageModelParts
from ulmkit.model.classifier import AWDLSTMClassifier
from ulmkit.model.config import LanguageModelConfig
from ulmkit.model.language_model import AWDLSTMLanguageModel
from ulmkit.tasks import find_task
from ulmkit.text.tokens.sentencepiece_tokenizer import SentencePieceTokenizer
from ulmkit.text.tokens.spacy_tokenizer import SpacyTokenizer
from ulmkit.text.tokens.tokenizer import Tokenizer

TASKS = ("single", "multi")
"""Tasks whose classifiers can be imported: the heads of others need numbers that fastai keeps elsewhere."""

Model = TypeVar("Model", bound=nn.Module)

_ENCODER_ALONE = (
    "It was made from an encoder, without its softmax's bias: fine-tune it before its probabilities are used."
)


def import_parts(
    weights: str | os.PathLike[str],
    vocabulary: str | os.PathLike[str],
    *,
    direction: Direction = "forward",
    language: str | None = None,
    sentencepiece: str | os.PathLike[str] | None = None,
    labels: Sequence[str] = (),
    task: str = "single",
) -> LanguageModelParts | ClassifierParts:
    """Read a model that fastai 1 or 2 saved, without running anything in its files.

    Args:
        weights: File of `learn.save` or `learn.save_encoder`.
        vocabulary: Pickle of `data.vocab.itos` or `dls.vocab`.
        direction: "backward" for a model of reversed text, which the weights do not tell.
        language: Language of the spaCy tokenizer; None for English.
        sentencepiece: The `spm.model` of fastai's SentencePieceTokenizer, if the model was trained with one.
        labels: Labels of a classifier, in the order of its outputs; those in the vocabulary's file if empty.
        task: "single" or "multi": whether a classifier's labels exclude each other.

    Returns:
        A language model, which may lack the bias of its softmax, or a classifier; in evaluation mode.

    Raises:
        FolderError: If a file cannot be read, holds something else, or the two do not belong together.
        ConfigError: If an option is outside its range.
    """
    check_choice("direction", direction, DIRECTIONS)
    check_choice("task", task, TASKS)
    weights_path, vocabulary_path = expand_user(weights), expand_user(vocabulary)
    read = read_vocabulary(vocabulary_path)
    converted = convert(weights_path, read_tensors(weights_path))
    if len(read.vocabulary) != converted.vocab_size:
        raise FolderError(
            f"{vocabulary_path}: expected {converted.vocab_size:,} tokens, as the embedding has rows, got "
            f"{len(read.vocabulary):,}; give the vocabulary that was saved with these weights"
        )
    facts = _facts(weights_path, converted, read)
    model: AWDLSTMLanguageModel | AWDLSTMClassifier
    if converted.kind == "classifier":
        names = label_names(vocabulary_path, labels, read.labels, converted.classes)
        model = _classifier(weights_path, converted, direction, task)
        tokenizer = _tokenizer(language, sentencepiece)
        return ClassifierParts(find_task(task), model, read.vocabulary, tokenizer, names, direction, facts)
    if labels:
        raise ConfigError(f"labels: expected none for a {converted.kind.replace('_', ' ')}, got {len(labels)}")
    model = _language_model(weights_path, converted)
    return LanguageModelParts(model, read.vocabulary, _tokenizer(language, sentencepiece), direction, facts)


def _tokenizer(language: str | None, sentencepiece: str | os.PathLike[str] | None) -> Tokenizer:
    if sentencepiece is None:
        return SpacyTokenizer(language or "en")
    if language is not None:
        raise ConfigError(f"language: has no effect with `sentencepiece`, got {language!r}; drop one of them")
    path = expand_user(sentencepiece)
    try:
        tokenizer = SentencePieceTokenizer(read_bytes(path))
    except DataError as error:
        raise FolderError(f"{path}: {error}") from error
    if tokenizer.closed_vocabulary() is not None:
        raise FolderError(f"{path}: expected a model that fastai trained, got one of ulmkit; give spm.model of fastai")
    return tokenizer


def _language_model(path: Path, converted: FastaiWeights) -> AWDLSTMLanguageModel:
    weights = dict(converted.weights)
    if converted.kind == "encoder":
        weights["decoder.weight"] = torch.zeros(converted.vocab_size)
    config = LanguageModelConfig(encoder=converted.encoder, decoder_bias="decoder.weight" in weights)
    return _filled(path, lambda: AWDLSTMLanguageModel(config, converted.vocab_size), weights)


def _classifier(path: Path, converted: FastaiWeights, direction: Direction, task: str) -> AWDLSTMClassifier:
    if direction == "backward":
        raise ConfigError(
            "direction: expected forward for a classifier, got backward: fastai's backward classifiers end with the "
            "first token of a text, and ulmkit's begin with it; import the encoder, and train a classifier from that"
        )
    head = find_task(task).head_type(classes=converted.classes, hidden_size=converted.head_size)
    return _filled(path, lambda: AWDLSTMClassifier(converted.encoder, converted.vocab_size, head), converted.weights)


def _filled(path: Path, make: Callable[[], Model], weights: Mapping[str, torch.Tensor]) -> Model:
    """Make a model and give it the weights, once their shapes are known to fit."""
    with torch.random.fork_rng(devices=[]):
        try:
            with torch.device("meta"):
                expected = {name: tensor.shape for name, tensor in make().state_dict().items()}
            check_shapes(path, weights, expected)
            model = make()
            model.load_state_dict(weights)
        except (ConfigError, RuntimeError) as error:
            raise FolderError(f"{path}: expected the weights of a model; {' '.join(str(error).split())}") from error
    return model.eval()


def _facts(path: Path, converted: FastaiWeights, read: FastaiVocabulary) -> TrainingFacts:
    notes: dict[str, object] = {"imported from": f"fastai ({converted.kind.replace('_', ' ')}, {path.name})"}
    if read.renamed:
        notes["renamed tokens"] = read.renamed
    limits = ["Its text and the options of its training are not recorded: fastai's files do not tell."]
    if converted.kind == "encoder":
        limits.append(_ENCODER_ALONE)
    return TrainingFacts(
        description=f"Imported from fastai's {path.name}.",
        limits=tuple(limits),
        notes=notes,
    )
