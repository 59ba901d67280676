"""Docstrings of Python source files, read without importing them; also a program, so that several processes can scan.

Run as `python -I -S docstring_scanner.py`, it reads {"paths": [...], "minimum_words": n} as JSON on standard input and
writes one JSON list of docstrings a file on standard output, in the order of the paths. It imports the standard library
alone and nothing of ulmkit: a worker starts in milliseconds, carries no torch and never runs its caller's main module.
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
_BODIES = ("body", "handlers", "orelse", "finalbody", "cases")  # in the order in which they stand in the source


def file_docstrings(path: str, minimum_words: int) -> list[str]:
    """Docstrings of a file's module, classes and functions, in the order of the source, nested ones included.

    Args: path: a Python source file. minimum_words: docstrings with fewer words, split at spaces, are left out.
    Returns: texts as `inspect.cleandoc` leaves them; none for a file that cannot be read or parsed.
    """
    try:
        with open(path, "rb") as file:
            source = file.read()
        if b'"""' not in source and b"'''" not in source:
            return []  # a docstring long enough to be of use is triple-quoted; this spares a tenth of the bytes
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # invalid escapes in other people's code
            module = ast.parse(source)
    except (OSError, SyntaxError, ValueError, RecursionError, MemoryError):
        return []
    texts = (inspect.cleandoc(text) for text in _raw_docstrings(module))
    return [text for text in texts if len(text.split()) >= minimum_words and _is_plain(text)]


def _raw_docstrings(module: ast.Module) -> Iterator[str]:
    waiting: list[ast.AST] = [module]
    while waiting:
        node = waiting.pop()
        if isinstance(node, _DOCUMENTED):
            text = ast.get_docstring(node, clean=False)
            if text:
                yield text
        children = [child for name in _BODIES for child in getattr(node, name, ()) if isinstance(child, ast.AST)]
        waiting.extend(reversed(children))


def _is_plain(text: str) -> bool:
    """Whether the text can be written as UTF-8 (escapes can make half a surrogate pair) and holds no NUL."""
    return "\0" not in text and text == text.encode("utf-8", "ignore").decode("utf-8")


def main() -> None:
    """Scan the files that standard input names."""
    signal.signal(signal.SIGINT, signal.SIG_DFL)  # Ctrl-C ends a worker without a traceback of its own
    gc.disable()  # syntax trees hold no cycles, and looking for some among so many nodes takes longer than parsing
    request = json.load(sys.stdin)
    for path in request["paths"]:
        print(json.dumps(file_docstrings(path, request["minimum_words"])), flush=True)


if __name__ == "__main__":
    main()
