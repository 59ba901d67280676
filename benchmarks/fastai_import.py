"""Files that fastai writes, imported into ulmkit and compared: language models and classifiers in both layouts."""

import pickle
import re
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
from fastai_peer import PAD_ID, zipf_ids
from torch import Tensor, nn

from ulmkit import LanguageModel, TextClassifier, import_fastai

LABELS = ["neg", "pos"]
DOCUMENT_LENGTHS = (200, 200, 193, 171, 160, 150, 142, 141)  # all end in the third window of fastai's
SPECIALS = ["xxunk", "xxpad", "xxbos", "xxeos", "xxfld", "xxrep", "xxwrep", "xxup", "xxmaj"]


def compare_imports(fastai: Any, vocab_size: int, hidden_sizes: Sequence[int]) -> dict[str, float]:
    """Largest differences between models in fastai and their imports, by case: log-probabilities and logits."""
    differences: dict[str, float] = {}
    tokens = [*SPECIALS, *(f"word{number}" for number in range(vocab_size - len(SPECIALS) - 3)), *["xxfake"] * 3]
    ids, lengths = _documents(vocab_size)
    with tempfile.TemporaryDirectory() as temporary, torch.no_grad():
        for hidden_size in hidden_sizes:
            theirs = _language_model(fastai, vocab_size, hidden_size)
            theirs.reset()
            expected = theirs(ids.T)[0].transpose(0, 1).log_softmax(dim=-1)
            for layout, weights in _layouts(theirs).items():
                network = _imported(Path(temporary), layout, weights, tokens).parts.model
                network.encoder.precision = "fp32"
                log_probabilities = network(ids)[0].log_softmax(dim=-1)
                differences[f"language model of {layout}, {hidden_size} units"] = _largest(log_probabilities, expected)
        theirs = _classifier(fastai, vocab_size)
        logits = theirs(ids.T)[0]
        for layout, weights in _layouts(theirs).items():
            network = _imported(Path(temporary), layout, weights, [tokens, LABELS]).parts.model
            network.encoder.precision = "fp32"
            differences[f"classifier of {layout}"] = _largest(network(ids, lengths), logits)
    return differences


def _language_model(fastai: Any, vocab_size: int, hidden_size: int) -> nn.Module:
    """A language model of fastai's with random weights, in evaluation mode."""
    config = {**fastai.awd_lstm_lm_config, "n_hid": hidden_size}
    model = fastai.get_language_model(fastai.AWD_LSTM, vocab_size, config)
    nn.init.normal_(model[1].decoder.bias)
    return model.eval()


def _classifier(fastai: Any, vocab_size: int) -> nn.Module:
    """A classifier of fastai's with random weights and statistics as after training, in evaluation mode."""
    model = fastai.get_text_classifier(fastai.AWD_LSTM, vocab_size, len(LABELS), seq_len=70)
    for name, tensor in model.state_dict().items():
        if name.endswith(("running_mean", "running_var")):
            tensor.uniform_(0.01, 0.1)
    return model.eval()


def _layouts(model: nn.Module) -> dict[str, dict[str, Tensor]]:
    """Weights by the names of fastai 2 and of fastai 1, where the dropped weight was a parameter, too."""
    weights = model.state_dict()
    old = {}
    for name, tensor in weights.items():
        head = re.fullmatch(r"1\.layers\.(\d)\.(\d)\.(\w+)", name)
        old[f"1.layers.{4 * int(head[1]) + int(head[2])}.{head[3]}" if head else name] = tensor
        if name.endswith("weight_hh_l0_raw"):
            dropped = name.replace("weight_hh_l0_raw", "module.weight_hh_l0")
            old[dropped] = nn.functional.dropout(tensor, 0.5)
    return {"fastai 2": weights, "fastai 1": old}


def _imported(
    folder: Path, layout: str, weights: Mapping[str, Tensor], vocabulary: list[Any]
) -> LanguageModel | TextClassifier:
    """Import weights and a vocabulary from files: of fastai 1 as old versions of torch wrote them."""
    is_old = layout == "fastai 1"
    torch.save(
        {"model": weights, "opt": {}} if is_old else weights,
        folder / "weights.pth",
        pickle_protocol=2,
        _use_new_zipfile_serialization=not is_old,
    )
    (folder / "vocab.pkl").write_bytes(pickle.dumps(vocabulary))
    return import_fastai(folder / "weights.pth", folder / "vocab.pkl")


def _documents(vocab_size: int) -> tuple[Tensor, Tensor]:
    """Ids (T, B) of documents, padded at the end, and their lengths (B,)."""
    lengths = torch.tensor(DOCUMENT_LENGTHS)
    ids = zipf_ids(vocab_size, len(lengths) * int(lengths.max())).view(-1, len(lengths))
    ids[torch.arange(len(ids)).unsqueeze(1) >= lengths] = PAD_ID
    return ids, lengths


def _largest(x: Tensor, y: Tensor) -> float:
    if x.shape != y.shape:
        raise ValueError(f"expected tensors of one shape, got {tuple(x.shape)} and {tuple(y.shape)}")
    return float((x - y).abs().max())
