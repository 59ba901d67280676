"""Pickles and weights of others: nothing in them is run, and what cannot be read is refused in one clear line."""

import io
import os
import pickle
import sys
import types
import zipfile
from collections import OrderedDict
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from ulmkit.errors import FolderError
from ulmkit.hub.fastai.pickles import MAX_CONTAINERS, InertObject, read_tensors, read_values


class Evil:
    """An object that makes a folder when it is unpickled."""

    def __init__(self, path: Path) -> None:
        self.path = str(path)

    def __reduce__(self) -> Any:
        return os.mkdir, (self.path,)


class EvilState(dict):
    """A dict that evaluates an expression when it is unpickled."""

    def __reduce__(self) -> Any:
        return eval, (f"__import__('os').mkdir({self['path']!r})",)


def write(tmp_path: Path, content: bytes) -> Path:
    path = tmp_path / "vocab.pkl"
    path.write_bytes(content)
    return path


def instance_instruction(path: Path) -> bytes:
    """INST of protocol 0, which names and calls in one instruction."""
    return b"(V" + str(path).encode() + b"\niposix\nmkdir\n."


@pytest.mark.parametrize("protocol", range(pickle.HIGHEST_PROTOCOL + 1))
def test_values_are_read(tmp_path: Path, protocol: int) -> None:
    values = [["a", "b\n▁", "ü"], ("c",), {"d": 1, "e": 2.5, "f": None, "g": True, "h": 2**70}]
    assert read_values(write(tmp_path, pickle.dumps(values, protocol))) == values
    ordered = read_values(write(tmp_path, pickle.dumps(OrderedDict(b=1, a=2), protocol)))
    assert isinstance(ordered, OrderedDict)
    assert list(ordered.items()) == [("b", 1), ("a", 2)]


@pytest.mark.parametrize("protocol", range(pickle.HIGHEST_PROTOCOL + 1))
def test_a_vocabulary_runs_nothing(tmp_path: Path, protocol: int) -> None:
    made = tmp_path / "made"
    for evil in (Evil(made), EvilState(path=str(made)), ["xxunk", {"a": (Evil(made),)}]):
        with pytest.raises(FolderError, match=r"got a pickle that names '\w+\.(mkdir|eval)', which was not run"):
            read_values(write(tmp_path, pickle.dumps(evil, protocol)))
    assert not made.exists()


def test_other_ways_to_run_code_are_refused(tmp_path: Path) -> None:
    made = tmp_path / "made"
    with pytest.raises(FolderError, match=r"names 'posix\.mkdir', which was not run"):
        read_values(write(tmp_path, instance_instruction(made)))
    for content, reason in {
        b"\x80\x02\x82\x01.": "unregistered extension code",
        b"Psecret\n.": "persistent",
        pickle.dumps(InertObject): "names 'ulmkit",
    }.items():
        with pytest.raises(FolderError, match=reason):
            read_values(write(tmp_path, content))
    assert not made.exists()


def test_part_of_a_pickle_is_refused(tmp_path: Path) -> None:
    content = pickle.dumps([["the", "a"], ("xxunk",), {"b": 1.5}])
    for length in range(len(content)):
        with pytest.raises(FolderError, match=r"expected a pickle, got something else or a part of one"):
            read_values(write(tmp_path, content[:length]))


@pytest.mark.parametrize(
    "content",
    [
        b"\x80\x02" + b"]" * 100_000 + b"a" * 99_999 + b".",
        b"\x80\x02)" + b"\x85" * 1_000_000 + b".",
        b"\x80\x02}" + b")" + b"\x85" * 1_000_000 + b"K\x01s.",
        b"\x80\x02]r\xff\xff\xff\xff.",
        b"\x80\x02}" + b"(" * 10 + b"d" * (MAX_CONTAINERS + 1) + b".",
    ],
    ids=["lists", "tuples", "a key", "memo", "dicts"],
)
def test_absurd_pickles_are_refused(tmp_path: Path, content: bytes) -> None:
    with pytest.raises(FolderError, match=f"got a pickle of more than {MAX_CONTAINERS} objects"):
        read_values(write(tmp_path, content))


def test_lengths_beyond_the_file_take_no_memory(tmp_path: Path) -> None:
    for content in (b"\x8d" + b"\xff" * 7 + b"\x0f", b"X\xff\xff\xff\x7f", b"\x8b\xff\xff\xff\x7f"):
        with pytest.raises(FolderError, match="expected a pickle"):
            read_values(write(tmp_path, b"\x80\x04" + content + b"."))


def test_a_missing_file_and_a_folder_are_named(tmp_path: Path) -> None:
    for read in (read_values, read_tensors):
        with pytest.raises(FolderError, match=r"nowhere: no such file"):
            read(tmp_path / "nowhere")
        with pytest.raises(FolderError, match="expected a regular file"):
            read(tmp_path)


WEIGHTS = {"a": torch.arange(6.0).view(2, 3), "n": torch.tensor(3)}


@pytest.mark.parametrize("zipped", [True, False])
def test_weights_are_read(tmp_path: Path, zipped: bool) -> None:
    half = {**WEIGHTS, "a": WEIGHTS["a"].half(), "p": torch.nn.Parameter(WEIGHTS["a"].T)}
    for content in (half, OrderedDict(half), {"model": OrderedDict(half), "opt": {"state": [], "lr": 1e-3}}):
        torch.save(content, tmp_path / "w.pth", _use_new_zipfile_serialization=zipped)
        tensors = read_tensors(tmp_path / "w.pth")
        assert list(tensors) == ["a", "n", "p"]
        assert all(type(tensor) is torch.Tensor for tensor in tensors.values())
        assert tensors["a"].dtype == torch.float32
        assert torch.equal(tensors["a"], WEIGHTS["a"])
        assert torch.equal(tensors["p"], WEIGHTS["a"].T)
        assert tensors["p"].is_contiguous()
        assert not tensors["p"].requires_grad


@pytest.mark.parametrize("zipped", [True, False])
def test_weights_run_nothing(tmp_path: Path, zipped: bool) -> None:
    made = tmp_path / "made"
    for evil in (Evil(made), EvilState(path=str(made))):
        for content in (evil, {**WEIGHTS, "b": evil}, {"model": WEIGHTS, "opt": evil}):
            torch.save(content, tmp_path / "w.pth", _use_new_zipfile_serialization=zipped)
            with pytest.raises(FolderError, match=r"got a pickle that names '[\w.]+', which was not run"):
                read_tensors(tmp_path / "w.pth")
    assert not made.exists()


@pytest.mark.parametrize("zipped", [True, False])
def test_a_part_of_a_file_of_weights_is_refused(tmp_path: Path, zipped: bool) -> None:
    torch.save(WEIGHTS, tmp_path / "w.pth", _use_new_zipfile_serialization=zipped)
    content = (tmp_path / "w.pth").read_bytes()
    for length in sorted({0, 1, 30, 200, *range(0, len(content), len(content) // 15)} - {len(content)}):
        (tmp_path / "w.pth").write_bytes(content[:length])
        with pytest.raises(FolderError, match=r"w\.pth: expected (a file of weights|weights alone), got"):
            read_tensors(tmp_path / "w.pth")
    (tmp_path / "w.pth").write_bytes(content)
    assert len(read_tensors(tmp_path / "w.pth")) == 2


def test_what_is_no_plain_tensor_is_refused(tmp_path: Path) -> None:
    one = torch.ones(1)
    for content, message in {
        (1, "expected weights by name, got int"),
        ((), "expected weights by name, got dict"),
        (("a", 1.0), "expected tensors by name, got float for 'a'"),
        ((3, one), "expected tensors by name, got Tensor for 3"),
        (("a", torch.eye(2).to_sparse()), "expected tensors by name, got Tensor for 'a'"),
        (("a", one.to("meta")), "expected tensors by name, got Tensor for 'a'"),
        (("a", one.to(torch.complex64)), "expected tensors by name, got Tensor for 'a'"),
        (("a", one.expand(10**6, 10**6)), "expected all values of 'a', got a part of them"),
        (("a", one * float("nan")), "expected finite numbers, got NaN or infinity in 'a'"),
    }:
        torch.save(dict([content]) if isinstance(content, tuple) and content else content or {}, tmp_path / "w.pth")
        with pytest.raises(FolderError, match=message):
            read_tensors(tmp_path / "w.pth")


def test_a_compressed_archive_is_refused_before_it_is_opened_up(tmp_path: Path) -> None:
    torch.save({"a": torch.zeros(1_000_000)}, tmp_path / "w.pth")
    bomb = io.BytesIO()
    with zipfile.ZipFile(tmp_path / "w.pth") as source, zipfile.ZipFile(bomb, "w", zipfile.ZIP_DEFLATED) as target:
        for entry in source.infolist():
            target.writestr(entry.filename, source.read(entry))
    assert len(bomb.getvalue()) < 10_000
    (tmp_path / "w.pth").write_bytes(bomb.getvalue())
    with pytest.raises(FolderError, match="got a compressed archive"):
        read_tensors(tmp_path / "w.pth")


@pytest.fixture
def fastcore(monkeypatch: pytest.MonkeyPatch) -> type:
    """A class that pickles under the name of fastcore's list, gone again before anything is read."""
    module = types.ModuleType("fastcore.foundation")
    monkeypatch.setitem(sys.modules, "fastcore", types.ModuleType("fastcore"))
    monkeypatch.setitem(sys.modules, "fastcore.foundation", module)
    module.L = type("L", (), {"__module__": "fastcore.foundation", "__qualname__": "L"})
    return module.L


def test_objects_in_the_state_of_an_optimizer_are_inert(
    tmp_path: Path, fastcore: type, monkeypatch: pytest.MonkeyPatch
) -> None:
    groups = fastcore()
    groups.items = [{"lr": np.float64(1e-3), "mom": 0.9}]
    torch.save({"model": WEIGHTS, "opt": {"hypers": groups, "state": []}}, tmp_path / "w.pth", pickle_protocol=2)
    monkeypatch.delitem(sys.modules, "fastcore.foundation")
    before = set(torch.serialization.get_safe_globals())
    with ThreadPoolExecutor(4) as threads:
        for tensors in threads.map(read_tensors, [tmp_path / "w.pth"] * 8):
            assert torch.equal(tensors["a"], WEIGHTS["a"])
    assert set(torch.serialization.get_safe_globals()) == before


def test_a_list_of_fastai_keeps_its_state(tmp_path: Path, fastcore: type, monkeypatch: pytest.MonkeyPatch) -> None:
    tokens = fastcore()
    tokens.items = ["xxunk", "xxpad"]
    path = write(tmp_path, pickle.dumps(tokens))
    monkeypatch.delitem(sys.modules, "fastcore.foundation")
    read = read_values(path)
    assert isinstance(read, InertObject)
    assert read.state == {"items": ["xxunk", "xxpad"]}
