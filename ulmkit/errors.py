"""Errors that ulmkit raises on purpose.

Messages read `what: expected rule, got value (shape, dtype, path); do this.`
The command line prints the message alone and exits with status 2.
"""

import difflib
from collections.abc import Iterable


class UlmkitError(Exception):
    """Base of all errors that ulmkit raises on purpose."""


class ConfigError(UlmkitError, ValueError):
    """Option or argument outside its valid range."""


class DataError(UlmkitError, ValueError):
    """Text, labels or columns that do not fit the command."""


class FolderError(UlmkitError, OSError):
    """Model, corpus or checkpoint folder that is missing, incomplete, altered or not writable."""


class TrainingError(UlmkitError, RuntimeError):
    """Training that cannot continue, for example because the loss is no longer finite."""


class MissingPackageError(UlmkitError, ImportError):
    """Optional package that is needed but not installed."""


def did_you_mean(name: str, valid: Iterable[str]) -> str:
    """Suggest the valid name closest to `name`, and list all: "did you mean 'text'? there are: ...".

    Args:
        name: Name that is not valid.
        valid: Names that are.

    Returns:
        A phrase without a final full stop, ready to end an error message.
    """
    options = [str(option) for option in valid]
    listing = f"there are: {', '.join(options)}" if options else "there are none"
    folded = [option for option in options if option.casefold() == name.casefold()]
    close = folded or difflib.get_close_matches(name, options, n=1)
    return f"did you mean {close[0]!r}? {listing}" if close else listing
