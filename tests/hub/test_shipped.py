"""Shipped models: found by name before the hub, listed, and packaged."""

import json
from dataclasses import replace
from pathlib import Path

import pytest
from setuptools import Distribution
from support import tiny
from support.builds import ROOT
from support.command import table_row, ulmkit
from support.untrained import untrained_classifier

from ulmkit import LanguageModel
from ulmkit.errors import FolderError
from ulmkit.hub import model_card, resolve_model, shipped_models, shipped_models_folder
from ulmkit.hub.shipped import shipped_with_vocabulary
from ulmkit.text import ByteTokenizer, Vocabulary


@pytest.fixture
def shipped(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Folder of shipped models with a tiny pair, in place of the package's; the working folder is an empty one."""
    pair = LanguageModel(tiny.language_model().parts, tiny.backward_language_model().parts)
    pair.save(tmp_path / "models" / "xx-tiny", weights="bfloat16")
    (tmp_path / "models" / "no-model").mkdir()
    (tmp_path / "here").mkdir()
    monkeypatch.setattr("ulmkit.hub.shipped.shipped_models_folder", lambda: tmp_path / "models")
    monkeypatch.chdir(tmp_path / "here")
    return tmp_path / "models"


def test_a_shipped_model_is_found_by_its_name(shipped: Path) -> None:
    assert shipped_models() == {"xx-tiny": shipped / "xx-tiny"}
    assert resolve_model("xx-tiny") == shipped / "xx-tiny"
    assert LanguageModel.load("xx-tiny").backward is not None


def test_the_card_of_a_classifier_names_the_shipped_model_whose_tokens_it_reads(shipped: Path) -> None:
    parts = tiny.language_model().parts
    assert shipped_with_vocabulary(parts.tokenizer, parts.vocabulary) == "xx-tiny"
    assert shipped_with_vocabulary(ByteTokenizer(), parts.vocabulary) is None
    assert shipped_with_vocabulary(parts.tokenizer, Vocabulary(parts.vocabulary.tokens[:-1])) is None
    classifier = untrained_classifier().parts
    read = replace(classifier, tokenizer=parts.tokenizer, vocabulary=parts.vocabulary)
    tokens = len(parts.vocabulary)
    assert f"It reads text as words between white space ({tokens} tokens, the same as `xx-tiny`)." in model_card(
        "mine", read
    )
    assert "the same as" not in model_card("mine", classifier)


def test_only_a_model_folder_of_that_name_goes_before_it(shipped: Path) -> None:
    Path("xx-tiny").mkdir()
    assert resolve_model("xx-tiny") == shipped / "xx-tiny"
    assert resolve_model("./xx-tiny") == Path("xx-tiny")
    Path("xx-tiny").rmdir()
    Path("xx-tiny").write_text("a file")
    assert resolve_model("xx-tiny") == shipped / "xx-tiny"
    Path("xx-tiny").unlink()
    tiny.language_model().save("xx-tiny")
    assert resolve_model("xx-tiny") == Path("xx-tiny")


def test_unknown_names_are_told_the_shipped_ones(shipped: Path) -> None:
    with pytest.raises(FolderError, match=r"en-tiny: no such folder, .*\(owner/name.*\); shipped models: xx-tiny$"):
        resolve_model("en-tiny")


def test_a_package_that_ships_no_model(shipped: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("ulmkit.hub.shipped.shipped_models_folder", lambda: shipped / "nowhere")
    assert shipped_models() == {}
    with pytest.raises(FolderError, match=r"xx-tiny: no such folder, .*\(owner/name.*\)$"):
        resolve_model("xx-tiny")
    assert table_row(ulmkit("info").out, "models") == ["none shipped"]


def test_info_lists_the_shipped_models(shipped: Path) -> None:
    told = ulmkit("info", "--json", "info.json")
    (model,) = json.loads(Path("info.json").read_text())["shipped_models"]
    assert (model["name"], model["directions"]) == ("xx-tiny", ["forward", "backward"])
    assert model["tokenizer"] == "whitespace"
    files = [path for path in (shipped / "xx-tiny").rglob("*") if path.is_file()]
    assert model["megabytes"] == round(sum(path.stat().st_size for path in files) / 1e6, 2) > 0.05
    (line,) = table_row(told.out, "model xx-tiny")
    assert line.startswith("shipped: forward and backward, 0.1 MB, vocabulary of ")


def test_wheels_hold_every_file_of_a_shipped_model(
    shipped: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """setuptools collects, by this repository's setup.cfg, what `pip wheel` packs."""
    source = tmp_path / "source"
    (source / "ulmkit").mkdir(parents=True)
    (source / "ulmkit" / "__init__.py").write_text('__version__ = "0"\n')
    for name in ("README.md", "LICENSE"):
        (source / name).write_text("")
    (source / "setup.cfg").write_bytes((ROOT / "setup.cfg").read_bytes())
    (shipped / "no-model").rmdir()
    shipped.rename(source / "ulmkit" / "models")
    monkeypatch.chdir(source)
    distribution = Distribution()
    distribution.parse_config_files(["setup.cfg"])
    distribution.include_package_data = False  # what MANIFEST.in adds needs a whole build
    command = distribution.get_command_obj("build_py")
    command.ensure_finalized()
    packed = {f"{folder}/{name}" for _, folder, _, names in command.data_files for name in names}
    expected = {path.relative_to(source).as_posix() for path in (source / "ulmkit" / "models").rglob("*.*")}
    assert len(expected) > 8
    assert expected <= packed


def test_the_folder_of_shipped_models_is_in_the_package() -> None:
    assert shipped_models_folder() == ROOT / "ulmkit" / "models"
    assert "graft ulmkit/models" in (ROOT / "MANIFEST.in").read_text().splitlines()
