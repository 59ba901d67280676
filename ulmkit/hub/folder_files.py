"""The files of a model folder: checksums, and weights by name."""

import os
from collections.abc import Mapping
from pathlib import Path, PurePosixPath
from typing import Any

from torch import Tensor, nn

from ulmkit.errors import FolderError
from ulmkit.files import atomic_write, sha256_file

WEIGHTS_FILE = "model.safetensors"
_NAMES_SHOWN = 5


def list_files(folder: Path) -> dict[str, dict[str, Any]]:
    """SHA-256 and size of each file under `folder`, by its path with forward slashes."""
    names = sorted(path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file())
    return {name: {"sha256": sha256_file(folder / name), "bytes": (folder / name).stat().st_size} for name in names}


def check_files(folder: Path, files: Mapping[str, Mapping[str, Any]]) -> None:
    """Raise FolderError, naming the file, unless each is there with its size and SHA-256."""
    for name, expected in files.items():
        path = folder / _inside(folder, name)
        if not isinstance(expected, Mapping) or not {"sha256", "bytes"} <= expected.keys():
            raise FolderError(f"{folder / 'config.json'}: expected sha256 and bytes for {name!r}, got {expected!r}")
        if not path.is_file():
            raise FolderError(f"{path}: no such file, but config.json lists it; copy the model folder again, whole")
        size = path.stat().st_size
        if size != expected["bytes"]:
            raise FolderError(
                f"{path}: expected {expected['bytes']} bytes, got {size}; the file is truncated or was altered, "
                "copy the model folder again"
            )
        if sha256_file(path) != expected["sha256"]:
            raise FolderError(f"{path}: its SHA-256 is not the recorded one; the file was altered, copy it again")


def _inside(folder: Path, name: str) -> str:
    path = PurePosixPath(name)
    if path.is_absolute() or ".." in path.parts:
        raise FolderError(f"{folder / 'config.json'}: expected file names inside the folder, got {name!r}")
    return name


def write_weights(path: str | os.PathLike[str], model: nn.Module) -> None:
    """Write all parameters and buffers of `model`, by name, as safetensors."""
    from safetensors.torch import save

    tensors = {name: tensor.detach().cpu().contiguous() for name, tensor in model.state_dict().items()}
    with atomic_write(path, "wb") as file:
        file.write(save(tensors))


def read_weights(path: str | os.PathLike[str], model: nn.Module) -> None:
    """Put the weights of a safetensors file into `model`.

    Raises: FolderError listing missing and unexpected names, or the names whose shape differs, with both shapes.
    """
    from safetensors import SafetensorError
    from safetensors.torch import load_file

    try:
        tensors: dict[str, Tensor] = load_file(path)
    except SafetensorError as error:
        raise FolderError(f"{path}: not a safetensors file ({error}); it is truncated or was altered") from error
    expected = model.state_dict()
    missing, unexpected = sorted(expected.keys() - tensors.keys()), sorted(tensors.keys() - expected.keys())
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
