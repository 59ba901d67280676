"""Every error ulmkit raises on purpose.

Messages read `what: expected rule, got value (shape, dtype, path); do this.`
The command line prints the message alone and exits with status 2.
"""

import difflib
from collections.abc import Iterable


class UlmkitError(Exception):
    """Base of all errors that ulmkit raises on purpose."""


class ConfigError(UlmkitError, ValueError):
    """An option or argument is outside what it may be."""


class DataError(UlmkitError, ValueError):
    """Text, labels or columns are not what the command needs."""


class FolderError(UlmkitError, OSError):
    """A model, corpus or checkpoint folder is missing, incomplete or altered, or cannot be written."""


class TrainingError(UlmkitError, RuntimeError):
    """Training cannot go on, for example because the loss is no longer finite."""


class MissingPackageError(UlmkitError, ImportError):
    """An optional package that this feature needs is not installed."""


def did_you_mean(name: str, valid: Iterable[str]) -> str:
    """Advice naming the closest of `valid` to `name`, and all of them: "did you mean 'text'? There are: ...".

    Args: name: what was given. valid: what would have been accepted.
    Returns: a phrase without a final full stop, ready to end an error message.
    """
    options = [str(option) for option in valid]
    listing = f"there are: {', '.join(options)}" if options else "there are none"
    close = difflib.get_close_matches(name, options, n=1)
    return f"did you mean {close[0]!r}? {listing}" if close else listing
