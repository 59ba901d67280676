"""What torch.compile makes of the kernels on GPUs: one graph, with the kernels' own source run on the CPU."""

import functools
import importlib
import os

import pytest
import torch
from support.host_driver import HostDriver, compiler, stand_in
from torch import Tensor

from ulmkit.kernels import capabilities, dispatch
from ulmkit.kernels.backends import FUSED_CUDA
from ulmkit.kernels.cuda import fused_cross_entropy, fused_lstm, fused_masks, fused_regularization
from ulmkit.model import lstm_layer, regularizers
from ulmkit.model.awd_lstm import AWDLSTMConfig
from ulmkit.model.language_model import AWDLSTMLanguageModel, LanguageModelConfig

CUDA = torch.device("cuda")
V = 31


@pytest.fixture
def as_on_a_gpu(monkeypatch: pytest.MonkeyPatch) -> None:
    """The CPU is taken for a GPU: what GPUs have is chosen, and values are not looked at."""
    cross_entropy = importlib.import_module("ulmkit.kernels.linear_cross_entropy")
    for module in (fused_cross_entropy, fused_lstm, fused_masks, fused_regularization):
        stand_in(monkeypatch, module, HostDriver())
    for module in (cross_entropy, importlib.import_module("ulmkit.kernels.masks"), regularizers):
        monkeypatch.setattr(module, "fused_on_gpu", lambda *_: True)
    monkeypatch.setattr(cross_entropy, "_check", lambda *_: None)
    monkeypatch.setattr(cross_entropy, "_is_known_to_be_one", lambda factor: False)
    monkeypatch.setattr(lstm_layer, "choose_backend", lambda *_: FUSED_CUDA)


@pytest.mark.skipif(compiler() is None, reason="needs a C++ compiler")
@pytest.mark.usefixtures("as_on_a_gpu")
@pytest.mark.parametrize("precision", [pytest.param("fp32", marks=pytest.mark.slow), "bf16"])
def test_a_training_step_is_one_graph(precision):
    torch.manual_seed(0)
    config = LanguageModelConfig(encoder=AWDLSTMConfig(embedding_size=8, hidden_size=9, layers=2))
    model = AWDLSTMLanguageModel(config, V)
    model.encoder.backend, model.encoder.precision = "fused", precision
    ids = torch.randint(V, (6, 3))

    def loss(inputs: Tensor, targets: Tensor) -> Tensor:
        return model.loss(inputs, targets).total

    def step(function) -> list[Tensor]:
        torch.manual_seed(1)
        total = function(ids[:-1], ids[1:])
        return [total, *torch.autograd.grad(total, list(model.parameters()))]

    wanted = step(loss)
    found = step(torch.compile(loss, backend="aot_eager", fullgraph=True))
    for a, b in zip(found, wanted, strict=True):
        torch.testing.assert_close(a, b, rtol=1e-5, atol=1e-6)


def test_kernel_availability_is_queried_outside_the_graph(monkeypatch):
    @functools.cache
    def answer(*given):
        open(os.devnull).close()  # in no graph
        return "sm_90a", "because"

    monkeypatch.setattr(capabilities, "cuda_runs", answer)
    monkeypatch.setattr(torch.cuda, "get_device_capability", lambda device: [open(os.devnull).close(), 9][1:] * 2)

    def chosen(x: Tensor) -> Tensor:
        there = capabilities.fused_on_gpu(CUDA, x.dtype, "fused")
        named = dispatch.choose_backend("fused", CUDA, x.dtype)
        precision = dispatch.choose_precision("auto", CUDA, x.dtype)
        return x + 1.0 if there and named.name == "fused" and precision == torch.bfloat16 else x

    assert torch.compile(chosen, backend="eager", fullgraph=True)(torch.zeros(())) == 1.0


def test_choosing_on_a_cpu_is_no_work_of_the_compiler():
    chosen = dispatch.choose_backend("auto", torch.device("cpu"), torch.float32).name

    def is_chosen(x: Tensor) -> Tensor:
        return x + float(dispatch.choose_backend("auto", x.device, x.dtype).name == chosen)

    assert torch.compile(is_chosen, backend="eager", fullgraph=True)(torch.zeros(())) == 1.0
