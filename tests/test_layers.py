"""The import graph: each package imports from the layers below its own alone, and siblings do not import each other."""

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

import ulmkit

LAYERS = [
    {"arrays", "cache_folder", "config", "errors", "files", "json_records", "lazy", "safe_writes", "tables", "tensors"},
    {"text", "kernels"},
    {"model"},
    {"training", "evaluation"},
    {"tasks"},
    {"members", "explain"},
    {"hub"},
    {"portable"},
    {"pipeline", "api"},
    {"quickstart", "report", "estimator", "serve", "spacy_textcat"},
    {"cli"},
    {"__main__"},
]
WITHIN_A_LAYER = {
    ("api", "pipeline"),
    ("quickstart", "report"),
    ("arrays", "errors"),
    ("arrays", "files"),
    ("arrays", "safe_writes"),
    ("cache_folder", "files"),
    ("config", "errors"),
    ("files", "errors"),
    ("json_records", "config"),
    ("json_records", "errors"),
    ("safe_writes", "errors"),
    ("safe_writes", "files"),
    ("tensors", "arrays"),
    ("tensors", "errors"),
    ("tensors", "safe_writes"),
}
"""(importer, imported): pairs of one layer that stand one above the other."""

ROOT = Path(ulmkit.__file__).parent
MODULES = sorted(path for path in ROOT.rglob("*.py") if path != ROOT / "__init__.py")


def _part(path: Path) -> str:
    return path.relative_to(ROOT).parts[0].removesuffix(".py")


def _layer(part: str) -> int:
    return next(number for number, parts in enumerate(LAYERS) if part in parts)


def _imported_parts(source: str) -> Iterator[str]:
    """The parts of ulmkit that a module imports, anywhere in it."""
    for node in ast.walk(ast.parse(source)):
        names: list[str] = []
        if isinstance(node, ast.Import):
            names = [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, "imports are absolute"
            names = [f"{node.module}.{alias.name}" for alias in node.names]
        for name in names:
            pieces = name.split(".")
            if pieces[0] == "ulmkit" and len(pieces) > 1 and pieces[1] != "__version__":
                yield {"LanguageModel": "api", "TextClassifier": "api"}.get(pieces[1], pieces[1])


def _violations(part: str, source: str) -> list[str]:
    return [
        f"{part} (layer {_layer(part)}) imports {other} (layer {_layer(other)})"
        for other in _imported_parts(source)
        if other != part and _layer(other) >= _layer(part) and (part, other) not in WITHIN_A_LAYER
    ]


def test_every_module_is_in_a_layer() -> None:
    parts = {_part(path) for path in MODULES}
    assert parts <= set().union(*LAYERS)
    assert len(MODULES) > 50


@pytest.mark.parametrize("path", MODULES, ids=lambda path: str(path.relative_to(ROOT)))
def test_imports_go_down(path: Path) -> None:
    assert _violations(_part(path), path.read_text(encoding="utf-8")) == []


@pytest.mark.parametrize(
    ("part", "source", "count"),
    [
        ("text", "from ulmkit.model import heads", 1),
        ("evaluation", "def f():\n    import ulmkit.training.run", 1),
        ("model", "from ulmkit.text.tokens.vocabulary import Vocabulary\nimport torch", 0),
        ("pipeline", "from ulmkit import LanguageModel", 1),
        ("api", "from ulmkit.pipeline import train", 0),
        ("pipeline", "from ulmkit.api import TextClassifier", 1),
    ],
)
def test_the_check_finds_what_it_is_for(part: str, source: str, count: int) -> None:
    assert len(_violations(part, source)) == count
