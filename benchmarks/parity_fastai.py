"""Does ulmkit compute the same as fastai with the same weights?

Full-size models (400, 1152 x 3) get the weights of the other library. They read consecutive windows of 70 steps of 8
streams with the state carried, a reset before the third window and a shorter last one; token ids are drawn by Zipf's
law. Compared are, in evaluation mode, the last layer's outputs, logits, states and each token's negative
log-likelihood; in training mode without dropout, the gradient of every parameter, without and with the activation
regularization of fastai's own callback; the classifier on documents of unequal length, whose padding stays within
fastai's last window; and language models and classifiers that `ulmkit import-fastai` reads from files, the log-
probabilities of random ids from a fresh state and the logits of documents.

Values are the largest absolute differences (for gradients, relative to the parameter's largest absolute gradient), and
the peer is their limit. The exit status is 1 if a limit is exceeded.

In fp32 the weights of ulmkit's models are 3 times as large as initial ones, so that the gates leave their linear range.
With a factor of 4 the network is chaotic and amplifies rounding: fastai's fp32 then differs from its own float64 by
5e-4, and any other order of summation by more than 1e-5. That factor is used to compare the formulas in float64.

    python benchmarks/parity_fastai.py [--quick] [--json FILE]
"""

import argparse
import sys
from collections.abc import Mapping, Sequence
from typing import Any

import torch
from common import report, row
from fastai_import import compare_imports
from fastai_peer import (
    MISSING,
    PAD_ID,
    classifier_names,
    from_fastai,
    language_model_names,
    load_fastai,
    no_dropout,
    regularized_loss,
    to_fastai,
    zipf_ids,
)
from torch import Tensor, nn

from ulmkit.kernels import BACKENDS
from ulmkit.model.awd_lstm import AWDLSTMConfig, State
from ulmkit.model.classifier import AWDLSTMClassifier
from ulmkit.model.heads import SingleLabelConfig
from ulmkit.model.language_model import AWDLSTMLanguageModel, LanguageModelConfig

LIMIT = 1e-5
LIMIT_FLOAT64 = 1e-9
GRADIENT_LIMIT = 1e-4
BATCH = 8
WINDOW_STEPS = (70, 70, 70, 33)
RESET_BEFORE = 2
GRADIENT_WINDOWS = 2
REGULARIZATIONS = ((0.0, 0.0), (2.0, 1.0))  # AR and TAR
GAIN = 3.0  # factor of the LSTM's initial weights in fp32
CHAOTIC_GAIN = 4.0  # factor in float64
DOCUMENT_LENGTHS = (200, 200, 193, 171, 160, 150, 142, 141)  # all end in the third window of fastai's


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument(
        "--quick",
        action="store_true",
        help="vocabulary of 10,000, the chosen backend, and gradients with AR and TAR only",
    )
    parser.add_argument("--json", metavar="FILE", help="write the results to this file")
    options = parser.parse_args()
    fastai = load_fastai()
    if fastai is None:
        sys.exit(f"{MISSING}: see benchmarks/requirements.txt")
    torch.manual_seed(0)
    rows = []
    for vocab_size in (10_000,) if options.quick else (10_000, 10_003, 60_000):
        backends = ["auto", *BACKENDS] if vocab_size == 10_000 and not options.quick else ["auto"]
        rows += output_rows(fastai, vocab_size, backends)
        rows += gradient_rows(fastai, vocab_size, backends, REGULARIZATIONS[-1:] if options.quick else REGULARIZATIONS)
    if not options.quick:
        rows += float64_rows(fastai, 10_000)
    rows += classifier_rows(fastai, 10_000)
    rows += _rows(
        "V 10,003, imported files", compare_imports(fastai, 10_003, (1152,) if options.quick else (1150, 1152))
    )
    report("parity_fastai", rows, options.json)
    above = [line["case"] for line in rows if not line["ulmkit"] <= line["peer"]]
    if above:
        sys.exit("\nAbove the limit:\n  " + "\n  ".join(above))


def output_rows(fastai: Any, vocab_size: int, backends: list[str]) -> list[dict[str, Any]]:
    """Compare outputs in evaluation mode: ulmkit's weights in fastai with each backend, fastai's in ulmkit with one."""
    ours = make_ours(vocab_size)
    theirs = make_theirs(fastai, vocab_size)
    windows = make_windows(vocab_size)
    rows = []
    theirs.load_state_dict(to_fastai(ours.state_dict()))
    for backend in backends:
        ours.encoder.backend = backend
        rows += _rows(f"V {vocab_size:,}, our weights in fastai, {backend}", compare_outputs(ours, theirs, windows))
    theirs = make_theirs(fastai, vocab_size)
    ours.encoder.backend = "auto"
    ours.load_state_dict(from_fastai(theirs.state_dict(), language_model_names()))
    return rows + _rows(f"V {vocab_size:,}, fastai's weights in ours, auto", compare_outputs(ours, theirs, windows))


def float64_rows(fastai: Any, vocab_size: int) -> list[dict[str, Any]]:
    """Compare outputs of each backend in float64, with weights for which fp32 has too few digits."""
    ours = make_ours(vocab_size, CHAOTIC_GAIN)
    theirs = make_theirs(fastai, vocab_size)
    theirs.load_state_dict(to_fastai(ours.state_dict()))
    ours = ours.double()
    theirs = theirs.double()
    rows = []
    for backend in [name for name in BACKENDS if name != "fused"]:  # the fused backend has no float64
        ours.encoder.backend = backend
        differences = compare_outputs(ours, theirs, make_windows(vocab_size))
        rows += _rows(f"V {vocab_size:,}, our weights in fastai, {backend}, float64", differences, LIMIT_FLOAT64)
    return rows


def _rows(case: str, differences: Mapping[str, float], limit: float = LIMIT) -> list[dict[str, Any]]:
    return [
        row(f"{case}: {what}", "max abs", value, limit, "limit", lower_is_better=True)
        for what, value in differences.items()
    ]


def make_ours(vocab_size: int, gain: float = GAIN) -> AWDLSTMLanguageModel:
    """Make a language model in fp32 without dropout, with the LSTM's initial weights multiplied by `gain`."""
    dropouts = dict.fromkeys([f"{name}_dropout" for name in ("embedding", "input", "hidden", "output", "weight")], 0.0)
    model = AWDLSTMLanguageModel(LanguageModelConfig(encoder=AWDLSTMConfig(**dropouts)), vocab_size)
    model.encoder.precision = "fp32"
    with torch.no_grad():
        model.decoder.weight[:vocab_size].normal_(0.0, 1.0)
        for layer in model.encoder.layers:
            layer.weight_ih.mul_(gain)
            layer.weight_hh.mul_(gain)
    return model


def make_theirs(fastai: Any, vocab_size: int) -> nn.Module:
    """Make fastai's language model without dropout, with a random decoder bias in place of its initial zeros."""
    model = fastai.get_language_model(fastai.AWD_LSTM, vocab_size, no_dropout(fastai.awd_lstm_lm_config))
    nn.init.normal_(model[1].decoder.bias)
    return model


def make_windows(vocab_size: int) -> list[tuple[Tensor, Tensor]]:
    """Inputs and targets, each (T, B), of the consecutive windows."""
    stream = zipf_ids(vocab_size, BATCH * (sum(WINDOW_STEPS) + 1)).view(BATCH, -1).T.contiguous()
    begins = [sum(WINDOW_STEPS[:number]) for number in range(len(WINDOW_STEPS))]
    return [
        (stream[begin : begin + steps], stream[begin + 1 : begin + steps + 1])
        for begin, steps in zip(begins, WINDOW_STEPS, strict=True)
    ]


@torch.no_grad()
def compare_outputs(ours: AWDLSTMLanguageModel, theirs: Any, windows: list[tuple[Tensor, Tensor]]) -> dict[str, float]:
    """Largest absolute difference over all windows, by kind of output."""
    ours.eval()
    theirs.eval()
    differences = dict.fromkeys(("outputs", "logits", "states", "token NLL"), 0.0)
    state: State | None = None
    outputs = []
    hook = ours.encoder.register_forward_hook(lambda _module, _ids, output: outputs.append(output.raw))
    theirs.reset()
    for number, (ids, targets) in enumerate(windows):
        if number == RESET_BEFORE:
            theirs.reset()
            state = None
        their_logits, their_raw, _ = (x.transpose(0, 1) for x in theirs(ids.T))
        their_nll = nn.functional.cross_entropy(their_logits.flatten(0, 1), targets.flatten(), reduction="none")
        nll, _ = ours.token_nll(ids, targets, state)
        logits, state = ours(ids, state)
        pairs = {
            "outputs": [(outputs[-1], their_raw)],
            "logits": [(logits, their_logits)],
            "states": [
                (x, y[0])
                for our_layer, their_layer in zip(state, theirs[0].hidden, strict=True)
                for x, y in zip(our_layer, their_layer, strict=True)
            ],
            "token NLL": [(nll.flatten(), their_nll)],
        }
        for what, tensors in pairs.items():
            differences[what] = max([differences[what], *(largest_difference(x, y) for x, y in tensors)])
    hook.remove()
    return differences


def largest_difference(x: Tensor, y: Tensor) -> float:
    """Largest absolute difference max |x - y|; NaN if either tensor has a NaN."""
    if x.shape != y.shape:
        raise ValueError(f"expected tensors of one shape, got {tuple(x.shape)} and {tuple(y.shape)}")
    return float((x - y).abs().max())


def gradient_rows(
    fastai: Any, vocab_size: int, backends: list[str], regularizations: Sequence[tuple[float, float]]
) -> list[dict[str, Any]]:
    """Compare gradients for each backend and regularization; a row names the parameter that differs most."""
    ours = make_ours(vocab_size)
    theirs = make_theirs(fastai, vocab_size)
    theirs.load_state_dict(to_fastai(ours.state_dict()))
    windows = make_windows(vocab_size)[:GRADIENT_WINDOWS]
    rows = []
    for ar, tar in regularizations:
        expected = fastai_gradients(fastai, theirs, windows, ar, tar)
        for backend in backends:
            ours.encoder.backend = backend
            gradients = our_gradients(ours, windows, ar, tar)
            differences = {
                name: largest_difference(gradients[name], expected[name]) / float(expected[name].abs().max())
                for name in language_model_names()
            }
            worst = max(differences, key=differences.__getitem__)
            case = (
                f"V {vocab_size:,}, gradients, {backend}, AR {ar:g} TAR {tar:g}: worst of {len(differences)}, {worst}"
            )
            rows.append(row(case, "max rel", differences[worst], GRADIENT_LIMIT, "limit", lower_is_better=True))
    return rows


def our_gradients(
    model: AWDLSTMLanguageModel, windows: list[tuple[Tensor, Tensor]], ar: float, tar: float
) -> dict[str, Tensor]:
    """Gradients of ulmkit's model, summed over the windows, without the rows that only align the softmax."""
    model.train()
    model.zero_grad()
    state: State | None = None
    for ids, targets in windows:
        result = model.loss(ids, targets, state, ar=ar, tar=tar)
        result.total.backward()
        state = result.state
    rows = {"encoder.embedding.weight": model.vocab_size, "decoder.weight": model.vocab_size}
    return {name: parameter.grad[: rows.get(name)] for name, parameter in model.named_parameters()}


def fastai_gradients(
    fastai: Any, model: Any, windows: list[tuple[Tensor, Tensor]], ar: float, tar: float
) -> dict[str, Tensor]:
    """Gradients of fastai's model, summed over the windows, by ulmkit's names."""
    model.train()
    model.zero_grad()
    model.reset()
    for ids, targets in windows:
        regularized_loss(fastai, model(ids.T), targets.T, ar, tar).backward()
    gradients = {name: parameter.grad for name, parameter in model.named_parameters()}
    return from_fastai(gradients, language_model_names())


@torch.no_grad()
def classifier_rows(fastai: Any, vocab_size: int) -> list[dict[str, Any]]:
    """Compare logits of fastai's weights in ulmkit's classifier, in evaluation mode."""
    theirs = fastai.get_text_classifier(fastai.AWD_LSTM, vocab_size, 2, seq_len=70).eval()
    for name, tensor in theirs.state_dict().items():  # statistics of batch norm as after training
        if name.endswith(("running_mean", "running_var")):
            tensor.uniform_(0.01, 0.1)
    ours = AWDLSTMClassifier(AWDLSTMConfig(), vocab_size, SingleLabelConfig(classes=2)).eval()
    ours.encoder.precision = "fp32"
    weights = from_fastai(theirs.state_dict(), classifier_names())
    no_bias = {"head.layers.2.bias": torch.zeros(50), "head.layers.6.bias": torch.zeros(2)}
    ours.load_state_dict({**weights, **no_bias})
    lengths = torch.tensor(DOCUMENT_LENGTHS)
    ids = zipf_ids(vocab_size, BATCH * int(lengths.max())).view(-1, BATCH)
    ids[torch.arange(len(ids)).unsqueeze(1) >= lengths] = PAD_ID
    logits = theirs(ids.T)[0]
    return _rows(
        f"V {vocab_size:,}, fastai's weights in our classifier, auto",
        {"logits": largest_difference(ours(ids, lengths), logits)},
    )


if __name__ == "__main__":
    main()
