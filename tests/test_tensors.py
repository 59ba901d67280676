import os

import pytest
import torch

from ulmkit.errors import FolderError
from ulmkit.tensors import load_tensors, read_header, save_tensors


def test_a_tied_tensor_is_stored_once(tmp_path):
    weight = torch.randn(1000)
    save_tensors(tmp_path / "a", {"one": weight, "two": weight})
    save_tensors(tmp_path / "b", {"one": weight})
    assert os.path.getsize(tmp_path / "a") < os.path.getsize(tmp_path / "b") + 100
    assert torch.equal(load_tensors(tmp_path / "a")["two"], weight)


def test_views_of_one_storage_and_metadata_come_back(tmp_path):
    weight = torch.arange(12.0).view(3, 4)
    save_tensors(tmp_path / "a", {"row": weight[1], "column": weight[:, 1]}, {"best": "0.5"})
    assert torch.equal(load_tensors(tmp_path / "a")["row"], weight[1])
    assert torch.equal(load_tensors(tmp_path / "a")["column"], weight[:, 1])
    assert read_header(tmp_path / "a")["best"] == "0.5"


def test_missing_and_damaged_files_are_named(tmp_path):
    with pytest.raises(FolderError, match="nowhere: no such file"):
        load_tensors(tmp_path / "nowhere")
    (tmp_path / "bad").write_bytes(b"nonsense")
    with pytest.raises(FolderError, match="bad: not valid safetensors"):
        load_tensors(tmp_path / "bad")
