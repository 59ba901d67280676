"""Formats of exported models: writing a file, and running it."""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch

from ulmkit.model.classifier import AWDLSTMClassifier
from ulmkit.model.heads import NumberHead
from ulmkit.portable.onnx_graph import build_onnx, check_packages
from ulmkit.portable.parity import Run
from ulmkit.portable.torch_program import PortableClassifier, export_program


@dataclass(frozen=True)
class Format:
    """A format of exported models.

    Attributes:
        title: Its name for people.
        file: Name of the file.
        check: Raises MissingPackageError unless its packages are installed.
        write: Writes a classifier, with the temperature of its probabilities, to a file.
        open: Opens a file, to be run on the CPU with the threads of this process; the names of the outputs are those
            of `output_names`.
    """

    title: str
    file: str
    check: Callable[[], None]
    write: Callable[[AWDLSTMClassifier, float, Path], None]
    open: Callable[[Path, list[str]], Run]


def output_names(model: AWDLSTMClassifier) -> list[str]:
    """Names of the outputs of an exported classifier, in order."""
    return ["prediction", *([] if isinstance(model.head, NumberHead) else ["logits"]), "new_state"]


def _write_onnx(model: AWDLSTMClassifier, temperature: float, path: Path) -> None:
    path.write_bytes(build_onnx(model, temperature).SerializeToString())


def _open_onnx(path: Path, names: list[str]) -> Run:
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = torch.get_num_threads()
    session = onnxruntime.InferenceSession(path, options, providers=["CPUExecutionProvider"])

    def run(ids: np.ndarray, lengths: np.ndarray, state: np.ndarray) -> dict[str, np.ndarray]:
        outputs = session.run(names, {"ids": ids, "lengths": lengths, "state": state})
        return dict(zip(names, outputs, strict=True))

    return run


def _write_torch(model: AWDLSTMClassifier, temperature: float, path: Path) -> None:
    torch.export.save(export_program(PortableClassifier(model, temperature)), path)


def _open_torch(path: Path, names: list[str]) -> Run:
    program = torch.export.load(path).module()

    def run(ids: np.ndarray, lengths: np.ndarray, state: np.ndarray) -> dict[str, np.ndarray]:
        with torch.no_grad():
            outputs = program(*(torch.from_numpy(np.ascontiguousarray(array)) for array in (ids, lengths, state)))
        return {name: tensor.numpy() for name, tensor in zip(names, outputs, strict=True)}

    return run


FORMATS = {
    "onnx": Format("ONNX", "model.onnx", check_packages, _write_onnx, _open_onnx),
    "torch": Format("torch.export", "model.pt2", lambda: None, _write_torch, _open_torch),
}
"""Formats by the name that users give."""
