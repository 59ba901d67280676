"""Parity: an exported file computes what the classifier computes, whole documents and pieces of them."""

import copy
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
import torch

from ulmkit.errors import DataError
from ulmkit.hub import ClassifierParts
from ulmkit.model.heads import NumberHead
from ulmkit.portable.state import StateLayout

Run = Callable[[np.ndarray, np.ndarray, np.ndarray], Mapping[str, np.ndarray]]
"""Runs an exported model: ids (B, T), lengths (B,), state (B, S) → outputs by name."""

TOLERANCE = 1e-4
"""Largest difference, relative to the largest value in a batch or to 1: float32 in another order of summation."""

LENGTHS = ((1,), (290,), (7, 7, 7), (0, 1, 33, 150, 2, 70, 12))
"""Lengths of the documents of each batch."""

_PIECES = 4


@dataclass(frozen=True)
class Parity:
    """Comparison of an exported model with the classifier in float32.

    Attributes:
        difference: Largest difference, relative to the largest value in a batch or to 1.
        tolerance: Largest difference that is allowed.
        documents: Documents of random tokens compared, each whole and in pieces.
        longest: Tokens of the longest one.
    """

    difference: float
    tolerance: float
    documents: int
    longest: int

    @property
    def holds(self) -> bool:
        """True if the difference is allowed; not if it is NaN."""
        return self.difference <= self.tolerance

    def to_dict(self) -> dict[str, Any]:
        """The fields by name."""
        return asdict(self)


def check_parity(run: Run, parts: ClassifierParts, name: str) -> Parity:
    """Compare an exported model with the classifier it was made from.

    Args:
        run: Runs the exported model.
        parts: The classifier, which is not changed.
        name: Name of the export's format, for the message.

    Returns:
        The comparison.

    Raises:
        DataError: If they differ by more than the tolerance.
    """
    model = copy.deepcopy(parts.model).cpu().float().eval()
    model.encoder.precision = "fp32"
    layout = StateLayout.of(model.config)
    random = np.random.default_rng(0)
    differences = []
    for lengths in LENGTHS:
        documents = [random.integers(0, model.encoder.vocab_size, length) for length in lengths]
        ids = _padded(documents)
        with torch.no_grad():
            outputs = model(torch.from_numpy(ids.T.copy()), torch.tensor(lengths))
            answers = model.head.predict(outputs)
        expected = {"prediction": parts.calibrated(answers.numpy()), "logits": outputs.numpy()}
        zeros = np.zeros((len(lengths), layout.total), dtype=np.float32)
        whole = run(ids, np.array(lengths), zeros)
        for by_name in (whole, _run_in_pieces(run, documents, zeros, random)):
            differences += [_difference(model.head, expected[key], by_name[key]) for key in expected if key in by_name]
    longest = max(map(max, LENGTHS))
    parity = Parity(float(np.max(differences)), TOLERANCE, sum(map(len, LENGTHS)), longest)
    if not parity.holds:
        raise DataError(
            f"export: expected the outputs of {name} to differ by at most {TOLERANCE:g} from the classifier's, got "
            f"{parity.difference:.2g} on documents of up to {longest} tokens; nothing was written, use another format "
            "or serve the classifier as it is"
        )
    return parity


def _run_in_pieces(
    run: Run, documents: Sequence[np.ndarray], state: np.ndarray, random: np.random.Generator
) -> Mapping[str, np.ndarray]:
    """Outputs after the last of several pieces; each document is cut on its own, some pieces are empty."""
    cuts = [np.sort(random.integers(0, len(document) + 1, _PIECES - 1)) for document in documents]
    cut = [np.split(document, places) for document, places in zip(documents, cuts, strict=True)]
    outputs: Mapping[str, np.ndarray] = {}
    for number in range(_PIECES):
        pieces = [parts[number] for parts in cut]
        outputs = run(_padded(pieces), np.array([len(piece) for piece in pieces]), state)
        state = outputs["new_state"]
    return outputs


def _padded(documents: Sequence[np.ndarray]) -> np.ndarray:
    """Ids (B, T) int64, zero after the end of each document, T >= 1."""
    ids = np.zeros((len(documents), max([1, *map(len, documents)])), dtype=np.int64)
    for row, document in zip(ids, documents, strict=True):
        row[: len(document)] = document
    return ids


def _difference(head: torch.nn.Module, expected: np.ndarray, actual: np.ndarray) -> float:
    """Largest difference, relative to the largest value or to 1; a number's to the deviation of the targets."""
    if expected.shape != actual.shape:
        return float("nan")
    largest = 1.0
    if isinstance(head, NumberHead):
        lowest, highest = head.config.value_range or (0.0, head.config.number_deviation)
        largest = highest - lowest
    return float(np.abs(expected - actual).max() / max(largest, np.abs(expected).max()))
