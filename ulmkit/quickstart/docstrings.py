"""Real text that is already on the machine: docstrings of the standard library and of ulmkit's dependencies.

Only packages that ulmkit's installation requires are read, so that the text depends on their versions and not on what
else is installed. Source files are parsed, never imported.
"""

import importlib.metadata
import json
import os
import re
import subprocess
import sys
import sysconfig
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

from ulmkit.config import check_whole
from ulmkit.errors import ConfigError, DataError
from ulmkit.quickstart import docstring_scanner
from ulmkit.text.read.document import Document

STANDARD_LIBRARY = "stdlib"
MASK = "thispackage"

_ALIASES = {
    "huggingface_hub": ("huggingface", "hugging face", "hf"),
    "matplotlib": ("mpl", "plt", "pyplot"),
    "networkx": ("nx",),
    "numpy": ("np",),
    "pandas": ("pd",),
    "scipy": ("sp",),
    "sklearn": ("scikit-learn", "scikit learn", "scikit", "scikits"),
    "torch": ("pytorch",),
}
"""Names of packages in text, besides their import names."""

_WHOLE_WORD_BELOW = 5  # shorter names are masked only as whole words, others inside words too
_SKIPPED_FOLDERS = frozenset(
    {"site-packages", "dist-packages", "test", "tests", "idle_test", "_bundled", "third_party"}
    | {"vendor", "_vendor", "vendored", "_vendored", "extern", "externals"}
)
_TEST_FILE = re.compile(r"(test_.*|.*_test|conftest)\.py")
_REQUIREMENT_NAME = re.compile(r"[A-Za-z0-9][\w.-]*")
_OF_AN_EXTRA = re.compile(r"\bextra\s*==")


@dataclass(frozen=True)
class Docstring:
    """A docstring and its origin.

    Attributes:
        package: Top-level package to import, or "stdlib".
        module: Source file relative to the folder of the packages, for example "numpy/linalg/_linalg.py".
        text: The text without its indentation.
    """

    package: str
    module: str
    text: str


@dataclass(frozen=True)
class QuickstartText:
    """General text to pretrain on, and documents to classify by package.

    Attributes:
        general: Docstrings of the packages that are not classes.
        target: Documents with masked names. The label is the package, and the group is the source file, so that a
            split can keep a file together.
    """

    general: list[str]
    target: list[Document]


def harvest_docstrings(*, minimum_words: int = 20, workers: int = 2) -> list[Docstring]:
    """Collect distinct docstrings of the standard library and of all packages that ulmkit requires.

    Of texts that differ only in case, digits, spaces and punctuation the first is kept. Test suites, vendored packages
    and files that do not parse are left out.

    Args:
        minimum_words: Docstrings with fewer words are left out.
        workers: Number of parsing processes.

    Returns:
        Docstrings sorted by package, source file and position in it, whatever the number of workers.

    Raises:
        ConfigError: If minimum_words or workers is below 1.
        DataError: If a worker dies.
    """
    check_whole("minimum_words", minimum_words)
    check_whole("workers", workers)
    files = _source_files()
    scanned = _scan([path for _, _, path in files], minimum_words, workers)
    distinct: dict[str, Docstring] = {}
    for (package, module, _), texts in zip(files, scanned, strict=True):
        for text in texts:
            distinct.setdefault(_normalize_text(text), Docstring(package, module, text))
    return list(distinct.values())


def quickstart_task(docstrings: Sequence[Docstring], *, classes: int = 10, maximum_words: int = 100) -> QuickstartText:
    """Make the task of telling which package a docstring belongs to, and general text to pretrain on.

    The classes are the packages with the most docstrings. The standard library is general text: it has no single
    subject, and it differs between versions of Python. `MASK` replaces the names of all chosen packages in every
    document, and dotted paths that begin with one ("numpy.linalg.norm"). Words of a package's subject ("dataframe",
    "tensor") stay: the task is to know them.

    Args:
        docstrings: Docstrings from `harvest_docstrings`.
        classes: Number of packages to tell apart.
        maximum_words: Words to which every docstring is cut.

    Raises:
        ConfigError: If classes is below 2 or above the number of packages, or maximum_words is below 1.
    """
    check_whole("maximum_words", maximum_words)
    counts = Counter(docstring.package for docstring in docstrings if docstring.package != STANDARD_LIBRARY)
    if not 2 <= classes <= len(counts):
        raise ConfigError(f"classes: expected 2 to {len(counts)} (the packages with docstrings), got {classes}")
    packages = sorted(counts, key=lambda package: (-counts[package], package))[:classes]
    names = name_pattern(packages)
    words = re.compile(rf"\s*(?:\S+\s*){{0,{maximum_words}}}")

    def cut(text: str) -> str:
        return text[: words.match(text).end()].rstrip()  # type: ignore[union-attr]

    general = [cut(docstring.text) for docstring in docstrings if docstring.package not in packages]
    target = [
        Document(text=cut(names.sub(MASK, docstring.text)), label=docstring.package, group=docstring.module)
        for docstring in docstrings
        if docstring.package in packages
    ]
    return QuickstartText(general, target)


def name_pattern(packages: Iterable[str]) -> re.Pattern[str]:
    """Pattern that matches the packages' names and usual aliases, and any dotted path after them, in any case.

    A long name also matches inside a word, together with the rest of the word ("NetworkXError", "torchrun").
    """
    names = {name for package in packages for name in (package, *_ALIASES.get(package, ()))}
    longest_first = sorted(names, key=lambda name: (-len(name), name))
    # Matching a set of first letters before anything else makes the search three times as fast.
    letters = "".join(sorted({case for name in names for case in (name[0].lower(), name[0].upper())}))
    return re.compile(rf"[{letters}](?i:{'|'.join(map(_after_first_letter, longest_first))})(?:\.[^\W\d]\w*)*")


def _after_first_letter(name: str) -> str:
    first, rest = re.escape(name[0]), re.escape(name[1:])
    if len(name) < _WHOLE_WORD_BELOW:
        return rf"(?<![^\W_]{first})(?<={first}){rest}(?![^\W_])"
    return rf"(?<={first}){rest}[^\W_]*"


def _normalize_text(text: str) -> str:
    """Words in lower case without digits and punctuation."""
    return re.sub(r"[\W\d_]+", " ", text.casefold()).strip()


def _source_files() -> list[tuple[str, str, str]]:
    """Sorted (package, module, path) of every source file to read."""
    return sorted({*_standard_library_files(Path(sysconfig.get_path("stdlib"))), *_dependency_files("ulmkit")})


def _standard_library_files(root: Path) -> Iterator[tuple[str, str, str]]:
    for folder, subfolders, names in os.walk(root):
        subfolders[:] = [name for name in subfolders if name not in _SKIPPED_FOLDERS]
        for path in (Path(folder, name) for name in names):
            if _is_source(path.name):
                yield STANDARD_LIBRARY, f"{STANDARD_LIBRARY}/{path.relative_to(root).as_posix()}", str(path)


def _dependency_files(distribution: str) -> Iterator[tuple[str, str, str]]:
    for dependency in _dependencies(distribution):
        for file in dependency.files or ():
            if _is_source(file.name) and _SKIPPED_FOLDERS.isdisjoint(file.parts) and ".." not in file.parts:
                yield file.parts[0].removesuffix(".py"), file.as_posix(), str(file.locate())


def _is_source(name: str) -> bool:
    return name.endswith(".py") and not _TEST_FILE.fullmatch(name)


def _dependencies(distribution: str) -> list[importlib.metadata.Distribution]:
    """Installed distributions that `distribution` requires, directly or not, without those of extras."""
    installed = {_normalize_name(each.metadata["Name"]): each for each in importlib.metadata.distributions()}
    required: dict[str, importlib.metadata.Distribution] = {}
    stack = [distribution]
    while stack:
        name = stack.pop()
        if name in required or name not in installed:
            continue
        required[name] = installed[name]
        for requirement in installed[name].requires or ():
            match = _REQUIREMENT_NAME.match(requirement)
            if match and not _OF_AN_EXTRA.search(requirement):
                stack.append(_normalize_name(match.group()))
    required.pop(distribution, None)
    return list(required.values())


def _normalize_name(name: str) -> str:
    return re.sub(r"[-_.]+", "-", name).lower()


def _scan(paths: Sequence[str], minimum_words: int, workers: int) -> list[list[str]]:
    """Docstrings of each file in the order of `paths`, which are divided over `workers` processes."""
    results: list[list[str]] = [[] for _ in paths]

    def work(start: int) -> None:
        share = slice(start, None, workers)
        process = subprocess.run(
            [sys.executable, "-I", "-S", docstring_scanner.__file__],
            input=json.dumps({"paths": paths[share], "minimum_words": minimum_words}),
            stdout=subprocess.PIPE,
            text=True,
            check=False,
        )
        if process.returncode:
            raise DataError(
                f"docstrings: expected status 0 from the process that parses source files, got {process.returncode}; "
                "the machine may be short of memory"
            )
        results[share] = map(json.loads, process.stdout.splitlines())

    with ThreadPoolExecutor(workers) as pool:
        list(pool.map(work, range(workers)))
    return results
