"""The console: characters it lacks, readers that leave, warnings in one line, and errors that nobody expected."""

import io
import os
import sys
import tempfile
import traceback
import warnings
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from typing import IO

_SHOWN_CHARACTERS = 200


def escape_unprintable() -> None:
    """Let standard output and error print characters that their encoding lacks as escapes for their code points."""
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="backslashreplace")


def silence_downloads() -> None:
    """Switch the hub's progress bars off where standard error is no terminal, unless the user has decided on them.

    Its client reads the variable when it is imported, so this comes first.
    """
    if sys.stderr is None or not sys.stderr.isatty():
        os.environ.setdefault("HF_HUB_DISABLE_PROGRESS_BARS", "1")


@contextmanager
def plain_warnings() -> Iterator[None]:
    """Print warnings in one line, without the line of source that they come from."""

    def format_warning(message: Warning | str, *_: object) -> str:
        return f"ulmkit: warning: {message}\n"

    former = warnings.formatwarning
    warnings.formatwarning = format_warning  # type: ignore[assignment]
    try:
        yield
    finally:
        warnings.formatwarning = former


def flush_output(*, tell: bool) -> bool:
    """Flush standard output and error; what cannot be written is given up.

    Args:
        tell: Whether to print why standard output cannot be written; a command that failed has said it.

    Returns:
        Whether all was written.
    """
    is_written = True
    for stream in (sys.stdout, sys.stderr):
        if stream is None:  # closed by the caller
            continue
        try:
            stream.flush()
        except BrokenPipeError:
            _give_up(stream)
        except OSError as error:
            _give_up(stream)
            is_written = False
            if tell:
                with suppress(OSError):
                    print(f"ulmkit: standard output: cannot be written ({error.strerror})", file=sys.stderr)
    return is_written


def is_output_broken() -> bool:
    """Tell whether standard output cannot be written: unwritten output stays in its buffer, and fails again."""
    if sys.stdout is None:  # closed by the caller
        return False
    try:
        sys.stdout.flush()
    except OSError:
        return True
    return False


def _give_up(stream: IO[str]) -> None:
    """Discard what a stream still holds, so that Python does not try to write it at exit."""
    with suppress(OSError):
        nowhere = os.open(os.devnull, os.O_WRONLY)
        os.dup2(nowhere, stream.fileno())
        os.close(nowhere)


def is_out_of_memory(error: Exception) -> bool:
    """Tell whether an error is an out-of-memory error of Python, torch or CUDA."""
    text = str(error).lower()
    return isinstance(error, MemoryError) or (
        isinstance(error, RuntimeError) and ("can't allocate memory" in text or "out of memory" in text)
    )


def describe_bug(error: Exception) -> str:
    """Describe an error that ulmkit did not expect, in one line; the traceback goes into a temporary file."""
    message = " ".join(str(error).split())[:_SHOWN_CHARACTERS]
    try:
        handle, path = tempfile.mkstemp(prefix="ulmkit-error-", suffix=".txt")
        with os.fdopen(handle, "w", encoding="utf-8", errors="backslashreplace") as file:
            file.write(f"{' '.join(sys.argv)}\n\n")
            traceback.print_exception(error, file=file)
        advice = f"please report it with the traceback in {path}"
    except OSError as failure:
        advice = f"please report it; its traceback could not be written ({failure.strerror})"
    return f"this is a bug in ulmkit: {type(error).__name__}: {message}; {advice}"
