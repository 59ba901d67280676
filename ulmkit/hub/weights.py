"""Weights of a model folder, by name."""

from pathlib import Path

from torch import nn

from ulmkit.errors import FolderError
from ulmkit.tensors import load_tensors

WEIGHTS_FILE = "model.safetensors"
_NAMES_SHOWN = 5


def read_weights(path: Path, model: nn.Module) -> None:
    """Load a safetensors file into a model, strictly by name.

    Raises:
        FolderError: If the file is missing or truncated, or names or shapes do not match; lists those that differ.
    """
    tensors = load_tensors(path)
    expected = model.state_dict()
    missing = sorted(expected.keys() - tensors.keys())
    unexpected = sorted(tensors.keys() - expected.keys())
    if missing or unexpected:
        raise FolderError(
            f"{path}: weights do not match the model that config.json describes; "
            f"missing: {_listing(missing)}; unexpected: {_listing(unexpected)}"
        )
    shapes = [
        f"{name} {tuple(tensor.shape)} in place of {tuple(expected[name].shape)}"
        for name, tensor in tensors.items()
        if tensor.shape != expected[name].shape
    ]
    if shapes:
        raise FolderError(f"{path}: shapes do not match the model that config.json describes: {_listing(shapes)}")
    model.load_state_dict(tensors)


def _listing(names: list[str]) -> str:
    if not names:
        return "none"
    more = f" and {len(names) - _NAMES_SHOWN} more" if len(names) > _NAMES_SHOWN else ""
    return ", ".join(names[:_NAMES_SHOWN]) + more
