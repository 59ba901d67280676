"""How fast, how large and how accurate are exported classifiers, beside the classifier itself in fp32?

Each export of `ulmkit export` runs on token ids that are there already, in one process, with the same threads:

int8          ulmkit's int8 weights
ONNX          onnxruntime
torch.export  the program of torch.export

latency       Median time for a batch of documents of 290 tokens each, 1 and 32 at once. With one thread it is the
              processor's time, which other programs on the machine do not lengthen.
size          The file of the weights.
accuracy      Share of right labels among labelled documents of DATA, and how many labels differ from those in fp32.

`--full-size` adds a network of ULMFiT's size (400, 1152 x 3, vocabulary of 30,000) with random weights: latency and
size alone. CLASSIFIER is one fine-tuned network, for one label per document.

    python benchmarks/export.py CLASSIFIER DATA [--split SPLIT] [--documents N] [--full-size] [--quick] [--json FILE]
"""

import argparse
import statistics
import tempfile
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch
from common import report, row

from ulmkit import DataOptions, RunOptions, TextClassifier
from ulmkit.hub import ClassifierParts
from ulmkit.kernels import int8_runs
from ulmkit.model.classifier import AWDLSTMClassifier
from ulmkit.model.config import AWDLSTMConfig
from ulmkit.portable.formats import FORMATS, output_names
from ulmkit.portable.state import StateLayout

FP32 = "ulmkit fp32"
TOKENS = 290
BATCHES = (1, 32)
QUICK_DOCUMENTS = 200
FULL_SIZE_VOCABULARY = 30_000
_SCORED_AT_ONCE = 32

Answer = Callable[[np.ndarray, np.ndarray], np.ndarray]
"""Probabilities (B, C) for ids (B, T) and lengths (B,)."""


def main() -> None:
    options = read_options()
    run = RunOptions(device="cpu", precision="fp32", threads=options.threads)
    classifier = TextClassifier.load(options.classifier, run)
    parts = classifier.parts
    if not isinstance(parts, ClassifierParts) or classifier.backward is not None:
        raise SystemExit("CLASSIFIER: expected one fine-tuned network, got a pair or a blend")
    data_options = DataOptions(split_column=options.split_column)
    chosen = classifier.evaluation_data(options.data, split=options.split, data_options=data_options)
    labelled = chosen.rows(labelled=True)
    count = QUICK_DOCUMENTS if options.quick and options.documents is None else options.documents
    labelled = np.random.default_rng(0).permutation(labelled)[:count]
    documents = [np.asarray(chosen.corpus.document(place), dtype=np.int64) for place in labelled]
    repeats = 3 if options.quick else 20
    print(f"torch {torch.__version__}, {torch.get_num_threads()} threads; {len(documents)} documents")
    with tempfile.TemporaryDirectory() as folder:
        rows = measure("classifier", parts, Path(folder), repeats, documents, chosen.corpus.labels(labelled))
        if options.full_size:
            rows += measure("full size", full_size(parts), Path(folder), repeats)
    report("export", rows, options.json, {"documents": len(documents), "tokens": TOKENS})


def read_options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("classifier", metavar="CLASSIFIER", help="folder of one fine-tuned network")
    parser.add_argument("data", metavar="DATA", help="labelled documents")
    parser.add_argument("--split", help="split to score, or all (default: test, else valid, else all)")
    parser.add_argument("--split-column", help="column with the name of each document's split")
    parser.add_argument("--documents", type=int, help="score this many documents, drawn at random (default: all)")
    parser.add_argument("--threads", type=int, default=1, help="threads (default: 1)")
    parser.add_argument("--full-size", action="store_true", help="also a network of ULMFiT's size, random weights")
    parser.add_argument("--quick", action="store_true", help=f"3 repeats in place of 20, {QUICK_DOCUMENTS} documents")
    parser.add_argument("--json", metavar="FILE", help="write the figures to this file")
    return parser.parse_args()


def full_size(parts: ClassifierParts) -> ClassifierParts:
    """A network of ULMFiT's size with random weights and the head of another one; its vocabulary does not fit."""
    torch.manual_seed(0)
    model = AWDLSTMClassifier(AWDLSTMConfig(), FULL_SIZE_VOCABULARY, parts.model.head.config).eval()
    model.encoder.precision = "fp32"
    return replace(parts, model=model, history=[])


def measure(
    name: str,
    parts: ClassifierParts,
    folder: Path,
    repeats: int,
    documents: Sequence[np.ndarray] = (),
    labels: np.ndarray | None = None,
) -> list[dict[str, Any]]:
    """Export a network in all formats, and compare each with ulmkit in fp32."""
    answers, sizes = export_all(name, parts, folder)
    rows = []
    for batch in BATCHES:
        ids = np.random.default_rng(0).integers(0, parts.model.encoder.vocab_size, (batch, TOKENS))
        lengths = np.full(batch, TOKENS)
        timed = {key: partial(answer, ids, lengths) for key, answer in answers.items()}
        for call in timed.values():
            call()
        seconds = median_seconds(timed, repeats)
        case = f"{name}, {batch} x {TOKENS} tokens"
        rows += compare(case, "ms", {key: 1e3 * value for key, value in seconds.items()})
    rows += compare(f"{name}, size", "MB", sizes)
    if labels is not None:
        predicted = {key: predict(answer, documents) for key, answer in answers.items()}
        right = {key: float((found == labels).mean()) for key, found in predicted.items()}
        rows += compare(f"{name}, accuracy", "", right, lower_is_better=False)
        changed = {key: float((found != predicted[FP32]).sum()) for key, found in predicted.items()}
        rows += compare(f"{name}, other labels than fp32", "documents", changed)
    return rows


def median_seconds(calls: Mapping[str, Callable[[], Any]], repeats: int) -> dict[str, float]:
    """Median time of each call, in seconds; they take turns."""
    clock = time.process_time if torch.get_num_threads() == 1 else time.perf_counter
    seconds: dict[str, list[float]] = {name: [] for name in calls}
    for _ in range(repeats):
        for name, call in calls.items():
            start = clock()
            call()
            seconds[name].append(clock() - start)
    return {name: statistics.median(values) for name, values in seconds.items()}


def export_all(name: str, parts: ClassifierParts, folder: Path) -> tuple[dict[str, Answer], dict[str, float]]:
    """All exports of a network, to be run, and the megabytes of their weights."""
    answers = {FP32: _of_model(parts.model)}
    sizes = {FP32: 4e-6 * sum(parameter.numel() for parameter in parts.model.parameters())}
    if int8_runs(torch.device("cpu"))[0]:
        int8 = parts.model.to_int8()
        answers["int8"] = _of_model(int8)
        sizes["int8"] = 1e-6 * sum(tensor.nbytes for tensor in int8.state_dict().values())
    for each in FORMATS.values():
        path = folder / f"{name}-{each.file}"
        each.write(parts.model, 1.0, path)
        sizes[each.title] = path.stat().st_size / 1e6
        answers[each.title] = _of_export(each.open(path, output_names(parts.model)), parts)
    return answers, sizes


def _of_model(model: AWDLSTMClassifier) -> Answer:
    def answer(ids: np.ndarray, lengths: np.ndarray) -> np.ndarray:
        with torch.no_grad():
            outputs = model(torch.from_numpy(np.ascontiguousarray(ids.T)), torch.from_numpy(lengths))
            return model.head.predict(outputs).numpy()

    return answer


def _of_export(run: Callable[..., Mapping[str, np.ndarray]], parts: ClassifierParts) -> Answer:
    size = StateLayout.of(parts.model.config).total
    return lambda ids, lengths: run(ids, lengths, np.zeros((len(ids), size), dtype=np.float32))["prediction"]


def predict(answer: Answer, documents: Sequence[np.ndarray]) -> np.ndarray:
    """The most probable class of each document."""
    order = np.argsort([len(document) for document in documents])
    classes = np.zeros(len(documents), dtype=np.int64)
    for start in range(0, len(order), _SCORED_AT_ONCE):
        places = order[start : start + _SCORED_AT_ONCE]
        lengths = np.array([len(documents[place]) for place in places])
        ids = np.zeros((len(places), max(1, lengths.max())), dtype=np.int64)
        for line, place in zip(ids, places, strict=True):
            line[: len(documents[place])] = documents[place]
        classes[places] = answer(ids, lengths).argmax(axis=1)
    return classes


def compare(case: str, unit: str, values: Mapping[str, float], *, lower_is_better: bool = True) -> list[dict[str, Any]]:
    """A row for each export, with the classifier in fp32 as the peer."""
    return [
        row(f"{case}: {name}", unit, value, values[FP32], FP32, lower_is_better=lower_is_better)
        for name, value in values.items()
        if name != FP32
    ]


if __name__ == "__main__":
    main()
