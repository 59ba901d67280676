"""A classifier made smaller and faster for serving, unless documents show that it costs accuracy."""

import os
import tempfile
from dataclasses import replace
from pathlib import Path

import torch

from ulmkit.api.text_classifier import TextClassifier
from ulmkit.errors import ConfigError, DataError
from ulmkit.evaluation import PairedComparison
from ulmkit.hub import TrainingFacts, save_classifier, save_pair
from ulmkit.kernels import int8_runs
from ulmkit.model.int8_encoder import Int8Encoder
from ulmkit.pipeline import DataOptions
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
    """Write the classifier with its encoder's weights as bytes, unless labelled documents show that it is worse so.

    Args:
        classifier: one, or a pair. folder: to write.
        data: labelled documents to compare on. split: which part of them, see `TextClassifier.compare`.
        overwrite: replace a folder that is there.
    Returns: both on the same documents; it stands in the new model's facts too.
    Raises: DataError, and nothing is written, if the comparison shows a drop at the 5% level; ConfigError where no
        kernels multiply bytes, or for a classifier of bytes.
    """
    members = [parts for parts in (classifier.parts, classifier.backward) if parts is not None]
    if any(isinstance(parts.model.encoder, Int8Encoder) for parts in members):
        raise ConfigError("export: the classifier's weights are bytes already; give the one that was trained")
    runs, reason = int8_runs(torch.device("cpu"))
    if not runs:
        raise ConfigError(f"export: expected kernels for int8, to compare with, got none ({reason})")
    rounded = classifier.to_int8()
    for parts in (rounded.parts, rounded.backward):
        if parts is not None:
            parts.model.cpu()  # where bytes are multiplied
    found = classifier.compare(rounded, data, split=split, data_options=data_options)
    if found.shows_a_drop:
        low, high = found.interval
        raise DataError(
            f"export: int8 weights cost {found.measure}: {found.before:.4f} before, {found.after:.4f} after, on "
            f"{found.documents} documents (difference {found.difference:+.4f}, 95%: {low:+.4f} to {high:+.4f}, "
            f"p = {found.p_value:.2g}); nothing was written, serve the classifier as it is"
        )
    members = [part for part in (rounded.parts, rounded.backward) if part is not None]
    new = [replace(part, facts=replace(part.facts, int8=found)) for part in members]
    if len(new) == 1:
        save_classifier(folder, new[0], overwrite=overwrite)
        return found
    with tempfile.TemporaryDirectory() as temporary:
        forward, backward = (save_classifier(Path(temporary) / parts.direction, parts) for parts in new)
        save_pair(folder, forward, backward, TrainingFacts(int8=found), overwrite=overwrite)
    return found
