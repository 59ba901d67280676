import pytest
import torch

from ulmkit.errors import ConfigError
from ulmkit.kernels import backend_statuses, choose_backend, choose_precision
from ulmkit.kernels import dispatch as dispatch_module
from ulmkit.kernels.cpu import library as library_module

CPU = torch.device("cpu")


@pytest.mark.parametrize(("pays", "expected"), [(True, torch.bfloat16), (False, torch.float32)])
def test_auto_precision_follows_the_processor(monkeypatch, pays, expected):
    monkeypatch.setattr(dispatch_module, "bf16_pays", lambda device: (pays, "because"))
    assert choose_precision("auto", CPU, torch.float32) == expected
    assert choose_precision("auto", CPU, torch.float64) == torch.float64
    assert choose_precision("fp32", CPU, torch.float32) == torch.float32
    assert choose_precision("bf16", CPU, torch.float32) == torch.bfloat16


def test_unknown_names_and_impossible_precision():
    with pytest.raises(ConfigError, match="precision: got 'fp16'; .*there are: auto, fp32, bf16"):
        choose_precision("fp16", CPU, torch.float32)
    with pytest.raises(ConfigError, match="bf16 expects float32 parameters, got torch.float64"):
        choose_precision("bf16", CPU, torch.float64)
    with pytest.raises(ConfigError, match="backend: got 'cudnn'"):
        choose_backend("cudnn", CPU, torch.float32)


@pytest.mark.parametrize(("dtype", "expected"), [(torch.float32, "torch"), (torch.bfloat16, "stepwise")])
def test_statuses_name_what_auto_chooses(monkeypatch, dtype, expected):
    monkeypatch.setattr(library_module, "load_library", lambda: "not built")
    chosen = [status.name for status in backend_statuses(CPU, dtype) if status.chosen]
    assert chosen == [expected]
