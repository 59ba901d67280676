"""Checks, before a command begins, of the files that it is to write."""

import os
from collections.abc import Mapping
from typing import Any

from ulmkit.errors import ConfigError, FolderError
from ulmkit.files import expand_user
from ulmkit.safe_writes import check_ends_in_name, check_event_folder, check_not_input, check_output_file

_READ = (
    *("data", "model", "classifier", "language_model", "statistics", "checkpoint", "recipe_file", "old_data"),
    *("weights", "vocabulary", "sentencepiece"),
)
_FOLDER = "out"
_EVENTS = "tensorboard"
_FILES = ("out_file", "plot", "json_file")


def check_working_folder() -> None:
    """Raise FolderError if the working folder was removed: relative paths lead nowhere, and libraries fail to load."""
    try:
        os.getcwd()
    except OSError as error:
        raise FolderError(f"working folder: no longer exists ({error.strerror}); change to another one") from None


def check_outputs(options: Mapping[str, Any], flags: Mapping[str, str]) -> None:
    """Check that what a command writes replaces nothing that it reads, nor, without --overwrite, what is there.

    Args:
        options: The command's options by keyword.
        flags: Their names on the command line.

    Raises:
        ConfigError: If two outputs have one name.
        FolderError: If a file may not be written; folders are checked by the commands that write them.
    """
    inputs = [options[name] for name in _READ if options.get(name) is not None]
    outputs = {name: options[name] for name in (_FOLDER, *_FILES, _EVENTS) if options.get(name) is not None}
    seen: dict[str, str] = {}
    for name, path in outputs.items():
        absolute = str(expand_user(path).absolute())
        if absolute in seen:
            raise ConfigError(f"{flags[name]}: got {path!r}, which {seen[absolute]} names too; choose another name")
        seen[absolute] = flags[name]
        if name == _FOLDER:
            check_ends_in_name(path, "folder")
            check_not_input(path, inputs)
        elif name == _EVENTS:
            out = expand_user(options[_FOLDER]).absolute()
            if expand_user(path).absolute().is_relative_to(out):
                raise ConfigError(f"{flags[name]}: got {path!r}, which is in {flags[_FOLDER]}; choose another name")
            check_event_folder(path, resume=options["resume"], overwrite=options["overwrite"], inputs=inputs)
        else:
            # A resumed search may replace the file that it wrote; it checks that itself.
            is_resumed = name == "out_file" and options.get("resume", False)
            check_output_file(path, overwrite=options["overwrite"] or is_resumed, inputs=inputs)
