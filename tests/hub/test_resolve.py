import re
from pathlib import Path

import pytest

from ulmkit.errors import FolderError
from ulmkit.hub import resolve_model


def test_a_folder_is_itself(tmp_path):
    assert resolve_model(tmp_path) == tmp_path
    assert resolve_model(str(tmp_path)) == tmp_path


def test_a_hub_name_is_downloaded_without_anything_that_runs(tmp_path, monkeypatch):
    asked = {}

    def snapshot_download(name, *, revision, token, allow_patterns, local_files_only):
        assert not local_files_only
        asked.update(name=name, revision=revision, token=token, patterns=allow_patterns)
        return str(tmp_path)

    monkeypatch.setattr("huggingface_hub.snapshot_download", snapshot_download)
    assert resolve_model("someone/a-model.v1") == tmp_path
    assert (asked["name"], asked["revision"], asked["token"]) == ("someone/a-model.v1", None, None)
    assert set(asked["patterns"]) == {"*.json", "*.safetensors", "*.model", "*.csv", "*.md"}


@pytest.mark.parametrize(
    ("name", "given", "expected"),
    [
        ("someone/model@v1.0", None, "v1.0"),
        ("someone/model@refs/pr/1", None, "refs/pr/1"),
        ("someone/model", "v2", "v2"),
        ("someone/model@v2", "v2", "v2"),
    ],
)
def test_a_revision_is_part_of_the_name_or_given(name, given, expected, tmp_path, monkeypatch):
    def snapshot_download(name, *, revision, token, **_):
        assert (name, revision, token) == ("someone/model", expected, "hf_token")
        return str(tmp_path)

    monkeypatch.setattr("huggingface_hub.snapshot_download", snapshot_download)
    assert resolve_model(name, revision=given, token="hf_token") == tmp_path


def test_a_folder_may_have_a_name_with_an_at_sign(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "someone" / "model@v1").mkdir(parents=True)
    assert resolve_model("someone/model@v1") == Path("someone/model@v1")


@pytest.mark.parametrize("name", ["nowhere", "/no/such/folder", "./no/such", "a b/c", ""])
def test_what_is_neither(name):
    message = f"{name or repr(name)}: no such folder, and not the name of a model on the hub"
    with pytest.raises(FolderError, match=f"^{re.escape(message)}"):
        resolve_model(name)


def test_a_file_is_not_a_folder(tmp_path):
    (tmp_path / "model.safetensors").write_bytes(b"")
    with pytest.raises(FolderError, match="expected the folder of a model, got a file"):
        resolve_model(tmp_path / "model.safetensors")


@pytest.mark.parametrize(
    "error", [OSError("no network\n\nat all\nlong story"), RuntimeError("no network"), ValueError("no network")]
)
def test_what_the_hub_does_not_give(monkeypatch, error):
    def fail(*_, **__):
        raise error

    monkeypatch.setattr("huggingface_hub.snapshot_download", fail)
    with pytest.raises(FolderError, match=r"someone/model: no such folder, .*\(no network( at all)?\); check the name"):
        resolve_model("someone/model")
