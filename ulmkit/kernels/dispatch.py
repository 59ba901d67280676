"""Which backend and which precision run, and why."""

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor

from ulmkit.config import check_choice
from ulmkit.errors import ConfigError
from ulmkit.kernels import reference, stepwise, torch_backend
from ulmkit.kernels.capabilities import bf16_pays
from ulmkit.kernels.cpu.library import choose_path
from ulmkit.kernels.cuda.launcher import cuda_runs
from ulmkit.kernels.cuda.operators import constant_when_compiled

LSTMFunction = Callable[[Tensor, Tensor, Tensor, Tensor, Tensor, Tensor, Tensor | None], tuple[Tensor, Tensor, Tensor]]

LSTM_FUNCTIONS: dict[str, LSTMFunction] = {
    "torch": torch_backend.lstm,
    "stepwise": stepwise.lstm,
    "reference": reference.lstm,
}
"""Backends that take weights as they are; "fused" has them laid out."""

BACKENDS = ("fused", *LSTM_FUNCTIONS)
PRECISIONS = ("auto", "fp32", "bf16")


@dataclass(frozen=True)
class BackendStatus:
    """A backend as `ulmkit info` shows it: whether "auto" chooses it, whether it is there, and why or why not."""

    name: str
    chosen: bool
    there: bool
    reason: str


def choose_backend(backend: str, device: torch.device, dtype: torch.dtype) -> str:
    """The backend that `backend` ("auto" or a name) means for products in `dtype` on `device`.

    Raises: ConfigError for an unknown name, for torch's kernels in bf16 on a CPU, and for fused ones where there are
        none.
    """
    check_choice("backend", backend, ("auto", *BACKENDS))
    low_precision_cpu = device.type == "cpu" and dtype == torch.bfloat16
    if backend == "torch" and low_precision_cpu:
        raise ConfigError(
            "backend: torch's bf16 LSTM gives wrong gradients on CPUs with AMX; "
            "use backend='stepwise' or precision='fp32'"
        )
    fused, reason = _fused_path(device, dtype)
    if backend == "fused" and fused is None:
        raise ConfigError(f"backend: 'fused' {reason}; use backend='auto'")
    if backend != "auto":
        return backend
    # Kernels for GPUs have not been run on one, and plain C++ has not been compared with torch's own on processors that
    # have nothing better: both are to be asked for.
    if fused not in (None, "portable") and device.type == "cpu":
        return "fused"
    return "stepwise" if low_precision_cpu else "torch"


def choose_loop_backend(backend: str, cell: str) -> str:
    """The backend that `backend` means for a cell without kernels of its own: a loop over whole blocks, on any device.

    Raises: ConfigError for an unknown name, and for kernels that are the LSTM's.
    """
    check_choice("backend", backend, ("auto", *BACKENDS))
    if backend in ("fused", "torch"):
        raise ConfigError(
            f"backend: expected auto, stepwise or reference for the cell {cell!r}, got {backend!r}, whose kernels are "
            "the LSTM's; use backend='auto'"
        )
    return "stepwise" if backend == "auto" else backend


@constant_when_compiled
def _fused_path(device: torch.device, dtype: torch.dtype) -> tuple[str | None, str]:
    """The fused kernels' path, and what it is or why there is none."""
    if device.type == "cuda":
        return cuda_runs(device, dtype)
    if device.type != "cpu":
        return None, f"has no kernels for {device.type}"
    return choose_path(dtype)


@constant_when_compiled
def fused_on_gpu(device: torch.device, dtype: torch.dtype, backend: str) -> bool:
    """Whether our own kernels for GPUs are asked for, and there are some for this device and type."""
    return device.type == "cuda" and backend == "fused" and cuda_runs(device, dtype)[0] is not None


def choose_precision(precision: str, device: torch.device, parameter_dtype: torch.dtype) -> torch.dtype:
    """The data type of activations and packed weights for `precision` ("auto", "fp32" or "bf16") on `device`.

    "fp32" keeps the parameters' own type, so that a model in float64 computes in float64; "auto" is bf16 where that is
    faster and the parameters are float32.

    Raises: ConfigError for an unknown precision, and for bf16 on parameters that are not float32.
    """
    check_choice("precision", precision, PRECISIONS)
    if precision == "bf16" and parameter_dtype != torch.float32:
        raise ConfigError(f"precision: bf16 expects float32 parameters, got {parameter_dtype}; use precision='fp32'")
    if precision == "auto" and parameter_dtype == torch.float32 and bf16_pays(device)[0]:
        return torch.bfloat16
    return torch.bfloat16 if precision == "bf16" else parameter_dtype


def backend_statuses(device: torch.device, dtype: torch.dtype) -> list[BackendStatus]:
    """Every backend, whether "auto" chooses it for products in `dtype` on `device`, and why."""
    chosen = choose_backend("auto", device, dtype)
    torch_reason = {
        ("cpu", False): "torch's oneDNN kernels",
        ("cpu", True): "torch's oneDNN kernels: not in bf16, where their gradients are wrong",
    }.get((device.type, dtype == torch.bfloat16), "torch's cuDNN kernels")
    path, reason = _fused_path(device, dtype)
    if device.type == "cuda":
        reason += "; not yet run on a GPU, so it is to be asked for"
    elif path == "portable":
        reason += "; not compared with torch's on processors like this one, so it is to be asked for"
    elif path == "amx_bf16":
        reason += "; checked by emulation, not yet run on a processor that has it"
    reasons = {
        "fused": reason,
        "torch": torch_reason,
        "stepwise": "a product a time step and a backward of our own: bf16 on CPUs without fused kernels",
        "reference": "the formula as a plain loop: for tests",
    }
    there = {"fused": path is not None}
    return [BackendStatus(name, name == chosen, there.get(name, True), reasons[name]) for name in BACKENDS]
