"""Names of models to their folders: given, shipped with the package, or downloaded from the hub."""

import os
import re
from pathlib import Path

from ulmkit.errors import FolderError
from ulmkit.files import expand_user
from ulmkit.hub.folder_config import CONFIG_FILE
from ulmkit.hub.shipped import shipped_models

_HUB_NAME = re.compile(r"[\w.-]+/[\w.-]+")
_MODEL_FILES = ["*.json", "*.safetensors", "*.model", "*.csv", "*.md"]


def resolve_model(name: str | os.PathLike[str]) -> Path:
    """Find the folder of a model.

    Args:
        name: A folder; the name of a shipped model, such as "en-small"; or the name of a model on the Hugging Face hub
            ("owner/name"), which is downloaded once into the hub's cache. A folder that has the name of a shipped
            model is taken in its place only if it is a model folder.

    Returns:
        The folder.

    Raises:
        FolderError: If it is none of them, or cannot be downloaded.
    """
    path = expand_user(name)
    text = os.fspath(name)
    shipped = shipped_models()
    if text in shipped and not (path / CONFIG_FILE).is_file():
        return shipped[text]
    if text and path.is_dir():
        return path
    if path.is_file():
        raise FolderError(f"{path}: expected the folder of a model, got a file; give the folder that it is in")
    if not _HUB_NAME.fullmatch(text):
        known = f"; shipped models: {', '.join(shipped)}" if shipped else ""
        raise FolderError(f"{text}: no such folder, and not the name of a model on the hub (owner/name){known}")
    return _download(text)


def _download(name: str) -> Path:
    from huggingface_hub import snapshot_download

    try:
        return Path(snapshot_download(name, allow_patterns=_MODEL_FILES))
    except (OSError, ValueError) as error:  # the network's and huggingface_hub's errors are subclasses of these
        reason = (str(error).strip() or repr(error)).splitlines()[0]
        raise FolderError(
            f"{name}: no such folder, and the hub gives no model of this name ({reason}); "
            "check the name and the network, or copy the model folder here"
        ) from error
