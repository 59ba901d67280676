"""Small files in the layouts of fastai, written by hand, and what fastai computes with them."""

import itertools
import pickle
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

TOKENS = ["xxunk", "xxpad", "xxbos", "xxeos", "xxfld", "xxrep", "xxwrep", "xxup", "xxmaj"]
TOKENS += ["the", "film", "was", "fine", "poor", ".", "\n▁", "xxfake", "xxfake"]
EMBEDDING = 6
HIDDEN = 10


def random_tensor(*shape: int) -> Tensor:
    """Normal numbers with a standard deviation of a half, from torch's own generator."""
    return torch.randn(*shape) * 0.5


def widths(layers: int) -> list[tuple[int, int]]:
    """(inputs, outputs) of each layer."""
    sizes = [EMBEDDING, *[HIDDEN] * (layers - 1), EMBEDDING]
    return list(itertools.pairwise(sizes))


def lstm_weights(layers: int = 2) -> dict[str, Tensor]:
    """Weights of a language model as fastai 2 saves them."""
    embedding = random_tensor(len(TOKENS), EMBEDDING)
    weights = {"0.encoder.weight": embedding, "0.encoder_dp.emb.weight": embedding}
    for layer, (inputs, outputs) in enumerate(widths(layers)):
        weights[f"0.rnns.{layer}.weight_hh_l0_raw"] = random_tensor(4 * outputs, outputs)
        weights[f"0.rnns.{layer}.module.weight_ih_l0"] = random_tensor(4 * outputs, inputs)
        weights[f"0.rnns.{layer}.module.bias_ih_l0"] = random_tensor(4 * outputs)
        weights[f"0.rnns.{layer}.module.bias_hh_l0"] = random_tensor(4 * outputs)
    return weights | {"1.decoder.weight": embedding, "1.decoder.bias": random_tensor(len(TOKENS))}


def as_fastai_1(weights: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """The weights as fastai 1 saved them, with what was left of each recurrent matrix after dropout."""
    dropped = {
        name.replace("_raw", "").replace("weight_hh", "module.weight_hh"): nn.functional.dropout(tensor, 0.5)
        for name, tensor in weights.items()
        if name.endswith("_raw")
    }
    return {**weights, **dropped}


def qrnn_weights(layers: int = 2) -> dict[str, Tensor]:
    """Weights of a language model with QRNN layers, a window of two in the first."""
    weights = {name: tensor for name, tensor in lstm_weights(layers).items() if "rnns" not in name}
    for layer, (inputs, outputs) in enumerate(widths(layers)):
        linear = f"0.rnns.{layer}.layers.0.linear"
        weights[f"{linear}.weight_raw"] = random_tensor(3 * outputs, inputs * (2 if layer == 0 else 1))
        weights[f"{linear}.module.bias"] = random_tensor(3 * outputs)
    return weights


def classifier_weights(flat: bool = False, dropout: bool = True, classes: int = 3) -> dict[str, Tensor]:
    """Weights of a classifier.

    Args:
        flat: As fastai 1 numbers the modules of the head; its linear layers have a bias.
        dropout: Whether there is a dropout module, which takes a number, before each linear layer.
        classes: Outputs.
    """
    weights = {name.replace("0.", "0.module.", 1): tensor for name, tensor in lstm_weights().items() if name[0] == "0"}
    for block, (inputs, outputs) in enumerate([(3 * EMBEDDING, 5), (5, classes)]):
        norm, linear = (4 * block, 4 * block + 2) if flat else (f"{block}.0", f"{block}.{2 if dropout else 1}")
        weights[f"1.layers.{norm}.weight"] = random_tensor(inputs)
        weights[f"1.layers.{norm}.bias"] = random_tensor(inputs)
        weights[f"1.layers.{norm}.running_mean"] = random_tensor(inputs)
        weights[f"1.layers.{norm}.running_var"] = random_tensor(inputs).square()
        weights[f"1.layers.{norm}.num_batches_tracked"] = torch.tensor(7)
        weights[f"1.layers.{linear}.weight"] = random_tensor(outputs, inputs)
        if flat:
            weights[f"1.layers.{linear}.bias"] = random_tensor(outputs)
    return weights


def write(folder: Path, weights: Any, vocabulary: Any = TOKENS, *, legacy: bool = False) -> tuple[Path, Path]:
    """Write weights and vocabulary; `legacy` in the format of torch before 1.6."""
    folder.mkdir(exist_ok=True)
    torch.save(weights, folder / "lm.pth", pickle_protocol=2, _use_new_zipfile_serialization=not legacy)
    (folder / "vocab.pkl").write_bytes(pickle.dumps(vocabulary))
    return folder / "lm.pth", folder / "vocab.pkl"


@torch.no_grad()
def encode(weights: Mapping[str, Tensor], ids: Tensor) -> Tensor:
    """Outputs of the last layer, (T, B, E), of a fastai encoder in evaluation mode."""
    weights = {name.removeprefix("0.module."): tensor for name, tensor in weights.items()}
    weights = {name.removeprefix("0."): tensor for name, tensor in weights.items()}
    x = weights["encoder.weight"][ids]
    layer = 0
    while f"rnns.{layer}.weight_hh_l0_raw" in weights:
        names = {"weight_hh_l0": f"rnns.{layer}.weight_hh_l0_raw"}
        names |= {name: f"rnns.{layer}.module.{name}" for name in ("weight_ih_l0", "bias_ih_l0", "bias_hh_l0")}
        lstm = nn.LSTM(x.shape[-1], weights[names["weight_hh_l0"]].shape[1])
        lstm.load_state_dict({name: weights[theirs] for name, theirs in names.items()})
        x = lstm(x)[0]
        layer += 1
    while f"rnns.{layer}.layers.0.linear.weight_raw" in weights:
        linear = f"rnns.{layer}.layers.0.linear"
        x = _qrnn(x, weights[f"{linear}.weight_raw"], weights[f"{linear}.module.bias"])
        layer += 1
    assert layer
    return x


def _qrnn(x: Tensor, weight: Tensor, bias: Tensor) -> Tensor:
    """A QRNN layer of fastai 1: c_t = f z_t + (1 - f) c_{t-1}, h_t = o c_t."""
    previous = torch.cat([torch.zeros_like(x[:1]), x[:-1]])
    source = torch.cat([x, previous], dim=2) if weight.shape[1] == 2 * x.shape[2] else x
    z, f, o = nn.functional.linear(source, weight, bias).chunk(3, dim=2)
    c = torch.zeros_like(z[0])
    outputs = []
    for t in range(len(x)):
        c = f[t].sigmoid() * z[t].tanh() + (1 - f[t].sigmoid()) * c
        outputs.append(o[t].sigmoid() * c)
    return torch.stack(outputs)


def log_probabilities(weights: Mapping[str, Tensor], ids: Tensor) -> Tensor:
    """Log-probabilities of the next token, (T, B, V), of a fastai language model in evaluation mode."""
    scores = encode(weights, ids) @ weights["0.encoder.weight"].T
    return (scores + weights.get("1.decoder.bias", torch.zeros(1))).log_softmax(dim=-1)


@torch.no_grad()
def classify(weights: Mapping[str, Tensor], ids: Tensor, modules: Sequence[str]) -> Tensor:
    """Logits of a fastai classifier in evaluation mode for documents of one length.

    Args:
        weights: Its weights.
        ids: (T, B) int64.
        modules: Numbers of batch norm, linear, batch norm, linear in the head.
    """
    outputs = encode(weights, ids)
    x = torch.cat([outputs[-1], outputs.max(dim=0)[0], outputs.mean(dim=0)], dim=1)
    for block in (0, 1):
        norm, linear = (f"1.layers.{place}" for place in modules[2 * block : 2 * block + 2])
        deviation = (weights[f"{norm}.running_var"] + 1e-5).sqrt()
        x = (x - weights[f"{norm}.running_mean"]) / deviation * weights[f"{norm}.weight"] + weights[f"{norm}.bias"]
        x = nn.functional.linear(x, weights[f"{linear}.weight"], weights.get(f"{linear}.bias"))
        x = x.relu() if block == 0 else x
    return x
