"""Export of classifiers: with int8 weights, or for other runtimes. Each is checked against the original."""

from __future__ import annotations

import os
from dataclasses import replace
from pathlib import Path

import torch

from ulmkit.api.text_classifier import TextClassifier
from ulmkit.errors import ConfigError, DataError
from ulmkit.evaluation import PairedComparison
from ulmkit.hub import (
    ClassifierParts,
    EnsembleParts,
    TrainingFacts,
    save_classifier,
    save_classifier_pair,
    save_ensemble,
)
from ulmkit.kernels import int8_runs
from ulmkit.model.int8_encoder import Int8Encoder
from ulmkit.pipeline import DataOptions
from ulmkit.portable import Parity, export_network
from ulmkit.portable.folder import check_single_network
from ulmkit.text import EncodedCorpus
from ulmkit.text.read.documents import Data


def export_int8(
    classifier: TextClassifier,
    folder: str | os.PathLike[str],
    data: Data | EncodedCorpus,
    *,
    split: str | None = None,
    data_options: DataOptions | None = None,
    overwrite: bool = False,
) -> PairedComparison:
    """Write a classifier with int8 encoder weights, unless labelled documents show that it is less accurate.

    Args:
        classifier: A classifier or a pair with float32 weights.
        folder: Folder to write.
        data: Labelled documents to compare on.
        split: Split to compare on; see `TextClassifier.compare`.
        data_options: How to read and split the data.
        overwrite: Replace an existing folder.

    Returns:
        The comparison with the original on the same documents, which the new model's facts record too.

    Raises:
        DataError: If the comparison shows a drop at the 5% level; nothing is written then.
        ConfigError: If no int8 kernels are available, or the weights are int8 already.
    """
    if any(isinstance(parts.model.encoder, Int8Encoder) for parts in _networks(classifier)):
        raise ConfigError("export: the classifier's weights are int8 already; give the one that was trained")
    runs, reason = int8_runs(torch.device("cpu"))
    if not runs:
        raise ConfigError(f"export: expected kernels for int8, to compare with, got none ({reason})")
    rounded = classifier.to_int8()
    for parts in _networks(rounded):
        parts.model.cpu()  # the int8 kernels run on the CPU
    comparison = classifier.compare(rounded, data, split=split, data_options=data_options)
    if comparison.shows_a_drop:
        low, high = comparison.interval
        raise DataError(
            f"export: int8 weights cost {comparison.measure}: {comparison.before:.4f} before, "
            f"{comparison.after:.4f} after, on {comparison.documents} documents (difference "
            f"{comparison.difference:+.4f}, 95%: {low:+.4f} to {high:+.4f}, p = {comparison.p_value:.2g}); "
            "nothing was written, serve the classifier as it is"
        )
    if isinstance(rounded.parts, EnsembleParts):
        facts = replace(rounded.parts.facts, int8=comparison)
        save_ensemble(folder, replace(rounded.parts, facts=facts), overwrite=overwrite)
        return comparison
    new = [replace(parts, facts=replace(parts.facts, int8=comparison)) for parts in _networks(rounded)]
    if len(new) == 1:
        save_classifier(folder, new[0], overwrite=overwrite)
        return comparison
    forward, backward = new
    save_classifier_pair(folder, forward, backward, TrainingFacts(int8=comparison), overwrite=overwrite)
    return comparison


def export_onnx(classifier: TextClassifier, folder: str | os.PathLike[str], *, overwrite: bool = False) -> Parity:
    """Write a folder that serves a classifier by ONNX, without ulmkit, if the file computes the same.

    The folder has the network, which reads documents whole or in pieces, the labels, and a text reader: Python that
    turns text into token ids. Its README says how to use them.

    Args:
        classifier: A fine-tuned network with float32 weights, or a ladder that kept one; neither a pair nor a blend.
        folder: Folder to write.
        overwrite: Replace an existing folder.

    Returns:
        The comparison with the classifier.

    Raises:
        ConfigError: If the classifier is not one network of LSTM layers for whole texts; the message says what to do.
        DataError: If the file's outputs differ from the classifier's; nothing is written then.
        MissingPackageError: If the extra `onnx` is not installed.
    """
    network = check_single_network(classifier.members, classifier.parts)
    return export_network(network, Path(folder), "onnx", overwrite=overwrite)


def export_torch(classifier: TextClassifier, folder: str | os.PathLike[str], *, overwrite: bool = False) -> Parity:
    """Write a folder that serves a classifier by torch alone, a program of torch.export; else like `export_onnx`.

    Args:
        classifier: A fine-tuned network with float32 weights, or a ladder that kept one; neither a pair nor a blend.
        folder: Folder to write.
        overwrite: Replace an existing folder.

    Returns:
        The comparison with the classifier.
    """
    network = check_single_network(classifier.members, classifier.parts)
    return export_network(network, Path(folder), "torch", overwrite=overwrite)


def _networks(classifier: TextClassifier) -> list[ClassifierParts]:
    """The members that are fine-tuned networks."""
    return [member for member in classifier.members if isinstance(member, ClassifierParts)]
