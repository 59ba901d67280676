"""Uploading of models in memory to the Hugging Face hub."""

import tempfile
from collections.abc import Callable
from pathlib import Path

from ulmkit.hub import parse_target, push_folder


def push_model(
    save: Callable[[Path], None],
    name: str,
    *,
    private: bool,
    revision: str | None,
    token: str | None,
    message: str | None,
) -> str:
    """Save a model into a temporary folder and upload that; see `ulmkit.hub.push_folder`.

    Args:
        save: Writes the model's folder.
        name: "owner/name", or "owner/name@branch".
        private: Make the repository private.
        revision: Branch to upload to.
        token: Token that may write.
        message: Message of the commit.

    Returns:
        The name with the commit.
    """
    target = parse_target(name, revision)
    with tempfile.TemporaryDirectory() as temporary:
        folder = Path(temporary) / target.model
        save(folder)
        return push_folder(folder, str(target), private=private, token=token, message=message)
