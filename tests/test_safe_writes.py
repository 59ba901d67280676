import errno
import json
import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from ulmkit.errors import FolderError
from ulmkit.files import read_json
from ulmkit.safe_writes import atomic_folder, atomic_write, check_writable, write_json

MODEL = '{"format_version": 1, "kind": "language_model", "fingerprint": "0"}'
OWN_FILES = {
    "config.json": MODEL,
    "corpus.json": '{"format_version": 1, "split_policy": {}, "fingerprint": "0"}',
    "state.json": '{"format_version": 2, "sha256": {}, "fingerprint": "0"}',
    "quickstart.json": '{"perplexity_before": 9.0, "perplexity_after": 8.0, "reports": {}}',
}


def names(folder):
    return sorted(path.name for path in folder.iterdir())


def test_a_file_appears_whole_or_not_at_all(tmp_path):
    path = tmp_path / "deep" / "notes.txt"
    with atomic_write(path) as file:
        file.write("first")
    assert path.read_text() == "first"
    with pytest.raises(RuntimeError, match="stop"), atomic_write(path) as file:
        file.write("second")
        raise RuntimeError("stop")
    assert path.read_text() == "first"
    assert names(path.parent) == ["notes.txt"]


def test_links_are_followed_when_writing(tmp_path):
    (tmp_path / "elsewhere").mkdir()
    (tmp_path / "file").symlink_to("elsewhere/file")
    (tmp_path / "model").symlink_to("elsewhere/model")
    for text in ("first", "second"):
        write_json(tmp_path / "file", text)
        with atomic_folder(f"{tmp_path}/model/", overwrite=True) as inside:
            (inside / "config.json").write_text(MODEL)
            (inside / text).touch()
        assert read_json(tmp_path / "elsewhere" / "file") == text
        assert names(tmp_path / "elsewhere" / "model") == ["config.json", text]
    assert (tmp_path / "file").is_symlink()
    assert (tmp_path / "model").is_symlink()
    assert names(tmp_path / "elsewhere") == ["file", "model"]


def test_a_pipe_is_written_to_and_stays(tmp_path):
    os.mkfifo(tmp_path / "pipe")
    (tmp_path / "link").symlink_to("pipe")
    for name in ("pipe", "link"):
        reader = os.open(tmp_path / "pipe", os.O_RDONLY | os.O_NONBLOCK)
        write_json(tmp_path / name, ["x"])
        assert json.loads(os.read(reader, 100)) == ["x"]
        os.close(reader)
    assert (tmp_path / "pipe").is_fifo()
    assert names(tmp_path) == ["link", "pipe"]


def test_a_folder_appears_whole_or_not_at_all(tmp_path):
    folder = tmp_path / "model"
    with atomic_folder(folder) as inside:
        (inside / "config.json").write_text(MODEL)
    with pytest.raises(FolderError, match="model: already exists"), atomic_folder(folder):
        pass
    with pytest.raises(RuntimeError, match="stop"), atomic_folder(folder, overwrite=True) as inside:
        (inside / "config.json").write_text("2")
        raise RuntimeError("stop")
    assert (folder / "config.json").read_text() == MODEL
    with atomic_folder(folder, overwrite=True) as inside:
        (inside / "b").write_text("3")
    assert names(folder) == ["b"]
    assert names(tmp_path) == ["model"]


def test_a_folder_that_another_process_wrote_meanwhile_is_kept(tmp_path):
    folder = tmp_path / "model"
    with (
        pytest.raises(FolderError, match="model: was written by another process meanwhile"),
        atomic_folder(folder) as inside,
    ):
        (inside / "config.json").write_text("mine")
        with atomic_folder(folder) as other:
            (other / "config.json").write_text("theirs")
    assert (folder / "config.json").read_text() == "theirs"
    assert names(tmp_path) == ["model"]


def overwrite(path):
    with atomic_folder(path, overwrite=True) as inside:
        (inside / "new").write_text("1")


@pytest.mark.parametrize("own", [{}, *({name: text} for name, text in OWN_FILES.items())], ids=str)
def test_a_folder_that_ulmkit_wrote_or_an_empty_one_is_overwritten(own, tmp_path):
    (tmp_path / "m").mkdir()
    for name, text in own.items():
        (tmp_path / "m" / name).write_text(text)
    overwrite(tmp_path / "m")
    assert names(tmp_path / "m") == ["new"]


@pytest.mark.parametrize("name", ["own.txt", "vocabulary.json", *OWN_FILES])
@pytest.mark.parametrize("text", ["", "{}", "[]", '{"format_version": 1, "name": "a web app"}'])
def test_what_ulmkit_did_not_write_is_never_overwritten(name, text, tmp_path):
    (tmp_path / "notes").mkdir()
    (tmp_path / "notes" / name).write_text(text)
    with pytest.raises(FolderError, match="notes: already exists and was not written by ulmkit"):
        overwrite(tmp_path / "notes")
    assert (tmp_path / "notes" / name).read_text() == text
    assert names(tmp_path) == ["notes"]


def test_a_file_is_never_overwritten_by_a_folder(tmp_path):
    (tmp_path / "file").write_text("keep me")
    with pytest.raises(FolderError, match="file: already exists and was not written by ulmkit"):
        overwrite(tmp_path / "file")
    assert (tmp_path / "file").read_text() == "keep me"


@pytest.mark.parametrize("path", ["", ".", "..", "m/..", "/"])
def test_a_folder_needs_a_name_of_its_own(path, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "m").mkdir()
    with pytest.raises(FolderError, match=rf"^'{path}': expected a path that ends in a folder"):
        overwrite(path)
    assert names(tmp_path) == ["m"]


def test_a_folder_that_cannot_make_room_is_refused_before_any_work(tmp_path, monkeypatch):
    folder, rename = tmp_path / "mounted", Path.rename

    def refuse(self, target):
        if self == folder:
            raise OSError(errno.EBUSY, "Device or resource busy")
        return rename(self, target)

    folder.mkdir()
    monkeypatch.setattr(Path, "rename", refuse)
    message = r"mounted: cannot be replaced \(Device or resource busy\); if it is mounted, choose a folder inside it"
    with pytest.raises(FolderError, match=message), atomic_folder(folder, overwrite=True):
        raise AssertionError("work was begun")
    assert names(tmp_path) == ["mounted"]
    check_writable(folder / "inside", overwrite=True)


def test_a_full_disk_is_said_plainly_and_leaves_nothing(tmp_path):
    with (
        pytest.raises(FolderError, match="the disk is full; free some space"),
        atomic_folder(tmp_path / "m"),
    ):
        raise OSError(errno.ENOSPC, "No space left on device")
    with pytest.raises(FolderError, match="the disk is full"), atomic_write(tmp_path / "f") as file:
        file.write("half")
        raise OSError(errno.ENOSPC, "No space left on device")
    assert names(tmp_path) == []


def test_a_file_inside_an_unfinished_folder_is_named_by_its_final_path(tmp_path):
    with (
        pytest.raises(FolderError, match=rf"^{tmp_path}/m/x: the disk is full"),
        atomic_folder(tmp_path / "m") as m,
        atomic_write(m / "x"),
    ):
        raise OSError(errno.ENOSPC, "No space left on device")
    assert names(tmp_path) == []


def test_a_folder_where_a_file_is_to_be(tmp_path):
    (tmp_path / "m").mkdir()
    with (
        pytest.raises(FolderError, match=rf"^{tmp_path}/m: cannot be written"),
        atomic_write(tmp_path / "m"),
    ):
        pass
    assert names(tmp_path) == ["m"]


def test_a_place_that_cannot_be_written(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(FolderError, match="cannot be written"), atomic_write(tmp_path / "file" / "x"):
        pass


def test_other_system_errors_stay_what_they_are(tmp_path):
    with pytest.raises(FileNotFoundError), atomic_folder(tmp_path / "m"):
        raise FileNotFoundError(errno.ENOENT, "gone")


def kill_in(folder, code):
    """Run code that writes into a folder in a process that is killed when it calls `die()`."""
    program = f"""
import os, signal, sys
from pathlib import Path
from ulmkit import safe_writes as writes
folder = Path(sys.argv[1])
def die(*_):
    os.kill(os.getpid(), signal.SIGKILL)
{code}
"""
    assert subprocess.run([sys.executable, "-c", program, str(folder)]).returncode == -signal.SIGKILL


def test_what_a_killed_process_left_is_removed_by_the_next_one(tmp_path):
    kill_in(tmp_path, "with writes.atomic_folder(folder / 'model'): die()")
    kill_in(tmp_path, "with writes.atomic_folder(folder / 'model.b'): die()")
    assert len(names(tmp_path)) == 2
    with atomic_folder(tmp_path / "model") as temporary:
        (temporary / "config.json").write_text(MODEL)
    assert [name for name in names(tmp_path) if not name.startswith(".model.b.")] == ["model"]


def test_an_older_folder_that_was_set_aside_comes_back(tmp_path):
    (tmp_path / "model").mkdir()
    (tmp_path / "model" / "config.json").write_text(MODEL)
    code = "writes._name_folder = die\nPath.rename = lambda path, new, old=Path.rename: die() if new.name == 'model' "
    code += "else old(path, new)\nwrites._replace_folder(Path(writes.tempfile.mkdtemp(dir=folder)), folder / 'model')"
    kill_in(tmp_path, code)
    assert not (tmp_path / "model").exists()
    with pytest.raises(FolderError, match="already exists; choose another name, or"):
        check_writable(tmp_path / "model", overwrite=False)
    assert (tmp_path / "model" / "config.json").read_text() == MODEL


def test_a_folder_that_is_being_written_is_left_alone(tmp_path):
    with atomic_folder(tmp_path / "model") as first:
        (first / "config.json").write_text(MODEL)
        check_writable(tmp_path / "model", overwrite=False)
        assert (first / "config.json").exists()
    assert names(tmp_path) == ["model"]
