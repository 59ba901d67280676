"""Names of models to their folders: given, shipped with the package, or downloaded from the hub."""

import os
from pathlib import Path

from ulmkit.errors import ConfigError, FolderError
from ulmkit.files import expand_user
from ulmkit.hub.folder_config import CONFIG_FILE
from ulmkit.hub.hub_name import HubName, find_hub_name
from ulmkit.hub.shipped import shipped_models

_MODEL_FILES = ["*.json", "*.safetensors", "*.model", "*.csv", "*.md"]


def resolve_model(name: str | os.PathLike[str], *, revision: str | None = None, token: str | None = None) -> Path:
    """Find the folder of a model.

    Args:
        name: A folder; the name of a shipped model, such as "en-small"; or the name of a model on the Hugging Face hub
            ("owner/name", or "owner/name@revision"), which is downloaded once into the hub's cache. A folder that has
            the name of a shipped model is taken in its place only if it is a model folder.
        revision: Branch, tag or commit on the hub, if the name has none; by default the main branch. Only a commit is
            sure to stay the same model.
        token: Token for private models; by default the one in the environment (`HF_TOKEN`) or of `hf auth login`.

    Returns:
        The folder.

    Raises:
        FolderError: If it is none of them, or cannot be downloaded.
        ConfigError: If a revision is given for a folder or a shipped model.
    """
    path = expand_user(name)
    text = os.fspath(name)
    shipped = shipped_models()
    folder = shipped[text] if text in shipped and not (path / CONFIG_FILE).is_file() else path
    if text and folder.is_dir():
        if revision is not None:
            raise ConfigError(f"revision: got {revision!r}, but {text} is a folder, not on the hub; leave it out")
        return folder
    if path.is_file():
        raise FolderError(f"{path}: expected the folder of a model, got a file; give the folder that it is in")
    hub_name = find_hub_name(text, revision)
    if hub_name is None:
        known = f"; shipped models: {', '.join(shipped)}" if shipped else ""
        raise FolderError(
            f"{text or repr(text)}: no such folder, and not the name of a model on the hub "
            f"(owner/name or owner/name@revision){known}"
        )
    return _download(hub_name, token)


def _download(name: HubName, token: str | None) -> Path:
    from huggingface_hub import constants, snapshot_download

    try:
        folder = snapshot_download(
            name.repository,
            revision=name.revision,
            token=token,
            allow_patterns=_MODEL_FILES,
            local_files_only=constants.HF_HUB_OFFLINE,
        )
    except Exception as error:  # whatever the network, the hub and its client come to
        if constants.HF_HUB_OFFLINE:
            raise FolderError(
                f"{name}: no such folder, and not complete in the hub's cache ({constants.HF_HUB_CACHE}); "
                "HF_HUB_OFFLINE is set, so nothing is downloaded: unset it, or copy the model folder here"
            ) from error
        raise FolderError(
            f"{name}: no such folder, and the hub gives no model of this name ({first_line(error)}); check the name "
            "and the network; a private model needs HF_TOKEN or `hf auth login`; or copy the model folder here"
        ) from error
    return Path(folder)


def first_line(error: Exception) -> str:
    """Return what an error says, on one line; the hub's client puts its reason into the second paragraph."""
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    return " ".join(lines[:2]) or repr(error)
