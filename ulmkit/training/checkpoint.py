"""Checkpoints: safetensors and JSON, whole or not at all, nothing pickled.

A run's folder holds `checkpoint-00000120/` (the newest alone) with
    model.safetensors   the model's state dict
    state.safetensors   every other tensor: optimizer, task, random-number generators
    state.json          format version, checksums, and all that is no tensor
The folder appears under its name only when it is complete, and the one before it goes only after that.
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
from safetensors import SafetensorError, safe_open
from safetensors.torch import load_file, save

from ulmkit.errors import FolderError
from ulmkit.files import atomic_folder, atomic_write, fingerprint, read_json, sha256_file, write_json

FORMAT_VERSION = 2
_TENSOR = "$tensor"
_ALIAS = "alias:"
_FILES = ("model.safetensors", "state.safetensors")


@dataclass(frozen=True)
class Checkpoint:
    """model: its state dict. state: a tree of dicts and lists over tensors, numbers, strings, None."""

    model: dict[str, torch.Tensor]
    state: dict[str, Any]


def save_checkpoint(folder: str | os.PathLike[str], step: int, checkpoint: Checkpoint) -> Path:
    """Write `folder`/checkpoint-STEP, then remove older ones.

    Args: folder: of the run. step: optimizer steps so far.
    Returns: the checkpoint's own folder.
    Raises: FolderError if it cannot be written or the disk is full; TypeError if the state holds anything else.
    """
    final = Path(folder) / f"checkpoint-{step:08d}"
    tensors: dict[str, torch.Tensor] = {}
    tree = _take_tensors(checkpoint.state, "", tensors)
    with atomic_folder(final, overwrite=True) as temporary:
        save_tensors(temporary / _FILES[0], checkpoint.model)
        save_tensors(temporary / _FILES[1], tensors)
        checksums = {name: sha256_file(temporary / name) for name in _FILES}
        document = {"format_version": FORMAT_VERSION, "sha256": checksums, "state": tree}
        write_json(temporary / "state.json", document | {"fingerprint": fingerprint(document)})
    for other in _checkpoints(Path(folder)):
        if other != final:
            shutil.rmtree(other, ignore_errors=True)
    return final


def load_checkpoint(path: str | os.PathLike[str]) -> Checkpoint:
    """Read a checkpoint's own folder; tensors come on the CPU.

    Raises: FolderError if it is missing, truncated, altered, of another format version, or lacks something.
    """
    path = Path(path)
    document = read_json(path / "state.json")
    if not isinstance(document, dict) or "format_version" not in document:
        raise FolderError(f"{path / 'state.json'}: expected a checkpoint's state, got something else; is it altered?")
    if document["format_version"] != FORMAT_VERSION:
        raise FolderError(
            f"{path}: expected format version {FORMAT_VERSION}, got {document['format_version']!r};"
            " remove it and begin anew"
        )
    if document.pop("fingerprint", None) != fingerprint(document):
        raise FolderError(f"{path / 'state.json'}: its fingerprint is wrong; the file was altered")
    with clear_missing_keys(path):
        for name in _FILES:
            if not (path / name).is_file():
                raise FolderError(f"{path / name}: no such file; the checkpoint is incomplete")
            if sha256_file(path / name) != document["sha256"][name]:
                raise FolderError(f"{path / name}: its checksum is wrong; the file is truncated or was altered")
        tensors = load_tensors(path / _FILES[1])
        return Checkpoint(load_tensors(path / _FILES[0]), _put_tensors(document["state"], tensors))


def latest_checkpoint(folder: str | os.PathLike[str]) -> Path | None:
    """The newest checkpoint in a run's folder, or None if there is none."""
    found = _checkpoints(Path(folder))
    return found[-1] if found else None


def save_tensors(path: Path, tensors: Mapping[str, torch.Tensor], metadata: Mapping[str, str] | None = None) -> None:
    """Write tensors as safetensors, atomically; a tensor that has several names is written once.

    Args: tensors: by name. metadata: more lines for the file's header.
    Raises: FolderError if the file cannot be written or the disk is full.
    """
    kept: dict[str, torch.Tensor] = {}
    seen: dict[tuple[Any, ...], str] = {}
    header = dict(metadata or {})
    for name, tensor in tensors.items():
        place = (tensor.data_ptr(), tuple(tensor.shape), tensor.stride(), tensor.dtype)
        if tensor.numel() and place in seen:
            header[_ALIAS + name] = seen[place]
            continue
        seen[place] = name
        kept[name] = tensor.detach().to("cpu").contiguous()
    storages = [tensor.untyped_storage().data_ptr() for tensor in kept.values() if tensor.numel()]
    if len(set(storages)) != len(storages):  # views of one storage: safetensors wants each by itself
        kept = {name: tensor.clone() for name, tensor in kept.items()}
    with atomic_write(path, "wb") as file:
        file.write(save(kept, header or None))


def load_tensors(path: Path) -> dict[str, torch.Tensor]:
    """Read what `save_tensors` wrote, a tensor under each of its names.

    Raises: FolderError if the file is missing, truncated or not safetensors.
    """
    tensors, header = {}, read_header(path)
    with _clear_read_errors(path):
        tensors = load_file(path)
    aliases = {key.removeprefix(_ALIAS): name for key, name in header.items() if key.startswith(_ALIAS)}
    return tensors | {alias: tensors[name] for alias, name in aliases.items()}


def read_header(path: Path) -> dict[str, str]:
    """The metadata lines of a safetensors file. Raises: FolderError as `load_tensors`."""
    with _clear_read_errors(path), safe_open(path, framework="pt") as file:
        return dict(file.metadata() or {})


@contextmanager
def clear_missing_keys(path: Path) -> Iterator[None]:
    """While what was read from `path` is taken apart, a key that is not there raises a FolderError that says so."""
    try:
        yield
    except KeyError as error:
        raise FolderError(f"{path}: expected {error} in it, got none; remove it and begin anew") from error


@contextmanager
def _clear_read_errors(path: Path) -> Iterator[None]:
    try:
        yield
    except FileNotFoundError as error:
        raise FolderError(f"{path}: no such file; is the folder complete?") from error
    except SafetensorError as error:
        raise FolderError(f"{path}: not valid safetensors ({error}); the file is truncated or was altered") from error


def _checkpoints(folder: Path) -> list[Path]:
    if not folder.is_dir():
        return []
    return sorted(path for path in folder.iterdir() if re.fullmatch(r"checkpoint-\d{8,}", path.name))


def _take_tensors(tree: Any, where: str, tensors: dict[str, torch.Tensor]) -> Any:
    """The tree with each tensor replaced by a reference, and moved to `tensors`."""
    if isinstance(tree, torch.Tensor):
        tensors[where] = tree
        return {_TENSOR: where}
    if isinstance(tree, Mapping):
        return {_key(key, where): _take_tensors(value, f"{where}/{key}", tensors) for key, value in tree.items()}
    if isinstance(tree, list | tuple):
        return [_take_tensors(value, f"{where}/{index}", tensors) for index, value in enumerate(tree)]
    if tree is None or isinstance(tree, bool | int | float | str):
        return tree
    raise TypeError(f"checkpoint{where}: expected tensors, numbers, strings, lists, dicts or None, got {type(tree)}")


def _key(key: Any, where: str) -> str:
    if not isinstance(key, str):
        raise TypeError(f"checkpoint{where}: expected dict keys to be strings, got {key!r}")
    return key


def _put_tensors(tree: Any, tensors: dict[str, torch.Tensor]) -> Any:
    if isinstance(tree, dict):
        if set(tree) == {_TENSOR}:
            return tensors[tree[_TENSOR]]
        return {key: _put_tensors(value, tensors) for key, value in tree.items()}
    if isinstance(tree, list):
        return [_put_tensors(value, tensors) for value in tree]
    return tree
