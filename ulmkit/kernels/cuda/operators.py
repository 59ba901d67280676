"""Helpers of the operators that are registered with torch."""

from collections.abc import Callable
from functools import wraps
from typing import ParamSpec, TypeVar

import torch
from torch import Tensor

_Parameters = ParamSpec("_Parameters")
_Result = TypeVar("_Result")


def constant_when_compiled(function: Callable[_Parameters, _Result]) -> Callable[_Parameters, _Result]:
    """Make torch.compile call a function and treat its result as a constant, instead of tracing it.

    Equivalent to torch.compiler.assume_constant_result, which would load the compiler even if nothing is compiled.
    """
    function._dynamo_marked_constant = True  # type: ignore[attr-defined]
    return function


def without_autocast(function: Callable[_Parameters, _Result]) -> Callable[_Parameters, _Result]:
    """Disable autocast inside an operator, so that it computes in the types of its arguments."""

    @wraps(function)
    def run(*args: _Parameters.args, **kwargs: _Parameters.kwargs) -> _Result:
        device = next(value for value in args if isinstance(value, Tensor)).device.type
        with torch.autocast(device, enabled=False):
            return function(*args, **kwargs)

    return run
