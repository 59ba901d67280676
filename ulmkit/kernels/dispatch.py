"""The choice of backend and precision, and its reasons."""

from dataclasses import dataclass

import torch
from torch import Tensor

from ulmkit.config import BACKENDS, PRECISIONS, check_choice
from ulmkit.errors import ConfigError
from ulmkit.kernels.backend import Backend, Packed
from ulmkit.kernels.backends import FUSED_CPU, FUSED_CUDA, INT8, REFERENCE, STEPWISE, TORCH
from ulmkit.kernels.capabilities import bf16_pays, fused_path, int8_runs

_FUNCTION_BACKENDS = {backend.name: backend for backend in (TORCH, STEPWISE, REFERENCE)}


@dataclass(frozen=True)
class BackendStatus:
    """A backend as `ulmkit info` shows it.

    Attributes:
        name: Name of the backend.
        chosen: True if "auto" chooses it.
        available: True if it runs here.
        reason: Description, or why it is not available.
    """

    name: str
    chosen: bool
    available: bool
    reason: str


def choose_backend(backend: str, device: torch.device, dtype: torch.dtype) -> Backend:
    """The backend that a name or "auto" means for matmuls in `dtype` on `device`.

    Raises:
        ConfigError: If the name is unknown, or the backend does not run there: torch's kernels in bf16 on a CPU, and
            fused or int8 ones where there are none.
    """
    check_choice("backend", backend, ("auto", *BACKENDS, INT8.name))
    low_precision_cpu = device.type == "cpu" and dtype == torch.bfloat16
    if backend == "torch" and low_precision_cpu:
        raise ConfigError(
            "backend: torch's bf16 LSTM gives wrong gradients on CPUs with AMX; "
            "use backend='stepwise' or precision='fp32'"
        )
    if backend == "int8":
        runs, reason = int8_runs(device)
        if not runs:
            raise ConfigError(f"backend: 'int8' {reason}; use backend='auto'")
        return INT8
    path, reason = fused_path(device, dtype)
    if backend == "fused" and path is None:
        raise ConfigError(f"backend: 'fused' {reason}; use backend='auto'")
    if backend == "auto":
        # CUDA kernels have not been run on a GPU, and portable C++ has not been compared with torch's kernels on
        # processors that have nothing better: both must be asked for.
        if device.type == "cpu" and path not in (None, "portable"):
            backend = "fused"
        else:
            backend = "stepwise" if low_precision_cpu else "torch"
    if backend == "fused":
        return FUSED_CUDA if device.type == "cuda" else FUSED_CPU
    return _FUNCTION_BACKENDS[backend]


def pack(
    w_ih: Tensor,
    w_hh: Tensor,
    keep_bits: Tensor | None = None,
    keep_scale: float = 1.0,
    dtype: torch.dtype | None = None,
    backend: str = "auto",
) -> Packed:
    """Pack an LSTM layer's weights with a backend by name: `choose_backend` and `Backend.pack` in one call."""
    chosen = choose_backend(backend, w_ih.device, dtype or w_ih.dtype)
    return chosen.pack(w_ih, w_hh, keep_bits, keep_scale, dtype)


def choose_loop_backend(backend: str, cell: str) -> str:
    """The backend that a name or "auto" means for a cell that has no fused kernels: "stepwise" or "reference".

    Raises:
        ConfigError: If the name is unknown, or a backend's that only runs LSTMs.
    """
    check_choice("backend", backend, ("auto", *BACKENDS))
    if backend in ("fused", "torch"):
        raise ConfigError(
            f"backend: expected auto, stepwise or reference for the cell {cell!r}, got {backend!r}, whose kernels are "
            "the LSTM's; use backend='auto'"
        )
    return "stepwise" if backend == "auto" else backend


def choose_precision(precision: str, device: torch.device, parameter_dtype: torch.dtype) -> torch.dtype:
    """The type of activations and packed weights that "auto", "fp32" or "bf16" means on `device`.

    "fp32" keeps the parameters' own type, so that a model in float64 computes in float64; "auto" is bf16 where that is
    faster and the parameters are float32.

    Raises:
        ConfigError: If the precision is unknown, or bf16 and the parameters are not float32.
    """
    check_choice("precision", precision, PRECISIONS)
    if precision == "bf16" and parameter_dtype != torch.float32:
        raise ConfigError(f"precision: bf16 expects float32 parameters, got {parameter_dtype}; use precision='fp32'")
    if precision == "auto" and parameter_dtype == torch.float32 and bf16_pays(device)[0]:
        return torch.bfloat16
    return torch.bfloat16 if precision == "bf16" else parameter_dtype


def backend_statuses(device: torch.device, dtype: torch.dtype) -> list[BackendStatus]:
    """The status of every backend for matmuls in `dtype` on `device`."""
    chosen = choose_backend("auto", device, dtype).name
    path, fused_reason = fused_path(device, dtype)
    if device.type == "cuda":
        fused_reason += "; not yet run on a GPU, so it runs only if asked for"
    elif path == "portable":
        fused_reason += "; not compared with torch's on processors like this one, so it runs only if asked for"
    elif path == "amx_bf16":
        fused_reason += "; checked by emulation, not yet run on a processor that has it"
    torch_reason = f"torch's {'oneDNN' if device.type == 'cpu' else 'cuDNN'} kernels"
    if device.type == "cpu" and dtype == torch.bfloat16:
        torch_reason += ": not in bf16, where their gradients are wrong"
    reasons = {
        "fused": fused_reason,
        "torch": torch_reason,
        "stepwise": "one matmul per time step and a hand-written backward: bf16 on CPUs without fused kernels",
        "reference": "the formula as a plain loop: for tests",
    }
    return [
        BackendStatus(name, name == chosen, name != "fused" or path is not None, reasons[name]) for name in BACKENDS
    ]
