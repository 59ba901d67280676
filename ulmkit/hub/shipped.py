"""Models that the package ships, in `ulmkit/models/NAME`: found by name, without a network."""

from pathlib import Path

from ulmkit.hub.folder_config import CONFIG_FILE


def shipped_models_folder() -> Path:
    """Folder with a model folder for each shipped model; it need not exist."""
    return Path(__file__).parents[1] / "models"


def shipped_models() -> dict[str, Path]:
    """Folder of each shipped model by name, in alphabetical order; empty if the package ships none."""
    return {config.parent.name: config.parent for config in sorted(shipped_models_folder().glob(f"*/{CONFIG_FILE}"))}
