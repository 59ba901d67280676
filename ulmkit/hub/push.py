"""Uploading of model folders to the Hugging Face hub, and the list of files that belong to one."""

import os
import shutil
from pathlib import Path
from typing import TYPE_CHECKING

from ulmkit.errors import ConfigError, FolderError
from ulmkit.files import expand_user
from ulmkit.hub.cards import CARD_FILE, card_on_hub
from ulmkit.hub.folder_config import CONFIG_FILE, DIRECTIONS, read_config
from ulmkit.hub.hub_name import HubName, find_hub_name
from ulmkit.hub.loading import load_model
from ulmkit.hub.resolve import first_line

if TYPE_CHECKING:
    from huggingface_hub import HfApi


def model_files(folder: str | os.PathLike[str]) -> dict[str, int]:
    """List the files of a model folder, without anything else that lies in it.

    Args:
        folder: The model folder.

    Returns:
        The size in bytes of each file by its path in the folder, with forward slashes.

    Raises:
        FolderError: If it is no model folder, or a file is missing.
    """
    path = expand_user(folder)
    config = read_config(path)
    names = [CONFIG_FILE, *([CARD_FILE] if (path / CARD_FILE).is_file() else []), *config.get("files", ())]
    try:
        files = {name: (path / name).stat().st_size for name in names}
    except OSError as error:
        raise FolderError(f"{error.filename}: no such file, but the folder lists it; copy the folder again") from error
    if config["kind"] == "pair":
        for direction in DIRECTIONS:
            files |= {f"{direction}/{name}": size for name, size in model_files(path / direction).items()}
    return files


def copy_model(folder: str | os.PathLike[str], destination: Path) -> None:
    """Copy the files of a model folder into another folder, which need not exist."""
    for name in model_files(folder):
        target = destination / name
        target.parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(expand_user(folder) / name, target)


def parse_target(name: str, revision: str | None = None) -> HubName:
    """Read the name under which a model is to be uploaded.

    Args:
        name: "owner/name", or "owner/name@branch".
        revision: The branch, if the name has none.

    Raises:
        ConfigError: If it is not such a name.
    """
    target = find_hub_name(name, revision)
    if target is None:
        raise ConfigError(f"name: expected owner/name or owner/name@branch, got {name!r}")
    return target


def push_folder(
    folder: str | os.PathLike[str],
    name: str,
    *,
    private: bool = False,
    token: str | None = None,
    message: str | None = None,
) -> str:
    """Upload a model folder to the Hugging Face hub, in one commit.

    The repository is made if it does not exist. Only the files that belong to the model are uploaded, and only if they
    match their checksums.

    Args:
        folder: The model folder.
        name: "owner/name", or "owner/name@branch"; a branch is made if it does not exist.
        private: Make the repository private; one that exists has to be private already. Otherwise a new one has the
            owner's default, which is public unless an organization chose differently.
        token: Token that may write; by default the one in the environment (`HF_TOKEN`) or of `hf auth login`.
        message: Message of the commit.

    Returns:
        The name with the commit, "owner/name@commit", under which this upload is found for good.

    Raises:
        ConfigError: If the name is not one of a model on the hub, or `private` is asked for a public repository.
        FolderError: If the folder is incomplete or altered, or the hub refuses the upload or cannot be reached.
    """
    from huggingface_hub import CommitOperationAdd, HfApi, constants

    target = parse_target(name)
    if constants.HF_HUB_OFFLINE:
        raise FolderError(f"{target}: cannot be uploaded while HF_HUB_OFFLINE is set; unset it")
    path = expand_user(folder)
    load_model(path)  # checks the files
    contents: dict[str, str | bytes] = {file: str(path / file) for file in model_files(path)}
    if CARD_FILE in contents:
        card = (path / CARD_FILE).read_text(encoding="utf-8")
        contents[CARD_FILE] = card_on_hub(card, path.name, target).encode()
    operations = [CommitOperationAdd(file, content) for file, content in contents.items()]
    message = message or "Upload a model of ulmkit"
    api = HfApi(token=token)
    try:
        _prepare_repository(api, target, private)
        commit = api.create_commit(target.repository, operations, commit_message=message, revision=target.revision)
    except ConfigError:
        raise
    except Exception as error:  # whatever the network, the hub and its client come to
        raise FolderError(
            f"{target}: the upload to the hub failed ({first_line(error)}); check the name and the network, and "
            "that HF_TOKEN or `hf auth login` has a token that may write there"
        ) from error
    return f"{target.repository}@{commit.oid}"


def _prepare_repository(api: "HfApi", target: HubName, private: bool) -> None:
    """Make the repository and the branch unless they exist; raise ConfigError if it is public and must not be."""
    if private:
        api.create_repo(target.repository, exist_ok=True, private=True)
        if not api.model_info(target.repository).private:
            raise ConfigError(
                f"private: {target.repository} already exists and is public, so nothing was uploaded; make it private "
                "in its settings on the hub, or choose another name"
            )
    else:  # not private=False: an organization may have private repositories as its default
        api.create_repo(target.repository, exist_ok=True)
    if target.revision is not None:
        api.create_branch(target.repository, branch=target.revision, exist_ok=True)
