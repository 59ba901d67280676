"""What the processor and the devices can do, read once."""

import functools
import platform
from pathlib import Path

import torch

from ulmkit.kernels.cuda.operators import constant_when_compiled


@functools.cache
def cpu_features() -> frozenset[str]:
    """Flags of the processor that matter for kernel choice, for example "avx2", "avx512_bf16", "amx_bf16".

    Empty where the system does not tell (only Linux's /proc/cpuinfo is read).
    """
    if platform.system() != "Linux":
        return frozenset()
    interesting = {"avx2", "fma", "avx512f", "avx512_bf16", "avx512_vnni", "amx_tile", "amx_bf16", "amx_int8"}
    for line in Path("/proc/cpuinfo").read_text(encoding="utf-8", errors="replace").splitlines():
        name, _, value = line.partition(":")
        if name.strip() in ("flags", "Features"):
            return frozenset(value.split()) & interesting
    return frozenset()


@constant_when_compiled
def bf16_pays(device: torch.device) -> tuple[bool, str]:
    """Whether bfloat16 matrix products are faster than float32 on `device`, and why."""
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
