"""The pages of documentation: their blocks run or say why not, their links lead somewhere, their commands exist."""

import ast
import re
import subprocess

import pytest
import typer
from support.pages import COMMANDS, ROOT, blocks

from ulmkit.cli import app

PAGES = [
    "README.md",
    "ulmkit/GUIDE.md",
    "ulmkit/PAPERS.md",
    "ulmkit/kernels/README.md",
    "benchmarks/README.md",
    "recipes/README.md",
]
EXECUTED = ["README.md", "ulmkit/GUIDE.md"]

NOT_RUN = {
    "$ python3 -m venv": "CI installs into a fresh environment and runs a shorter quickstart before the pages",
    "$ python benchmarks/NAME.py": "the form of a command, not one command",
    "$ ulmkit pretrain IMDB": "takes forty minutes and the IMDb corpus",
    "$ python benchmarks/frontier.py": "takes hours, three corpora and all peers",
    "$ python benchmarks/debian_packages.py": "needs the package lists of a Debian release and all peers",
    "$ ulmkit import-fastai": "needs files that fastai wrote",
    "$ ulmkit prepare WIKI-1": "takes ten minutes and the text of Wikipedia",
    "flowchart TD": "a diagram",
}
"""Beginnings of the blocks that are not executed, and why."""


def read(name: str) -> str:
    return (ROOT / name).read_text(encoding="utf-8")


def joined(name: str) -> str:
    """A page with continued lines of its commands joined, without what commands print, from a line "..." on."""
    text = read(name).replace("\\\n", " ")
    return re.sub(r"^\.\.\.\n.*?(?=^```$)", "", text, flags=re.DOTALL | re.MULTILINE)


@pytest.mark.parametrize("name", PAGES)
def test_blocks_that_are_not_executed_say_why(name):
    for block in blocks(ROOT / name):
        if block.language not in COMMANDS or name not in EXECUTED:
            assert any(block.code.startswith(beginning) for beginning in NOT_RUN), f"{name}:{block.line}"


def test_each_reason_has_its_block():
    beginnings = [block.code for name in PAGES for block in blocks(ROOT / name)]
    assert all(any(code.startswith(beginning) for code in beginnings) for beginning in NOT_RUN)


@pytest.mark.parametrize("name", EXECUTED)
def test_blocks_parse(name):
    executed = [block for block in blocks(ROOT / name) if block.language in COMMANDS]
    assert len(executed) >= 2
    for block in executed:
        if block.language == "python":
            ast.parse(block.code)
        else:
            subprocess.run(["bash", "-n", "-c", block.code], check=True)


@pytest.mark.parametrize("name", PAGES)
def test_links_lead_somewhere(name):
    headings = {heading.lower().replace(" ", "-") for heading in re.findall(r"^#+ (.+)$", read(name), re.MULTILINE)}
    for target in re.findall(r"\]\(([^)\s]+)\)", read(name)):
        if target.startswith("#"):
            assert target[1:] in headings
        elif not target.startswith("https://"):
            assert (ROOT / name).parent.joinpath(target).exists(), target


@pytest.mark.parametrize("name", PAGES)
def test_commands_and_their_options_exist(name):
    commands = typer.main.get_command(app).commands
    for command, arguments in re.findall(r"(?:^|`|\$ |-m )ulmkit ([a-z-]+)([^`\n]*)", joined(name), re.MULTILINE):
        assert command in commands
        options = {option for parameter in commands[command].params for option in parameter.opts}
        assert set(re.findall(r"(?<!\S)--[a-z-]+", arguments)) <= options, command


@pytest.mark.parametrize("name", PAGES)
def test_scripts_and_their_options_exist(name):
    for folder, script, arguments in re.findall(r"(benchmarks|recipes)/([a-z_]\w+\.py)([^`\n]*)", joined(name)):
        assert (ROOT / folder / script).is_file()
        sources = "".join(path.read_text(encoding="utf-8") for path in (ROOT / folder).glob("*.py"))
        for option in re.findall(r"--[a-z][a-z0-9-]*", arguments):
            assert f'"{option}"' in sources, f"{script} {option}"


@pytest.mark.parametrize("name", ["README.md"])
def test_the_front_page_is_short(name):
    assert len(read(name).splitlines()) <= 110
    assert (ROOT / "benchmarks/results/quickstart.png").stat().st_size < 150_000
