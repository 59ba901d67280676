"""Capabilities of the processor and the devices."""

import functools
import platform
from pathlib import Path

import torch

from ulmkit.kernels.cpu.library import choose_path
from ulmkit.kernels.cuda.launcher import cuda_runs
from ulmkit.kernels.cuda.operators import constant_when_compiled


@functools.cache
def cpu_features() -> frozenset[str]:
    """CPU flags that matter for the choice of kernels, for example "avx2", "avx512_bf16" or "amx_bf16".

    Only Linux's /proc/cpuinfo is read; elsewhere the set is empty.
    """
    if platform.system() != "Linux":
        return frozenset()
    relevant = {"avx2", "fma", "avx512f", "avx512_bf16", "avx512_vnni", "amx_tile", "amx_bf16", "amx_int8"}
    for line in Path("/proc/cpuinfo").read_text(encoding="utf-8", errors="replace").splitlines():
        name, _, value = line.partition(":")
        if name.strip() in ("flags", "Features"):
            return frozenset(value.split()) & relevant
    return frozenset()


@constant_when_compiled
def bf16_pays(device: torch.device) -> tuple[bool, str]:
    """True if bfloat16 matmuls are faster than float32 ones on a device, and the reason."""
    if device.type == "cuda":
        major, minor = torch.cuda.get_device_capability(device)
        return major >= 8, f"compute capability {major}.{minor}" + ("" if major >= 8 else " has no bf16 tensor cores")
    if device.type != "cpu":
        return False, f"not measured on device type {device.type!r}"
    if "amx_bf16" in cpu_features():
        return True, "the processor has AMX bf16 tiles"
    if "avx512_bf16" in cpu_features():
        return True, "the processor has AVX-512 bf16 dot products"
    return False, "the processor has neither AMX nor AVX-512 bf16 products"


@constant_when_compiled
def fused_path(device: torch.device, dtype: torch.dtype) -> tuple[str | None, str]:
    """The path that the fused kernels take for a device and type, and its description; None and why there is none."""
    if device.type == "cuda":
        return cuda_runs(device, dtype)
    if device.type != "cpu":
        return None, f"has no kernels for {device.type}"
    return choose_path(dtype)


@constant_when_compiled
def fused_on_gpu(device: torch.device, dtype: torch.dtype, backend: str) -> bool:
    """True if `backend` asks for our own CUDA kernels and there are some for this device and type."""
    return device.type == "cuda" and backend == "fused" and cuda_runs(device, dtype)[0] is not None


def int8_runs(device: torch.device) -> tuple[bool, str]:
    """True if int8 weights are multiplied as int8 on a device, and by what; False and why not."""
    path, reason = choose_path(torch.int8) if device.type == "cpu" else (None, f"has no kernels for {device.type}")
    return path is not None, reason
