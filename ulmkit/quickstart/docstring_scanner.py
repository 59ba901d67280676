"""Docstrings of Python source files, parsed without importing them; also a program for worker processes.

Run as `python -I -S docstring_scanner.py`, it reads {"paths": [...], "minimum_words": n} as JSON from standard input
and writes one JSON list of docstrings per file to standard output, in the order of the paths. It imports only the
standard library: a worker starts in milliseconds, holds no torch, and never runs its caller's main module.
"""

import ast
import gc
import inspect
import json
import signal
import sys
import warnings
from collections.abc import Iterator

_DOCUMENTED = (ast.Module, ast.ClassDef, ast.FunctionDef, ast.AsyncFunctionDef)
_BODIES = ("body", "handlers", "orelse", "finalbody", "cases")  # in source order


def file_docstrings(path: str, minimum_words: int) -> list[str]:
    """Docstrings of a file's module, classes and functions, nested ones included, in source order.

    Args:
        path: A Python source file.
        minimum_words: Docstrings with fewer words, split at spaces, are left out.

    Returns:
        Texts cleaned by `inspect.cleandoc`; none for a file that cannot be read or parsed.
    """
    try:
        with open(path, "rb") as file:
            source = file.read()
        if b'"""' not in source and b"'''" not in source:
            return []  # a docstring of useful length is triple-quoted; this skips parsing a tenth of the bytes
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # invalid escapes in other people's code
            module = ast.parse(source)
    except (OSError, SyntaxError, ValueError, RecursionError, MemoryError):
        return []
    texts = (inspect.cleandoc(text) for text in _raw_docstrings(module))
    return [text for text in texts if len(text.split()) >= minimum_words and _is_plain(text)]


def _raw_docstrings(module: ast.Module) -> Iterator[str]:
    stack: list[ast.AST] = [module]
    while stack:
        node = stack.pop()
        if isinstance(node, _DOCUMENTED):
            text = ast.get_docstring(node, clean=False)
            if text:
                yield text
        children = [child for name in _BODIES for child in getattr(node, name, ()) if isinstance(child, ast.AST)]
        stack.extend(reversed(children))


def _is_plain(text: str) -> bool:
    """True if the text can be written as UTF-8, which half a surrogate pair cannot, and has no NUL."""
    return "\0" not in text and text == text.encode("utf-8", "ignore").decode("utf-8")


def main() -> None:
    """Scan the files named on standard input."""
    signal.signal(signal.SIGINT, signal.SIG_DFL)  # Ctrl-C ends a worker without a traceback of its own
    gc.disable()  # syntax trees have no cycles, and searching so many nodes for some takes longer than parsing
    request = json.load(sys.stdin)
    for path in request["paths"]:
        print(json.dumps(file_docstrings(path, request["minimum_words"])), flush=True)


if __name__ == "__main__":
    main()
