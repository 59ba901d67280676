"""The command that shows the shipped models, and the backends and precisions of this machine."""

from pathlib import Path
from typing import TYPE_CHECKING, Any

import ulmkit
from ulmkit.cli.option_groups import MACHINE_WITHOUT_BACKEND, Machine, with_groups
from ulmkit.cli.summary import summarise
from ulmkit.pipeline.options import choose_device

if TYPE_CHECKING:
    import torch


@with_groups(machine=MACHINE_WITHOUT_BACKEND)
def info_command(machine: Machine) -> None:
    """Show shipped models, and which kernels run here.

    Example: ulmkit info
    """
    import torch

    from ulmkit.cache_folder import default_cache
    from ulmkit.hub import shipped_models
    from ulmkit.hub.facts import package_versions
    from ulmkit.kernels import PRECISIONS, backend_statuses, bf16_pays, choose_precision, int8_runs

    device = choose_device(machine.run.device)
    chosen = choose_precision(machine.run.precision, device, torch.float32)
    summary: dict[str, Any] = {
        "ulmkit": ulmkit.__version__,
        "packages": ", ".join(f"{name} {version}" for name, version in package_versions().items() if name != "ulmkit"),
        "device": f"{device} ({_device_name(device)})",
        "threads": torch.get_num_threads(),
        "cache": str(default_cache()),
    }
    for name in PRECISIONS[1:]:
        dtype = choose_precision(name, device, torch.float32)
        reason = f": {bf16_pays(device)[1]}" if name == "bf16" else ""
        summary[f"precision {name}"] = ("chosen" if dtype == chosen else "available") + reason
    runs, reason = int8_runs(device)
    summary["weights int8"] = f"{'available' if runs else 'not available'}: {reason}"
    for status in backend_statuses(device, chosen):
        summary[f"backend {status.name}"] = (
            f"{'chosen' if status.chosen else 'available' if status.available else 'not available'}: {status.reason}"
        )
    values = {name.replace(" ", "_"): value for name, value in summary.items()}
    models = [describe_shipped_model(name, folder) for name, folder in shipped_models().items()]
    for model in models:
        summary[f"model {model['name']}"] = (
            f"shipped: {' and '.join(model['directions'])}, {model['megabytes']:.1f} MB, "
            f"vocabulary of {model['vocabulary']:,} ({model['tokenizer']})"
        )
    if not models:
        summary["models"] = "none shipped"
    summarise(summary, machine.json_file, values | {"shipped_models": models})


def describe_shipped_model(name: str, folder: Path) -> dict[str, Any]:
    """Directions, size and vocabulary of a shipped model, read without its weights."""
    from ulmkit.hub import is_pair, read_config
    from ulmkit.hub.folder_config import DIRECTIONS

    has_both = is_pair(folder)
    member = read_config(folder / DIRECTIONS[0] if has_both else folder)
    return {
        "name": name,
        "directions": list(DIRECTIONS) if has_both else [member["direction"]],
        "megabytes": round(sum(file.stat().st_size for file in folder.rglob("*") if file.is_file()) / 1e6, 2),
        "vocabulary": member["vocabulary"]["size"],
        "tokenizer": member["tokenizer"]["name"],
    }


def _device_name(device: "torch.device") -> str:
    import torch

    from ulmkit.kernels import cpu_features

    if device.type == "cuda":
        return torch.cuda.get_device_name(device)
    return ", ".join(sorted(cpu_features())) or "no processor features known"
