"""Names and shapes of fastai's weights: from a state dict of fastai 1 or 2 to the weights of an ulmkit model.

                      fastai                                                          ulmkit
    encoder           [0.[module.]]encoder.weight                                     encoder.embedding.weight
    copy of it        ...encoder_dp.emb.weight, 1.decoder.weight                      (the same)
    LSTM layer        ...rnns.L.weight_hh_l0_raw, ...rnns.L.module.weight_ih_l0, ...  encoder.layers.L.weight_hh, ...
    QRNN layer        ...rnns.L.layers.0.linear.weight_raw, ...linear.module.bias     encoder.layers.L.weight, .bias
    softmax           1.decoder.bias                                                  decoder.weight
    classifier        1.layers.0.0.weight (fastai 2), 1.layers.0.weight (fastai 1)    head.layers.0.weight, ...

`0.` is there in whole models and not in an encoder, `module.` only in classifiers. Beside `_raw` there may be the same
weight without it, after dropout: it is passed over.
"""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import torch
from torch import Tensor

from ulmkit.errors import ConfigError, FolderError
from ulmkit.model.cells import LSTM, QRNN, Cell
from ulmkit.model.config import AWDLSTMConfig

Kind = Literal["language_model", "encoder", "classifier"]

_PREFIX = r"(?:0\.(?:module\.)?)?"
_EMBEDDING = re.compile(_PREFIX + r"encoder\.weight")
_COPY = re.compile(_PREFIX + r"(?:encoder_dp\.emb|encoder_with_dropout\.embed)\.weight|1\.decoder\.weight")
_LSTM = re.compile(_PREFIX + r"rnns\.(\d{1,3})\.(?:module\.)?((?:weight|bias)_(?:ih|hh))_l0(_raw)?")
_QRNN = re.compile(_PREFIX + r"rnns\.(\d{1,3})\.layers\.0\.linear\.(?:module\.)?(weight|bias)(_raw)?")
_BIDIRECTIONAL = re.compile(_PREFIX + r"rnns\.\d+\..*(?:_reverse|layers_bwd\.).*")
_BIAS = "1.decoder.bias"
_HEAD = re.compile(r"1\.layers\.(\d+(?:\.\d+)?)\.(weight|bias|running_mean|running_var|num_batches_tracked)")
_HEAD_PLACES = (0, 2, 4, 6)  # batch norm, linear, batch norm, linear in the head of ulmkit
_NAMES_SHOWN = 3


@dataclass(frozen=True)
class FastaiWeights:
    """Weights of a fastai model by ulmkit's names.

    Attributes:
        kind: What was saved: a language model, its encoder alone, or a classifier.
        vocab_size: Tokens, V.
        encoder: Sizes and cell.
        weights: Tensors by ulmkit's names. Of a classifier, with its head; of an encoder, without the softmax's bias.
        classes: Outputs of a classifier, else 0.
        head_size: Hidden units of its head, else 0.
    """

    kind: Kind
    vocab_size: int
    encoder: AWDLSTMConfig
    weights: Mapping[str, Tensor]
    classes: int = 0
    head_size: int = 0


def convert(path: Path, tensors: Mapping[str, Tensor]) -> FastaiWeights:
    """Rename the tensors of a file, and read the model's sizes from their shapes.

    Whether the shapes agree with each other is checked when the model is made of them.

    Args:
        path: The file, for messages.
        tensors: Its tensors by fastai's names.

    Raises:
        FolderError: If they are not the weights of an AWD-LSTM or AWD-QRNN that ulmkit has, too.
    """
    weights: dict[str, Tensor] = {}
    copies: dict[str, Tensor] = {}
    raw: set[str] = set()
    heads: dict[str, dict[str, Tensor]] = {}
    unknown: list[str] = []
    for name, tensor in tensors.items():
        if _EMBEDDING.fullmatch(name):
            _add(path, weights, "encoder.embedding.weight", tensor)
        elif _COPY.fullmatch(name):
            copies[name] = tensor
        elif match := _LSTM.fullmatch(name) or _QRNN.fullmatch(name):
            ours = f"encoder.layers.{int(match[1])}.{match[2]}"
            if match[3]:
                raw.add(ours)
                weights[ours] = tensor
            elif ours not in raw:
                weights[ours] = tensor
        elif match := _HEAD.fullmatch(name):
            heads.setdefault(match[1], {})[match[2]] = tensor
        elif name == _BIAS:
            weights["decoder.weight"] = tensor
        elif _BIDIRECTIONAL.fullmatch(name):
            raise FolderError(
                f"{path}: expected layers that read in one direction, got a bidirectional model ({name!r})"
            )
        else:
            unknown.append(name)
    if unknown or "encoder.embedding.weight" not in weights:
        shown = _listing(unknown or sorted(tensors))
        raise FolderError(f"{path}: expected the weights of fastai's AWD_LSTM or AWD_QRNN, got {shown:.150}")
    embedding = weights["encoder.embedding.weight"]
    for name, copy in copies.items():
        if not torch.equal(copy, embedding):
            raise FolderError(f"{path}: expected {name!r} to be the embedding (tie_weights=True), got another matrix")
    if heads and ("decoder.weight" in weights or "1.decoder.weight" in copies):
        raise FolderError(f"{path}: expected a language model or a classifier, got the weights of both")
    encoder = _encoder_config(path, weights)
    if encoder.cell.name == "qrnn":
        _flip_forget_gates(weights)
    if heads:
        head = _head_weights(path, heads)
        hidden, classes = len(head["head.layers.2.bias"]), len(head["head.layers.6.bias"])
        return FastaiWeights("classifier", len(embedding), encoder, weights | head, classes, hidden)
    kind: Kind = "language_model" if "1.decoder.weight" in copies else "encoder"
    return FastaiWeights(kind, len(embedding), encoder, weights)


def _add(path: Path, weights: dict[str, Tensor], name: str, tensor: Tensor) -> None:
    if name in weights:
        raise FolderError(f"{path}: expected one model, got two embeddings")
    weights[name] = tensor


def _encoder_config(path: Path, weights: Mapping[str, Tensor]) -> AWDLSTMConfig:
    """Sizes and cell from the shapes of the embedding and of the first layer's bias."""
    numbers = {int(name.split(".")[2]) for name in weights if name.startswith("encoder.layers.")}
    layers = len(numbers)
    if numbers != set(range(layers)) or not layers:
        raise FolderError(f"{path}: expected layers numbered from 0, got {sorted(numbers)}")
    cell: Cell = QRNN() if "encoder.layers.0.bias" in weights else LSTM()
    gates, bias = (3, "bias") if isinstance(cell, QRNN) else (4, "bias_hh")
    embedding = weights["encoder.embedding.weight"]
    first = weights.get(f"encoder.layers.0.{bias}")
    if embedding.dim() != 2 or first is None or first.dim() != 1 or len(first) % gates:
        got = None if first is None else tuple(first.shape)
        raise FolderError(
            f"{path}: expected an embedding (V, E) and a bias ({gates}H,) in the first layer, got "
            f"{tuple(embedding.shape)} and {got}"
        )
    hidden = len(first) // gates
    try:
        return AWDLSTMConfig(embedding_size=embedding.shape[1], hidden_size=hidden, layers=layers, cell=cell)
    except ConfigError as error:
        raise FolderError(f"{path}: {error}") from error


def _flip_forget_gates(weights: dict[str, Tensor]) -> None:
    """Change the sign of a QRNN's forget gate: fastai's keeps 1 - sigmoid(a) of the cell, and ulmkit's sigmoid(a)."""
    for name, tensor in weights.items():
        if name.startswith("encoder.layers."):
            flipped = tensor.clone()
            flipped[len(tensor) // 3 : 2 * (len(tensor) // 3)].neg_()
            weights[name] = flipped


def _head_weights(path: Path, modules: Mapping[str, Mapping[str, Tensor]]) -> dict[str, Tensor]:
    """Weights of the head by ulmkit's names; a linear layer without bias, as fastai 2 has it, gets zeros."""
    order = sorted(modules, key=lambda place: [int(part) for part in place.split(".")])
    kinds = ["batch norm" if "running_mean" in modules[place] else "linear" for place in order]
    if kinds != ["batch norm", "linear"] * 2:
        raise FolderError(
            f"{path}: expected a head of batch norm, linear, batch norm, linear (fastai's default), got "
            f"{', '.join(kinds)}; import its encoder (learn.save_encoder), and train a classifier from that"
        )
    weights: dict[str, Tensor] = {}
    for ours, place in zip(_HEAD_PLACES, order, strict=True):
        module = dict(modules[place])
        if ours in (2, 6):
            matrix = module.get("weight")
            if matrix is None or matrix.dim() != 2:
                raise FolderError(f"{path}: expected a matrix '1.layers.{place}.weight', got none")
            module.setdefault("bias", matrix.new_zeros(len(matrix)))
        else:
            module.setdefault("num_batches_tracked", torch.tensor(0))
        weights |= {f"head.layers.{ours}.{name}": tensor for name, tensor in module.items()}
    return weights


def check_shapes(path: Path, weights: Mapping[str, Tensor], expected: Mapping[str, Sequence[int]]) -> None:
    """Raise FolderError unless there are the tensors that a model of these sizes has, in their shapes."""
    missing = sorted(expected.keys() - weights.keys())
    unexpected = sorted(weights.keys() - expected.keys())
    if missing or unexpected:
        raise FolderError(
            f"{path}: expected a whole model; missing: {_listing(missing)}; "
            f"not expected: {_listing(unexpected)}; was it copied in full?"
        )
    for name, shape in expected.items():
        if tuple(weights[name].shape) != tuple(shape):
            raise FolderError(
                f"{path}: expected shape {tuple(shape)} for {name!r}, as the other weights tell, got "
                f"{tuple(weights[name].shape)}"
            )


def _listing(names: Sequence[str]) -> str:
    """The first of some names, which may hold anything, in a form to print."""
    return ", ".join(map(repr, names[:_NAMES_SHOWN])) or "none"
