import os

import numpy as np
import pytest
import torch

from ulmkit.arrays import load_arrays, read_header, save_arrays
from ulmkit.errors import FolderError
from ulmkit.tensors import load_tensors, save_tensors


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


def test_weights_are_not_written_to_a_pipe(tmp_path):
    os.mkfifo(tmp_path / "best.safetensors")
    with pytest.raises(FolderError, match=r"best.safetensors: expected a regular file or none, got a pipe"):
        save_tensors(tmp_path / "best.safetensors", {"weight": torch.zeros(2)})


def test_missing_and_damaged_files_are_named(tmp_path):
    with pytest.raises(FolderError, match="nowhere: no such file"):
        load_tensors(tmp_path / "nowhere")
    (tmp_path / "bad").write_bytes(b"nonsense")
    with pytest.raises(FolderError, match="bad: not valid safetensors"):
        load_tensors(tmp_path / "bad")


def test_arrays_have_the_file_of_tensors_and_come_back(tmp_path):
    arrays = {"weights": np.arange(6.0, dtype=np.float32).reshape(2, 3).T, "codes": np.array([3, 1], dtype=np.int64)}
    save_arrays(tmp_path / "a", arrays)
    save_tensors(tmp_path / "b", {name: torch.tensor(array) for name, array in arrays.items()})
    assert (tmp_path / "a").read_bytes() == (tmp_path / "b").read_bytes()
    loaded = load_arrays(tmp_path / "b")
    assert {name: array.dtype for name, array in loaded.items()} == {"weights": np.float32, "codes": np.int64}
    assert all(np.array_equal(loaded[name], array) for name, array in arrays.items())


@pytest.mark.parametrize("reads_bfloat16", [False, True])
def test_arrays_that_are_not_finite_or_of_a_type_numpy_lacks_are_refused(reads_bfloat16, tmp_path):
    if reads_bfloat16:
        pytest.importorskip("ml_dtypes")  # once it is imported, safetensors reads bfloat16 as its type
    save_arrays(tmp_path / "a", {"fine": np.zeros(2), "bias": np.array([1.0, np.inf])})
    with pytest.raises(FolderError, match="a: expected finite numbers, got NaN or infinity in 'bias'"):
        load_arrays(tmp_path / "a")
    save_tensors(tmp_path / "b", {"weight": torch.zeros(2, dtype=torch.bfloat16)})
    with pytest.raises(FolderError, match=r"b: not valid safetensors .*bfloat16"):
        load_arrays(tmp_path / "b")


@pytest.mark.parametrize("dtype", [torch.float8_e4m3fn, torch.float8_e5m2, torch.complex64])
def test_tensors_of_types_that_no_model_has_are_refused(dtype, tmp_path):
    save_tensors(tmp_path / "a", {"weight": torch.zeros(2).to(dtype)})
    with pytest.raises(FolderError, match=f"a: not valid safetensors .*'weight' is {dtype}"):
        load_tensors(tmp_path / "a")


@pytest.mark.parametrize("dtype", [torch.float64, torch.float16, torch.bfloat16, torch.int16, torch.uint8, torch.bool])
def test_tensors_of_other_types_come_back(dtype, tmp_path):
    tensor = torch.tensor([0, 1]).to(dtype)
    save_tensors(tmp_path / "a", {"weight": tensor})
    loaded = load_tensors(tmp_path / "a")["weight"]
    assert loaded.dtype == dtype
    assert torch.equal(loaded, tensor)
