"""What the operators that are registered with torch have in common."""

from collections.abc import Callable
from functools import wraps
from typing import ParamSpec, TypeVar

import torch
from torch import Tensor

_Given = ParamSpec("_Given")
_Found = TypeVar("_Found")


def constant_when_compiled(function: Callable[_Given, _Found]) -> Callable[_Given, _Found]:
    """Have torch.compile call a function, and take what it gives as a constant, rather than read what it does.

    As torch.compiler.assume_constant_result, which would load the compiler where nothing is compiled; otherwise the
    function is called as ever.
    """
    function._dynamo_marked_constant = True  # type: ignore[attr-defined]
    return function


def without_autocast(function: Callable[_Given, _Found]) -> Callable[_Given, _Found]:
    """Have torch compute within an operator in the types that it is given, whatever is around it."""

    @wraps(function)
    def run(*args: _Given.args, **kwargs: _Given.kwargs) -> _Found:
        device = next(value for value in args if isinstance(value, Tensor)).device.type
        with torch.autocast(device, enabled=False):
            return function(*args, **kwargs)

    return run


def empty_row_major(like: Tensor) -> Tensor:
    """Room for a tensor of the same shape and type, row by row, as the kernels write it."""
    return torch.empty_like(like, memory_format=torch.contiguous_format)
