import pytest
import torch

from ulmkit.kernels import bf16_pays, capabilities


@pytest.mark.parametrize(
    ("features", "pays"),
    [({"amx_bf16", "avx512_bf16"}, True), ({"avx512_bf16"}, True), ({"avx512f", "avx2"}, False), (set(), False)],
)
def test_bf16_pays_on_cpus_with_bf16_products(monkeypatch, features, pays):
    monkeypatch.setattr(capabilities, "cpu_features", lambda: frozenset(features))
    assert bf16_pays(torch.device("cpu"))[0] is pays
