"""Safetensors files of torch tensors: written atomically, read with errors that name the file."""

from collections.abc import Container, Mapping
from pathlib import Path
from typing import Any

import torch
from safetensors import safe_open
from safetensors.torch import load_file, save

from ulmkit.arrays import not_finite, read_header, safetensors_file
from ulmkit.errors import FolderError
from ulmkit.safe_writes import atomic_write

_ALIAS = "alias:"
_DTYPES = (
    torch.float64,
    torch.float32,
    torch.float16,
    torch.bfloat16,
    torch.int64,
    torch.int32,
    torch.int16,
    torch.int8,
    torch.uint8,
    torch.bool,
)


def save_tensors(path: Path, tensors: Mapping[str, torch.Tensor], metadata: Mapping[str, str] | None = None) -> None:
    """Write tensors as safetensors, atomically; a tensor that has several names is stored once.

    Args:
        path: File to write.
        tensors: Tensors by name.
        metadata: Further entries of the file's header.

    Raises:
        FolderError: If the file cannot be written, the path is a pipe or a device, or the disk is full.
    """
    stored: dict[str, torch.Tensor] = {}
    names: dict[tuple[Any, ...], str] = {}
    header = dict(metadata or {})
    for name, tensor in tensors.items():
        place = (tensor.data_ptr(), tuple(tensor.shape), tensor.stride(), tensor.dtype)
        if tensor.numel() and place in names:
            header[_ALIAS + name] = names[place]
            continue
        names[place] = name
        stored[name] = tensor.detach().to("cpu").contiguous()
    storages = [tensor.untyped_storage().data_ptr() for tensor in stored.values() if tensor.numel()]
    if len(set(storages)) != len(storages):  # safetensors refuses views of one storage
        stored = {name: tensor.clone() for name, tensor in stored.items()}
    with atomic_write(path, "wb", streams=False) as file:
        file.write(save(stored, header or None))


def load_tensors(path: Path) -> dict[str, torch.Tensor]:
    """Read a file from `save_tensors`, with every tensor under each of its names, on the CPU.

    Raises:
        FolderError: If the file is missing, truncated or not safetensors, or numbers are of a type, such as float8 or
            complex, that no model has.
    """
    with safetensors_file(path) as readable:
        tensors = load_file(readable)
        for name, tensor in tensors.items():
            if tensor.dtype not in _DTYPES:
                raise TypeError(f"{name!r} is {tensor.dtype}")
    return tensors | {alias: tensors[stored] for alias, stored in _aliases(path, read_header(path), tensors).items()}


def load_shapes(path: Path) -> dict[str, tuple[int, ...]]:
    """Read the shape of every tensor of a file from `save_tensors`, without the tensors.

    Raises:
        FolderError: If the file is missing, truncated or not safetensors.
    """
    with safetensors_file(path) as readable, safe_open(readable, framework="pt") as file:
        shapes = {name: tuple(file.get_slice(name).get_shape()) for name in file.keys()}  # noqa: SIM118
    return shapes | {alias: shapes[stored] for alias, stored in _aliases(path, read_header(path), shapes).items()}


def _aliases(path: Path, header: Mapping[str, str], names: Container[str]) -> dict[str, str]:
    """Further names of tensors, each with the name under which the tensor is stored."""
    aliases = {key.removeprefix(_ALIAS): name for key, name in header.items() if key.startswith(_ALIAS)}
    for alias, name in aliases.items():
        if name not in names:
            raise FolderError(f"{path}: {alias!r} is another name of {name!r}, which is not there; it was altered")
    return aliases


def check_finite(path: Path, tensors: Mapping[str, torch.Tensor]) -> None:
    """Raise FolderError if a tensor from a file has a value that is NaN or infinite, naming the tensor."""
    for name, tensor in tensors.items():
        # The sum is quick, and is finite only if all values are; it may overflow where all are.
        if tensor.is_floating_point() and not tensor.sum().isfinite() and not tensor.isfinite().all():
            raise not_finite(path, name)
