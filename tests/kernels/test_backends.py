"""All backends as objects: one signature, the same results, and what each of them refuses."""

import inspect

import pytest
import torch
from torch import Tensor

from ulmkit.errors import ConfigError
from ulmkit.kernels import Backend, Packed, choose_backend, draw_keep_bits, quantize_rows
from ulmkit.kernels.backends import FUSED_CPU, FUSED_CUDA, INT8, REFERENCE, STEPWISE, TORCH
from ulmkit.kernels.capabilities import fused_path, int8_runs

CPU = torch.device("cpu")
ALL = (REFERENCE, TORCH, STEPWISE, FUSED_CPU, FUSED_CUDA, INT8)
IDS = ("reference", "torch", "stepwise", "fused CPU", "fused CUDA", "int8")
TOLERANCE = {"int8": 0.02}  # 127 levels


def runs_here(backend: Backend) -> bool:
    if backend is FUSED_CUDA:
        return fused_path(torch.device("cuda"), torch.float32)[0] is not None
    if backend is FUSED_CPU:
        return fused_path(CPU, torch.float32)[0] is not None
    return backend is not INT8 or int8_runs(CPU)[0]


def problem(backend: Backend) -> list[Tensor]:
    """x, h0, c0, w_ih, w_hh and bias on the backend's device."""
    if not runs_here(backend):
        pytest.skip("the backend does not run here")
    generator = torch.Generator().manual_seed(0)
    shapes = ((5, 3, 8), (3, 16), (3, 16), (64, 8), (64, 16), (64,))
    device = torch.device("cuda") if backend is FUSED_CUDA else CPU
    return [0.4 * torch.randn(*shape, generator=generator).to(device) for shape in shapes]


@pytest.mark.parametrize("backend", ALL, ids=IDS)
def test_every_backend_has_the_one_signature(backend):
    assert list(inspect.signature(backend.lay_out).parameters) == list(inspect.signature(Backend.pack).parameters)[1:]
    if backend is not FUSED_CUDA and not runs_here(backend):  # a GPU's kernels lay nothing out before they run
        pytest.skip("the backend does not run here")
    w_ih, w_hh = torch.zeros(64, 8), torch.zeros(64, 16)
    packed = backend.pack(w_ih, w_hh)
    assert isinstance(packed, Packed)
    assert packed.dtype == torch.float32
    assert packed.skips_padding == (backend in (FUSED_CPU, INT8))
    parameters = list(inspect.signature(packed.function).parameters)
    assert parameters[:7] == list(inspect.signature(REFERENCE.pack(w_ih, w_hh).function).parameters)


@pytest.mark.parametrize("lengths", [None, [5, 0, 2]])
@pytest.mark.parametrize("backend", ALL, ids=IDS)
def test_every_backend_computes_the_reference(backend, lengths):
    x, h0, c0, w_ih, w_hh, bias = problem(backend)
    lengths = None if lengths is None else torch.tensor(lengths, device=x.device)
    bits = None if backend is INT8 else draw_keep_bits(64, 16, 0.5, device=x.device)
    with torch.no_grad():
        got = backend.pack(w_ih, w_hh, bits, 2.0).run(x, h0, c0, bias, lengths)
        expected = REFERENCE.pack(w_ih, w_hh, bits, 2.0).run(x, h0, c0, bias, lengths)
    for a, b in zip(got, expected, strict=True):
        assert (a - b).norm() <= TOLERANCE.get(backend.name, 1e-5) * b.norm()


@pytest.mark.parametrize("backend", ALL, ids=IDS)
def test_every_backend_takes_int8_weights(backend):
    x, h0, c0, w_ih, w_hh, bias = problem(backend)
    with torch.no_grad():
        got = backend.pack(quantize_rows(w_ih), quantize_rows(w_hh)).run(x, h0, c0, bias)
        expected = REFERENCE.pack(quantize_rows(w_ih).to_float(), quantize_rows(w_hh).to_float()).run(x, h0, c0, bias)
    for a, b in zip(got, expected, strict=True):
        assert (a - b).norm() <= TOLERANCE.get(backend.name, 1e-5) * b.norm()


@pytest.mark.parametrize("backend", ALL, ids=IDS)
def test_every_backend_names_what_does_not_fit(backend):
    x, h0, c0, w_ih, w_hh, bias = problem(backend)
    with pytest.raises(ConfigError, match=r"pack: expected w_ih \(4H, E\) and w_hh \(4H, H\), got \(64, 8\) and \(60"):
        backend.pack(w_ih, w_hh[:60])
    with pytest.raises(ConfigError, match=r"keep_bits: expected shape \(64, 2\), got \(64, 3\)"):
        backend.pack(w_ih, w_hh, torch.zeros(64, 3, dtype=torch.uint8, device=x.device))
    with pytest.raises(ConfigError, match=r"h0: expected \(3, 16\), got \(2, 16\)"):
        backend.pack(w_ih, w_hh).run(x, h0[:2], c0, bias)


def test_int8_weights_are_not_masked_and_stand_between_float32_activations():
    _, _, _, w_ih, w_hh, _ = problem(INT8)
    with pytest.raises(ConfigError, match="keep_bits: expected None for int8 weights"):
        INT8.pack(w_ih, w_hh, draw_keep_bits(64, 16, 0.5))
    with pytest.raises(ConfigError, match=r"dtype: expected torch.float32 around int8 weights, got torch.bfloat16"):
        INT8.pack(w_ih, w_hh, dtype=torch.bfloat16)


def test_int8_is_chosen_by_name():
    if int8_runs(CPU)[0]:
        assert choose_backend("int8", CPU, torch.float32) is INT8
    with pytest.raises(ConfigError, match="backend: 'int8' has no kernels for xpu; use backend='auto'"):
        choose_backend("int8", torch.device("xpu"), torch.float32)
