"""Checkpoints in safetensors and JSON: complete or absent, and nothing pickled.

A run's folder holds `checkpoint-00000120/`, and the one before in case that one is damaged, with
    model.safetensors   the model's state dict
    state.safetensors   every other tensor: optimizer, task, random number generators
    state.json          format version, checksums, and everything that is not a tensor
The folder appears under its name only when it is complete, and only then are older ones removed.
"""

import os
import re
import shutil
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from ulmkit.errors import FolderError
from ulmkit.files import fingerprint, read_json, sha256_file
from ulmkit.safe_writes import atomic_folder, remove_leftovers, write_json
from ulmkit.tensors import check_finite, load_tensors, save_tensors

FORMAT_VERSION = 2
_TENSOR = "$tensor"
_FILES = ("model.safetensors", "state.safetensors")
STATE_FILE = "state.json"
_NAME = re.compile(r"checkpoint-\d{8,}")


@dataclass(frozen=True)
class Checkpoint:
    """Contents of a checkpoint.

    Attributes:
        model: State dict of the model.
        state: Tree of dicts and lists over tensors, numbers, strings and None.
    """

    model: dict[str, torch.Tensor]
    state: dict[str, Any]


def save_checkpoint(folder: str | os.PathLike[str], step: int, checkpoint: Checkpoint) -> Path:
    """Write `folder`/checkpoint-STEP, then remove older ones but the last, and what killed processes left half-written.

    Args:
        folder: Folder of the run.
        step: Optimizer steps so far.
        checkpoint: Contents to write.

    Returns:
        The checkpoint's folder.

    Raises:
        FolderError: If it cannot be written or the disk is full.
        TypeError: If the state holds anything else than tensors and JSON values.
    """
    final = Path(folder) / f"checkpoint-{step:08d}"
    tensors: dict[str, torch.Tensor] = {}
    tree = _take_tensors(checkpoint.state, "", tensors)
    with atomic_folder(final, overwrite=True) as temporary:
        save_tensors(temporary / _FILES[0], checkpoint.model)
        save_tensors(temporary / _FILES[1], tensors)
        checksums = {name: sha256_file(temporary / name) for name in _FILES}
        document = {"format_version": FORMAT_VERSION, "sha256": checksums, "state": tree}
        write_json(temporary / STATE_FILE, document | {"fingerprint": fingerprint(document)})
    earlier = [path for path in checkpoints(folder) if path != final]
    for path in earlier[:-1]:
        shutil.rmtree(path, ignore_errors=True)
    remove_leftovers(Path(folder), _NAME.pattern)
    return final


def load_checkpoint(path: str | os.PathLike[str]) -> Checkpoint:
    """Read a checkpoint's folder, with its tensors on the CPU.

    Raises:
        FolderError: If it is missing, truncated, altered, incomplete, or of another format version.
    """
    path = Path(path)
    document = read_json(path / STATE_FILE)
    if not isinstance(document, dict) or "format_version" not in document:
        raise FolderError(f"{path / STATE_FILE}: expected a checkpoint's state, got something else; is it altered?")
    if document["format_version"] != FORMAT_VERSION:
        raise FolderError(
            f"{path}: expected format version {FORMAT_VERSION}, got {document['format_version']!r:.60};"
            " remove it and begin anew"
        )
    if document.pop("fingerprint", None) != fingerprint(document):
        raise FolderError(f"{path / STATE_FILE}: its fingerprint is wrong; the file was altered")
    with clear_state_errors(path):
        for name in _FILES:
            if not (path / name).exists():
                raise FolderError(f"{path / name}: no such file; the checkpoint is incomplete")
            if sha256_file(path / name) != document["sha256"][name]:
                raise FolderError(f"{path / name}: its checksum is wrong; the file is truncated or was altered")
        model = load_tensors(path / _FILES[0])
        check_finite(path / _FILES[0], model)
        tensors = load_tensors(path / _FILES[1])
        check_finite(path / _FILES[1], tensors)
        return Checkpoint(model, _put_tensors(document["state"], tensors))


def latest_checkpoint(folder: str | os.PathLike[str]) -> Path | None:
    """Return the newest checkpoint in a run's folder, or None."""
    paths = checkpoints(folder)
    return paths[-1] if paths else None


def checkpoints(folder: str | os.PathLike[str]) -> list[Path]:
    """List the checkpoints in a run's folder, the newest last."""
    paths = (path for path in Path(folder).glob("checkpoint-*") if _NAME.fullmatch(path.name))
    return sorted(paths, key=lambda path: int(path.name.rpartition("-")[2]))


@contextmanager
def clear_state_errors(path: Path) -> Iterator[None]:
    """Turn what goes wrong with the contents of `path` into a FolderError that names the file and the key or value."""
    try:
        yield
    except KeyError as error:
        raise FolderError(f"{path}: expected {error} in it, got none; remove it and begin anew") from error
    except (ArithmeticError, AttributeError, IndexError, RuntimeError, TypeError, ValueError) as error:
        reason = " ".join(str(error).split())
        raise FolderError(f"{path}: does not hold the state of a run ({reason}); remove it and begin anew") from error


def _take_tensors(tree: Any, where: str, tensors: dict[str, torch.Tensor]) -> Any:
    """Move the tensors of a tree to `tensors` and return the tree with references to them."""
    if isinstance(tree, torch.Tensor):
        tensors[where] = tree
        return {_TENSOR: where}
    if isinstance(tree, Mapping):
        for key in tree:
            if not isinstance(key, str):
                raise TypeError(f"checkpoint{where}: expected dict keys to be strings, got {key!r}")
        return {key: _take_tensors(value, f"{where}/{key}", tensors) for key, value in tree.items()}
    if isinstance(tree, list | tuple):
        return [_take_tensors(value, f"{where}/{index}", tensors) for index, value in enumerate(tree)]
    if tree is None or isinstance(tree, bool | int | float | str):
        return tree
    raise TypeError(f"checkpoint{where}: expected tensors, numbers, strings, lists, dicts or None, got {type(tree)}")


def _put_tensors(tree: Any, tensors: dict[str, torch.Tensor]) -> Any:
    """Return a tree from `_take_tensors` with its tensors in place."""
    if isinstance(tree, dict):
        if set(tree) == {_TENSOR}:
            return tensors[tree[_TENSOR]]
        return {key: _put_tensors(value, tensors) for key, value in tree.items()}
    if isinstance(tree, list):
        return [_put_tensors(value, tensors) for value in tree]
    return tree
