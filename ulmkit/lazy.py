"""Packages whose exports are imported when they are first used (PEP 562), so that importing a package is cheap."""

import ast
import importlib
import sys
from collections.abc import Callable
from pathlib import Path


def lazy_exports(package: str, source: str) -> tuple[Callable[[str], object], list[str]]:
    """Make a package's `__getattr__`, which imports each export when it is first asked for, and its `__all__`.

    A package lists its exports once, as `from MODULE import NAME` under `if TYPE_CHECKING:`, where type checkers and
    editors read them; the same lines are read here. A name must differ from that of a module beside it, which would
    take its place.

    Args:
        package: The package's `__name__`.
        source: The package's `__file__`.

    Returns:
        The function to assign to `__getattr__`, and the names to assign to `__all__`.
    """
    tree = ast.parse(Path(source).read_text(encoding="utf-8"))
    modules = {
        alias.name: f"{node.module}"
        for block in tree.body
        if isinstance(block, ast.If)
        for node in block.body
        if isinstance(node, ast.ImportFrom)
        for alias in node.names
    }

    def load(name: str) -> object:
        if name not in modules:
            raise AttributeError(f"module {package!r} has no attribute {name!r}")
        value = getattr(importlib.import_module(modules[name]), name)
        setattr(sys.modules[package], name, value)
        return value

    return load, sorted(modules)
