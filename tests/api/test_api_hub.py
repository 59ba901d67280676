"""Models to the hub and back, against a hub on 127.0.0.1."""

import itertools
import os
import re
import shutil
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from support import tiny
from support.command import ulmkit
from support.hub_server import HubServer, hub_server
from support.untrained import untrained_classifier, untrained_language_model

from ulmkit import LanguageModel, TextClassifier
from ulmkit.errors import ConfigError, FolderError
from ulmkit.hub import push_folder, resolve_model

TEXTS = [tiny.review("pos", 7000), tiny.review("neg", 7001)]
CLASSIFIER = untrained_classifier()
TOKEN = "hf_writer"
NAME = "owner/mine"


@pytest.fixture
def hub(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[HubServer]:
    with hub_server(monkeypatch, str(tmp_path / "cache")) as server:
        yield server


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a classifier's folder."""
    folder = tmp_path_factory.mktemp("models") / "reviews"
    CLASSIFIER.save_pretrained(folder)
    return folder


def test_a_classifier_goes_to_the_hub_and_comes_back(hub: HubServer) -> None:
    pinned = CLASSIFIER.push_to_hub(NAME, token=TOKEN, message="first")
    assert pinned == f"{NAME}@{hub.repositories[NAME].branches['main']}"
    assert hub.repositories[NAME].messages == ["initial commit", "first"]
    assert not hub.repositories[NAME].private
    expected = CLASSIFIER.predict_proba(TEXTS)
    for name in (NAME, pinned):
        np.testing.assert_array_equal(TextClassifier.from_pretrained(name).predict_proba(TEXTS), expected)
    card = hub.files(NAME)["README.md"].decode()
    assert "\n# mine\n" in card
    assert f'model = TextClassifier.from_pretrained("{NAME}")\n' in card
    assert "FOLDER" not in card
    assert "library_name: ulmkit\n" in card


def test_a_pinned_model_stays_when_another_one_is_uploaded(hub: HubServer) -> None:
    first = CLASSIFIER.push_to_hub(NAME, token=TOKEN)
    second = untrained_classifier(labels=("pos", "neg")).push_to_hub(NAME, token=TOKEN)
    assert first != second
    commit = first.partition("@")[2]
    assert TextClassifier.from_pretrained(NAME).labels == ("pos", "neg")
    assert TextClassifier.from_pretrained(NAME, revision=commit).labels == ("neg", "pos")
    assert TextClassifier.load(first).labels == ("neg", "pos")
    with pytest.raises(ConfigError, match="revision: got 'main' beside the one in owner/mine@"):
        TextClassifier.from_pretrained(first, revision="main")


def test_a_branch_is_made_and_main_stays(hub: HubServer, folder: Path) -> None:
    push_folder(folder, f"{NAME}@next/one", token=TOKEN)
    assert set(hub.repositories[NAME].branches) == {"main", "next/one"}
    assert set(hub.files(NAME)) == {".gitattributes"}
    assert TextClassifier.from_pretrained(f"{NAME}@next/one").labels == ("neg", "pos")
    assert f'from_pretrained("{NAME}@next/one")' in hub.files(NAME, "next/one")["README.md"].decode()
    with pytest.raises(FolderError, match=r"mine@none: no such folder, .*Revision Not Found"):
        TextClassifier.load(f"{NAME}@none")


def test_pairs_go_whole(hub: HubServer) -> None:
    pair = LanguageModel(untrained_language_model().parts, untrained_language_model("backward").parts)
    pair.push_to_hub(NAME, token=TOKEN, weights="bfloat16")
    loaded = LanguageModel.from_pretrained(NAME)
    assert [member.direction for member in loaded.members] == ["forward", "backward"]
    np.testing.assert_allclose(loaded.embed(TEXTS), pair.embed(TEXTS), atol=0.02)
    assert "forward/model.safetensors" in hub.files(NAME)


def test_a_pair_of_classifiers_is_saved(tmp_path: Path) -> None:
    pair = TextClassifier(CLASSIFIER.parts, untrained_classifier(direction="backward").parts)
    pair.save_pretrained(tmp_path / "pair")
    loaded = TextClassifier.from_pretrained(tmp_path / "pair")
    np.testing.assert_array_equal(loaded.predict_proba(TEXTS), pair.predict_proba(TEXTS))


def test_only_the_files_of_the_model_are_uploaded(hub: HubServer, folder: Path, tmp_path: Path) -> None:
    copy = shutil.copytree(folder, tmp_path / "copy")
    (copy / "patients.csv").write_text("text,label\n")
    (copy / "notes.json").write_text("{}")
    push_folder(copy, NAME, token=TOKEN)
    files = {path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file()}
    assert set(hub.files(NAME)) == files | {".gitattributes"}
    assert len(files) >= 5


def test_private_models_need_a_token(hub: HubServer, monkeypatch: pytest.MonkeyPatch) -> None:
    CLASSIFIER.push_to_hub(NAME, private=True, token=TOKEN)
    assert hub.repositories[NAME].private
    hub.tokens["hf_other"] = "somebody"
    for token in (None, "hf_other"):
        with pytest.raises(FolderError, match="Repository Not Found.*a private model needs HF_TOKEN") as error:
            TextClassifier.from_pretrained(NAME, token=token)
        assert "hf_other" not in str(error.value)
    assert TextClassifier.from_pretrained(NAME, token=TOKEN).labels == ("neg", "pos")
    monkeypatch.setenv("HF_TOKEN", TOKEN)
    assert TextClassifier.load(NAME).labels == ("neg", "pos")


def test_nothing_private_is_uploaded_to_a_public_repository(hub: HubServer, folder: Path) -> None:
    push_folder(folder, NAME, token=TOKEN)
    before = hub.files(NAME)
    with pytest.raises(ConfigError, match="private: owner/mine already exists and is public, so nothing was uploaded"):
        push_folder(folder, NAME, private=True, token=TOKEN)
    assert hub.files(NAME) is before
    push_folder(folder, "owner/secret", private=True, token=TOKEN)
    push_folder(folder, "owner/secret", private=True, token=TOKEN)


@pytest.mark.parametrize("token", [None, "hf_wrong"])
def test_who_may_not_write_is_told(hub: HubServer, folder: Path, token: str | None) -> None:
    with pytest.raises(FolderError, match="mine: the upload to the hub failed .*a token that may write there") as error:
        push_folder(folder, NAME, token=token)
    assert "hf_wrong" not in str(error.value)
    assert not hub.repositories


@pytest.mark.parametrize("name", ["mine", "owner/", "a/b/c", "owner/mine@", "owner/../mine", "../mine", "owner/x@../y"])
def test_names_that_the_hub_cannot_have(hub: HubServer, folder: Path, name: str) -> None:
    with pytest.raises(ConfigError, match=f"name: expected owner/name or owner/name@branch, got '{re.escape(name)}'"):
        push_folder(folder, name, token=TOKEN)
    with pytest.raises(FolderError, match="no such folder, and not the name of a model on the hub"):
        resolve_model(name)
    assert hub.requests == []


@pytest.mark.parametrize(
    ("file", "reason"),
    [
        ("model.safetensors", r"its SHA-256 is not the recorded one"),
        ("vocabulary.json", r"its SHA-256 is not the recorded one"),
        ("config.json", r"its fingerprint is wrong, it was altered"),
    ],
)
def test_an_altered_download_is_refused(hub: HubServer, folder: Path, file: str, reason: str) -> None:
    push_folder(folder, NAME, token=TOKEN)
    content = hub.files(NAME)[file]
    flipped = content[:-3] + bytes([content[-3] ^ 1]) + content[-2:]
    swapped = content.replace(b"0", b"1", 1) if file == "config.json" else flipped
    assert (len(swapped), swapped == content) == (len(content), False)
    hub.files(NAME)[file] = swapped
    with pytest.raises(FolderError, match=f"{re.escape(file)}: {reason}"):
        TextClassifier.from_pretrained(NAME)


def test_a_file_that_the_hub_lost_is_named(hub: HubServer, folder: Path) -> None:
    push_folder(folder, NAME, token=TOKEN)
    del hub.files(NAME)["vocabulary.json"]
    with pytest.raises(FolderError, match=r"vocabulary.json: no such file, but the folder lists it"):
        TextClassifier.from_pretrained(NAME)


def test_an_altered_folder_is_not_uploaded(hub: HubServer, folder: Path, tmp_path: Path) -> None:
    copy = shutil.copytree(folder, tmp_path / "copy")
    (copy / "vocabulary.json").write_text("[]")
    with pytest.raises(FolderError, match=r"vocabulary.json: expected \d+ bytes"):
        push_folder(copy, NAME, token=TOKEN)
    assert hub.requests == []


def test_offline_takes_what_is_there_and_asks_for_nothing(
    hub: HubServer, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    pinned = push_folder(folder, NAME, token=TOKEN)
    resolve_model(NAME)
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)
    hub.requests.clear()
    assert TextClassifier.from_pretrained(NAME).labels == ("neg", "pos")
    assert TextClassifier.from_pretrained(pinned).labels == ("neg", "pos")
    with pytest.raises(FolderError, match=r"owner/other: .* HF_HUB_OFFLINE is set, so nothing is downloaded: unset it"):
        LanguageModel.from_pretrained("owner/other")
    with pytest.raises(FolderError, match="cannot be uploaded while HF_HUB_OFFLINE is set; unset it"):
        push_folder(folder, NAME, token=TOKEN)
    assert hub.requests == []


def test_a_hub_that_does_not_answer(hub: HubServer, folder: Path) -> None:
    push_folder(folder, NAME, token=TOKEN)
    resolve_model(NAME)
    hub.server.server_close()
    hub.server.shutdown()
    assert TextClassifier.from_pretrained(NAME).labels == ("neg", "pos")
    with pytest.raises(FolderError, match="other: no such folder, and the hub gives no model of this name"):
        TextClassifier.from_pretrained("owner/other")


def test_a_folder_has_no_revisions(folder: Path) -> None:
    with pytest.raises(ConfigError, match="revision: got 'main', but .* is a folder, not on the hub; leave it out"):
        TextClassifier.from_pretrained(folder, revision="main")
    with pytest.raises(ConfigError, match="revision: got 'v1', but en-small is a folder"):
        LanguageModel.from_pretrained("en-small", revision="v1")


def test_the_command_prints_what_it_uploads(
    hub: HubServer, folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HF_TOKEN", TOKEN)
    told = ulmkit("push", folder, f"{NAME}", "--dry-run")
    rows = [line.split() for line in itertools.takewhile(bool, told.out.splitlines())]
    sizes = {name: int(size.replace(",", "")) for name, size in rows[1:]}
    assert sizes["model.safetensors"] == (folder / "model.safetensors").stat().st_size
    assert "would be uploaded to" in told.out
    assert hub.requests == []
    ulmkit("push", folder, NAME, "--private", "--json", tmp_path / "push.json")
    assert hub.repositories[NAME].private
    (commit,) = re.findall(rf'"name": "{NAME}@(\w+)"', (tmp_path / "push.json").read_text())
    assert commit == hub.repositories[NAME].branches["main"]
    (label,) = CLASSIFIER.predict(TEXTS[:1])
    assert f'"label": "{label}"' in ulmkit("predict", f"{NAME}@{commit}", "--text", TEXTS[0]).out
    assert "expected owner/name" in ulmkit("push", folder, "mine", status=2).error


@pytest.mark.parametrize(("chosen", "expected"), [(None, "1"), ("0", "0")])
def test_commands_that_are_piped_show_no_bars_of_downloads(
    monkeypatch: pytest.MonkeyPatch, chosen: str | None, expected: str
) -> None:
    monkeypatch.setenv("HF_HUB_DISABLE_PROGRESS_BARS", chosen or "")
    if chosen is None:
        monkeypatch.delenv("HF_HUB_DISABLE_PROGRESS_BARS")
    ulmkit("--help")
    assert os.environ["HF_HUB_DISABLE_PROGRESS_BARS"] == expected
