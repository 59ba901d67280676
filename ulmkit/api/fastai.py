"""Import of models that fastai saved."""

from __future__ import annotations

import os
from collections.abc import Sequence

from ulmkit.api.language_model import LanguageModel
from ulmkit.api.text_classifier import TextClassifier
from ulmkit.hub import LanguageModelParts
from ulmkit.hub.fastai import import_parts
from ulmkit.hub.folder_config import Direction


def import_fastai(
    weights: str | os.PathLike[str],
    vocabulary: str | os.PathLike[str],
    *,
    direction: Direction = "forward",
    language: str | None = None,
    sentencepiece: str | os.PathLike[str] | None = None,
    labels: Sequence[str] = (),
    task: str = "single",
) -> LanguageModel | TextClassifier:
    """Read a language model, an encoder or a classifier that fastai 1 or 2 saved.

    Nothing in the files is run: they are read by readers that build lists, dicts, text, numbers and tensors alone.
    Given the same token ids, the model answers as it does in fastai.

    Args:
        weights: File of `learn.save` or `learn.save_encoder` (.pth).
        vocabulary: Pickle of `data.vocab.itos` (fastai 1) or of `dls.vocab` (fastai 2).
        direction: "backward" for a language model of reversed text: the weights do not tell.
        language: Language of the spaCy tokenizer; None for English.
        sentencepiece: The `spm.model` of fastai's SentencePieceTokenizer, if the model was trained with one.
        labels: Labels of a classifier, in the order of its outputs; by default those in the vocabulary's file.
        task: "single" if a classifier's labels exclude each other, "multi" if a text may have several.

    Returns:
        A classifier if the weights are one's, else a language model.

    Raises:
        FolderError: If a file cannot be read, holds something else, or the two do not belong together.
        ConfigError: If an option is outside its range.
    """
    parts = import_parts(
        weights,
        vocabulary,
        direction=direction,
        language=language,
        sentencepiece=sentencepiece,
        labels=labels,
        task=task,
    )
    return LanguageModel(parts) if isinstance(parts, LanguageModelParts) else TextClassifier(parts)
