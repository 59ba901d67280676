"""Reading of pickles that others wrote, without running anything in them.

Weights are read by `torch.load(weights_only=True)`, vocabularies by an unpickler of lists, dicts, text and numbers.
Both refuse every other class and function by name, before it is imported.
"""

import io
import pickle
import pickletools
import re
import threading
import warnings
import zipfile
from collections import OrderedDict
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from ulmkit.errors import FolderError
from ulmkit.files import clear_read_errors, read_bytes
from ulmkit.tensors import check_finite

MAX_CONTAINERS = 1000
"""Lists, dicts and objects in a pickle of a vocabulary, at most: fastai's have three to ten.

It also bounds how deep they are nested, on which Python's hash and comparison would otherwise overflow the stack.
"""

_NO_CONTAINER = """
    PROTO FRAME STOP MARK NONE NEWTRUE NEWFALSE INT BININT BININT1 BININT2 LONG LONG1 LONG4 FLOAT BINFLOAT UNICODE
    BINUNICODE SHORT_BINUNICODE BINUNICODE8 APPEND APPENDS SETITEM SETITEMS PUT BINPUT LONG_BINPUT MEMOIZE GET BINGET
    LONG_BINGET
"""
_FLAT = frozenset(_NO_CONTAINER.split())
"""Instructions of a pickle that make no container."""

_MEMO = ("PUT", "BINPUT", "LONG_BINPUT")
"""Instructions that number an object: the unpickler takes memory for all numbers below."""


class InertObject:
    """Stand-in for an object of another library: its state as it was saved, and none of its code."""

    state: object = None

    def __new__(cls, *_: object) -> "InertObject":
        """Ignore what the object was made from."""
        return super().__new__(cls)

    def __setstate__(self, state: object) -> None:
        self.state = state


_CLASSES: dict[tuple[str, str], Callable[..., Any]] = {
    ("collections", "OrderedDict"): OrderedDict,
    ("fastcore.foundation", "L"): InertObject,
    ("fastai.data.transforms", "CategoryMap"): InertObject,
}
"""Classes that vocabularies of fastai 2 name; those of fastai 1 name none."""

_IN_OPTIMIZERS = (
    "fastcore.foundation.L",
    "numpy.dtype",
    "numpy.core.multiarray.scalar",
    "numpy._core.multiarray.scalar",
)
"""Classes and functions in the optimizer's state, which `learn.save` writes beside the weights."""

_SAFE_GLOBALS: list[Callable[..., Any] | tuple[Callable[..., Any], str]] = [
    (InertObject, name) for name in _IN_OPTIMIZERS
]
_safe_globals_lock = threading.Lock()

_NAMED = re.compile(r"GLOBAL ([\w.<>]+)")
_ADVICE = "save them with learn.save('weights', with_opt=False)"


class _Unpickler(pickle.Unpickler):
    def __init__(self, path: Path, content: bytes) -> None:
        super().__init__(io.BytesIO(content))
        self._path = path

    def find_class(self, module: str, name: str) -> Callable[..., Any]:
        if (module, name) not in _CLASSES:
            named = f"{module}.{name}"
            raise FolderError(
                f"{self._path}: expected a list of tokens, got a pickle that names {named!r:.80}, which was not run; "
                "in fastai, write pickle.dump(list(vocab), file)"
            )
        return _CLASSES[module, name]


def read_values(path: Path) -> object:
    """Read a pickle of lists, tuples, dicts, text and numbers.

    Args:
        path: The file.

    Returns:
        The value, in which objects of fastai are `InertObject`.

    Raises:
        FolderError: If the file is missing, truncated, no pickle, nested too deep, or names anything else.
    """
    content = read_bytes(path)
    try:
        _check_instructions(path, content)
        return _Unpickler(path, content).load()
    except FolderError:
        raise
    except Exception as error:  # damaged bytes raise whatever the unpickler stumbles over
        raise FolderError(
            f"{path}: expected a pickle, got something else or a part of one ({_reason(error)})"
        ) from error


def _check_instructions(path: Path, content: bytes) -> None:
    """Raise FolderError for a pickle that would fill the memory or the stack."""
    containers = 0
    for instruction, argument, _ in pickletools.genops(content):
        if instruction.name not in _FLAT:
            containers += 1
        place = int(argument or 0) if instruction.name in _MEMO else 0
        if containers > MAX_CONTAINERS or place > len(content):
            raise FolderError(f"{path}: expected a list of tokens, got a pickle of more than {MAX_CONTAINERS} objects")


def read_tensors(path: Path) -> dict[str, Tensor]:
    """Read the weights that `learn.save`, `learn.save_encoder` or `torch.save(model.state_dict())` wrote.

    Args:
        path: The file, in torch's format of today or of before 1.6.

    Returns:
        Tensors by name, float32 on the CPU.

    Raises:
        FolderError: If the file is missing, truncated, no file of weights, or names anything but tensors.
    """
    with clear_read_errors(path):
        _check_stored(path)
    content = _load(path)
    if isinstance(content, Mapping) and isinstance(content.get("model"), Mapping):
        content = content["model"]
    if not isinstance(content, Mapping) or not content:
        raise FolderError(f"{path}: expected weights by name, got {type(content).__name__}; {_ADVICE}")
    tensors = {name: _checked(path, name, value) for name, value in content.items()}
    check_finite(path, tensors)
    return tensors


def _load(path: Path) -> object:
    # torch keeps the list of safe classes in a global: without the lock, one thread would remove another's.
    with _safe_globals_lock, torch.serialization.safe_globals(_SAFE_GLOBALS), warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of pickle protocols, to those who write them
        try:
            return torch.load(path, map_location="cpu", weights_only=True)
        except Exception as error:  # damaged bytes raise whatever torch stumbles over
            named = _NAMED.search(str(error))
            if named is None:
                raise FolderError(
                    f"{path}: expected a file of weights, got something else or a part of one ({_reason(error)})"
                ) from error
            what = "an exported learner" if "fastai" in named[1] or "functools" in named[1] else "a pickle"
            raise FolderError(
                f"{path}: expected weights alone, got {what} that names {named[1]!r:.80}, which was not run; "
                f"load it in fastai, and {_ADVICE}"
            ) from error


def _check_stored(path: Path) -> None:
    """Raise FolderError for a ZIP archive with compressed entries: torch writes none, and they could be of any size."""
    if not zipfile.is_zipfile(path):
        return
    try:
        with zipfile.ZipFile(path) as archive:
            entries = archive.infolist()
    except (zipfile.BadZipFile, ValueError, NotImplementedError) as error:
        raise FolderError(f"{path}: expected a file of weights, got a damaged archive ({_reason(error)})") from error
    if any(entry.compress_type != zipfile.ZIP_STORED for entry in entries):
        raise FolderError(f"{path}: expected a file that torch.save wrote, got a compressed archive; {_ADVICE}")


def _checked(path: Path, name: object, value: object) -> Tensor:
    """A plain tensor whose values are all in the file, in float32 if they are numbers with a fraction."""
    is_plain = (
        isinstance(name, str)
        and type(value) in (Tensor, torch.nn.Parameter)
        and isinstance(value, Tensor)
        and value.layout == torch.strided
        and value.device.type == "cpu"
        and not value.is_quantized
        and not value.is_complex()
    )
    if not is_plain or not isinstance(value, Tensor):
        raise FolderError(f"{path}: expected tensors by name, got {type(value).__name__} for {name!r:.60}; {_ADVICE}")
    if value.numel() * value.element_size() > value.untyped_storage().nbytes():
        raise FolderError(f"{path}: expected all values of {name!r:.60}, got a part of them; the file was altered")
    tensor = value.detach()
    return tensor.to(torch.float32).contiguous() if tensor.is_floating_point() else tensor


def _reason(error: BaseException) -> str:
    """Say in a few words what went wrong; torch puts that after advice of its own."""
    message = str(error).partition("WeightsUnpickler error:")[2] or str(error)
    return (message.strip() or type(error).__name__).splitlines()[0][:100]
