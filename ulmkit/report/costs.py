"""Costs of a model: speed, and size on disk."""

import os
import tempfile
import time
from collections.abc import Callable, Sequence
from pathlib import Path

import torch

from ulmkit.api import TextClassifier
from ulmkit.pipeline import networks
from ulmkit.text import Text

_LEAST_SECONDS = 0.25

Predict = Callable[[Sequence[Text]], object]


def documents_per_second(predict: Predict, texts: Sequence[Text]) -> float:
    """Measure how many texts a model labels in a second, after a first call to warm up."""
    predict(texts[:8])
    started = time.perf_counter()
    passes = 0
    while not passes or time.perf_counter() - started < _LEAST_SECONDS:
        predict(texts)
        passes += 1
    return passes * len(texts) / (time.perf_counter() - started)


def size_on_disk(classifier: TextClassifier) -> int:
    """Measure the bytes of a classifier's folder, or of both of a pair."""
    total = 0
    with tempfile.TemporaryDirectory(prefix="ulmkit-report-") as folder:
        parts = [classifier.parts, *([] if classifier.backward is None else [classifier.backward])]
        for number, each in enumerate(parts):
            saved = Path(folder) / str(number)
            TextClassifier(each).save(saved)
            total += sum(os.path.getsize(path) for path in saved.rglob("*") if path.is_file())
    return total


def describe_machine(classifier: TextClassifier) -> str:
    """Say on which device and with how many threads a classifier runs."""
    network_parts = networks(classifier.members)
    device = str(network_parts[0].model.encoder.device) if network_parts else "cpu"
    threads = torch.get_num_threads()
    return f"{device}, {threads} thread{'s' if threads > 1 else ''}"
