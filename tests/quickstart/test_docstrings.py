import importlib.metadata
import subprocess
import sys
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ulmkit.errors import ConfigError, DataError
from ulmkit.quickstart import docstring_scanner, docstrings
from ulmkit.quickstart.docstring_scanner import file_docstrings
from ulmkit.quickstart.docstrings import MASK, Docstring, harvest_docstrings, name_pattern, quickstart_task

SOURCE = '''
"""Module text here."""

import this_must_never_be_imported

CONSTANT = """Not a docstring at all."""


class Outer:
    """
    Class text,
        indented further.
    """

    def method(self):
        r"""Method text with a \\backslash."""
        """Second string is no docstring."""

        async def inner():
            """Inner text of three."""


if CONSTANT:
    """A string under if."""

    def conditional():
        """Conditional text stands first."""
elif CONSTANT:

    def other():
        """Other text stands second."""
else:
    try:
        pass
    except ValueError:

        class Handled:
            """Handled text stands third."""


match CONSTANT:
    case _:

        def matched():
            """Matched text stands last."""
'''


def write(path: Path, source: str | bytes) -> str:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(source if isinstance(source, bytes) else source.encode())
    return str(path)


def test_docstrings_in_source_order_cleaned_and_no_other_strings(tmp_path):
    assert file_docstrings(write(tmp_path / "a.py", SOURCE), 1) == [
        "Module text here.",
        "Class text,\n    indented further.",
        "Method text with a \\backslash.",
        "Inner text of three.",
        "Conditional text stands first.",
        "Other text stands second.",
        "Handled text stands third.",
        "Matched text stands last.",
    ]


def test_minimum_words(tmp_path):
    path = write(tmp_path / "a.py", 'def f():\n    """one two three"""\ndef g():\n    """one two\n    three four"""\n')
    assert file_docstrings(path, 3) == ["one two three", "one two\nthree four"]
    assert file_docstrings(path, 4) == ["one two\nthree four"]
    assert file_docstrings(path, 5) == []


@pytest.mark.parametrize(
    "source",
    [b'def f(:\n """x y"""', b'"""nul \0 byte"""', b'"""\xff wrongly encoded"""', b'# coding: no-such\n"""x y"""', b""],
)
def test_files_that_do_not_parse_have_no_docstrings(tmp_path, source):
    assert file_docstrings(write(tmp_path / "a.py", source), 1) == []
    assert file_docstrings(str(tmp_path / "missing.py"), 1) == []


def test_declared_encodings_and_unwritable_characters(tmp_path):
    latin = '# coding: latin-1\n"""Grüße aus Köln"""'.encode("latin-1")
    assert file_docstrings(write(tmp_path / "a.py", latin), 1) == ["Grüße aus Köln"]
    assert file_docstrings(write(tmp_path / "b.py", '"""half a pair \\ud800"""'), 1) == []
    assert file_docstrings(write(tmp_path / "c.py", '"""a nul \\0 here"""'), 1) == []


def test_the_scanner_imports_neither_ulmkit_nor_torch():
    code = "import runpy, sys; runpy.run_path(sys.argv[1], run_name='scanner'); print(*sys.modules)"
    command = [sys.executable, "-c", code, docstring_scanner.__file__]
    modules = subprocess.run(command, capture_output=True, text=True, check=True).stdout.split()
    assert "ast" in modules
    assert not {"torch", "numpy", "ulmkit"} & set(modules)


class Installed(importlib.metadata.Distribution):
    """A distribution whose files lie in a folder of the test's own."""

    def __init__(self, root: Path, name: str, requires: list[str], files: dict[str, str]):
        self.root, self.name_given, self.requires_given, self.texts = root, name, requires, files
        for path, text in files.items():
            write(root / path, text)

    def read_text(self, filename):
        if filename == "RECORD":
            return "".join(f"{path},,\n" for path in self.texts)
        lines = [f"Name: {self.name_given}", *(f"Requires-Dist: {need}" for need in self.requires_given)]
        return "Metadata-Version: 2.1\n" + "\n".join(lines) + "\n"

    def locate_file(self, path):
        return self.root / path


def documented(*texts: str) -> str:
    return "".join(f'def f{index}():\n    """{text}"""\n' for index, text in enumerate(texts))


@pytest.fixture
def environment(tmp_path, monkeypatch):
    """A standard library of two files, and packages of which ulmkit needs two, one of them through the other."""
    library = tmp_path / "lib"
    write(library / "b.py", documented("standard words two"))
    write(library / "a.py", documented("standard words one"))
    write(library / "test" / "a.py", documented("standard test words"))
    write(library / "site-packages" / "direct" / "a.py", documented("walked by mistake"))
    site = tmp_path / "site"
    direct = {
        "direct/__init__.py": documented("Direct words, first.", "direct  WORDS first 7"),
        "direct/sub.py": documented("direct words second", "too short"),
        "direct/tests/test_sub.py": documented("direct test words"),
        "direct/test_more.py": documented("more test words"),
        "direct/_vendor/indirect.py": documented("vendored words here"),
        "../../bin/tool.py": documented("outside of packages"),
    }
    found = [
        Installed(site, "ulmkit", ["Direct_Package>=1", "rare; extra == 'serve'", "absent"], {}),
        Installed(site, "direct.package", ["indirect"], direct),
        Installed(
            site, "indirect", ["ulmkit"], {"indirect.py": documented("indirect words here", "direct words first")}
        ),
        Installed(site, "rare", [], {"rare.py": documented("rare words here")}),
        Installed(site, "unrelated", [], {"unrelated.py": documented("unrelated words here")}),
    ]
    monkeypatch.setattr(importlib.metadata, "distributions", lambda: iter(found))
    monkeypatch.setattr(docstrings.sysconfig, "get_path", lambda name: str(library))


def test_harvest_reads_the_standard_library_and_what_ulmkit_needs(environment):
    assert harvest_docstrings(minimum_words=3) == [
        Docstring("direct", "direct/__init__.py", "Direct words, first."),
        Docstring("direct", "direct/sub.py", "direct words second"),
        Docstring("indirect", "indirect.py", "indirect words here"),
        Docstring("stdlib", "stdlib/a.py", "standard words one"),
        Docstring("stdlib", "stdlib/b.py", "standard words two"),
    ]


def test_harvest_is_the_same_whatever_the_number_of_workers(environment):
    assert harvest_docstrings(minimum_words=3, workers=3) == harvest_docstrings(minimum_words=3, workers=1)
    assert harvest_docstrings(minimum_words=3, workers=9) == harvest_docstrings(minimum_words=3, workers=1)


def test_harvest_refuses_and_reports(environment, monkeypatch, tmp_path):
    with pytest.raises(ConfigError, match="minimum_words: expected a whole number of at least 1, got 0"):
        harvest_docstrings(minimum_words=0)
    with pytest.raises(ConfigError, match="workers: expected a whole number of at least 1, got 0"):
        harvest_docstrings(workers=0)
    dying = write(tmp_path / "dying.py", "import sys; sys.stdin.read(); sys.exit(7)")
    monkeypatch.setattr(docstring_scanner, "__file__", dying)
    with pytest.raises(DataError, match="docstrings: expected status 0 from the process .*, got 7"):
        harvest_docstrings()


def test_the_real_environment_has_the_packages_that_ulmkit_needs():
    packages = {package for package, _, _ in docstrings._source_files()}
    assert {"stdlib", "numpy", "torch", "sklearn", "spacy"} <= packages
    assert not {"ulmkit", "pytest", "hypothesis"} & packages


NAMES = ("numpy", "huggingface_hub", "sklearn", "networkx", "torch", "scipy")


@pytest.mark.parametrize(
    ("text", "masked"),
    [
        ("NumPy, and numpy.linalg.norm too", f"{MASK}, and {MASK} too"),
        ("import numpy as np\nnp.array([1])", f"import {MASK} as {MASK}\n{MASK}([1])"),
        ("Ends in numpy. Then.", f"Ends in {MASK}. Then."),
        ("numpy.2 and to_numpy()", f"{MASK}.2 and to_{MASK}()"),
        ("input npz snp sparse", "input npz snp sparse"),
        ("NetworkXError: nx.Graph", f"{MASK}: {MASK}"),
        ("PyTorch's torchrun, __torch_function__", f"{MASK}'s {MASK}, __{MASK}_function__"),
        ("huggingface_hub Hugging Face hf", f"{MASK} {MASK} {MASK}"),
        ("scikit-learn, scikit learn; scikit-image", f"{MASK}, {MASK}; {MASK}-image"),
        ("SCIPY.SPARSE", MASK),
    ],
)
def test_names_and_dotted_paths_are_masked(text, masked):
    assert name_pattern(NAMES).sub(MASK, text) == masked


@settings(deadline=None, max_examples=60)
@given(st.lists(st.sampled_from([*NAMES, "NP", "nx", "PyTorch", "plain", ".", " ", "_", "X", "\n"]), max_size=12))
def test_no_long_name_survives(parts):
    masked = name_pattern(NAMES).sub(MASK, "".join(parts)).lower()
    assert not [name for name in NAMES if name in masked]
    assert not {"np", "nx"} & set(masked.replace("_", " ").replace(".", " ").split())


def some_docstrings() -> list[Docstring]:
    counts = {"stdlib": 9, "zeta": 3, "alpha": 2, "beta": 2, "gamma": 1}
    return [
        Docstring(package, f"{package}/{index}.py", f"{package.upper()}.call{index} of Alphabet and gamma.x")
        for package, count in counts.items()
        for index in range(count)
    ]


def test_task_takes_the_most_frequent_packages_and_masks_them_everywhere():
    task = quickstart_task(some_docstrings(), classes=2)
    assert [(document.label, document.group) for document in task.target] == [  # beta, as frequent, is after alpha
        *(("zeta", f"zeta/{index}.py") for index in range(3)),
        *(("alpha", f"alpha/{index}.py") for index in range(2)),
    ]
    assert {document.text for document in task.target} == {f"{MASK} of {MASK} and gamma.x"}
    assert len(task.general) == 9 + 2 + 1
    assert task.general[0] == "STDLIB.call0 of Alphabet and gamma.x"


@pytest.mark.parametrize("classes", [1, 5])
def test_task_refuses_impossible_numbers_of_classes(classes):
    with pytest.raises(ConfigError, match=f"classes: expected 2 to 4 .*, got {classes}"):
        quickstart_task(some_docstrings(), classes=classes)


def test_long_docstrings_are_cut_after_so_many_words():
    docstrings = some_docstrings()
    words = [
        len(text.split())
        for text in (
            *quickstart_task(docstrings, classes=2, maximum_words=3).general,
            *(document.text for document in quickstart_task(docstrings, classes=2, maximum_words=3).target),
        )
    ]
    assert max(words) == 3
    with pytest.raises(ConfigError, match="maximum_words: expected a whole number of at least 1, got 0"):
        quickstart_task(docstrings, classes=2, maximum_words=0)
