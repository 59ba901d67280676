"""How fast are classification and its training on a CPU, beside fastai's?

A full-size classifier (400, 1152 x 3, vocabulary of 60,000, two classes) on real IMDb test documents of mixed lengths,
tokenized once for both. fastai is given its batches as its learner has them: longest first, 64 documents, padded in
front by whole chunks of 72 steps; in fp32, its default, and in bf16 under `torch.autocast`, which its learner uses on
GPUs only; both in the process that keeps freed memory, which favours it. ulmkit predicts as `ulmkit predict` does, in
the precision that it chooses, in fp32, and with weights of int8 as `ulmkit export` makes them. Then one document at a
time: the median time for one, the documents taking turns. Then training: forward, backward and a fused AdamW over all
layers, for batches of 32 documents of like length, gradients through the last 1440 steps, dropouts as fastai has them.

First both give the same probabilities for the same weights, and without dropouts, for documents of one chunk, the same
loss and gradient.

    python benchmarks/classify_cpu.py --data FOLDER [--documents N] [--repeats N] [--quick] [--json FILE]
"""

import argparse
import copy
import functools
import statistics
import sys
import time
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import numpy as np
import torch
from common import median_seconds_in_turn, report, row
from fastai_peer import NO_DROPOUT, PAD_ID, classifier_names, from_fastai, load_fastai, no_dropout
from torch import Tensor

from ulmkit.model.awd_lstm import AWDLSTMConfig
from ulmkit.model.classifier import AWDLSTMClassifier
from ulmkit.model.document_norm import DocumentNorm
from ulmkit.model.heads import HeadConfig
from ulmkit.pipeline.prediction import predict_outputs
from ulmkit.text import SpacyTokenizer, Vocabulary, read_documents
from ulmkit.training import keep_freed_memory

VOCAB, CHUNK, GRADIENT_STEPS = 60_000, 72, 1440
FASTAI_BATCH, TRAINING_BATCH, TRAINING_BATCHES = 64, 32, 3
WEIGHTS_TIMES, CHECK_DOCUMENTS = 3.0, 16
LIMIT = {"fp32": 1e-3, "auto": 0.1, "int8": 0.2}  # of the documents' standard deviation
LEARNING_DOCUMENTS = 8
LEARNING_LIMIT = {"fp32": 1e-3, "auto": 0.1}  # relative, of loss and gradient
PEERS = {"fastai fp32": torch.float32, "fastai bf16 autocast": torch.bfloat16}
DROPOUTS = {"embedding": 0.05, "input": 0.4, "hidden": 0.3, "output": 0.0, "weight": 0.5}
"""fastai's for classifiers."""


def main() -> None:
    options = read_options()
    fastai = load_fastai()
    if fastai is None:
        sys.exit("fastai is not installed: see benchmarks/requirements.txt")
    keep_freed_memory()
    documents = read_ids(options.data, options.documents)
    lengths = np.array([len(document) for document in documents])
    print(
        f"torch {torch.__version__}, {torch.get_num_threads()} threads; {len(documents)} documents, "
        f"{lengths.mean():.0f} tokens each, {np.median(lengths):.0f} in the median, {lengths.max()} at most"
    )
    torch.manual_seed(0)
    theirs = fastai.get_text_classifier(fastai.AWD_LSTM, VOCAB, 2, seq_len=CHUNK, max_len=GRADIENT_STEPS)
    enlarge_weights(theirs)
    ours = our_model(theirs)
    serving = serving_models(ours)
    check(serving, theirs, documents)
    check_learning(fastai, documents)
    rows = inference_rows(serving, theirs, documents, options.repeats)
    rows += latency_rows(serving, theirs, documents[: options.latency_documents])
    rows += training_rows(ours, theirs, documents, options.repeats)
    report("classify_cpu", rows, options.json)


def read_options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", metavar="FOLDER", required=True, help="IMDb, or other documents with a test split")
    parser.add_argument("--documents", type=int, default=192, help="test documents, at random (192)")
    parser.add_argument("--latency-documents", type=int, default=24, help="of them, those classified alone (24)")
    parser.add_argument("--repeats", type=int, default=3, help="turns, of which the medians are taken (3)")
    parser.add_argument("--quick", action="store_true", help="64 documents, 6 of them alone, one turn")
    parser.add_argument("--json", metavar="FILE", help="write the figures to this file")
    options = parser.parse_args()
    if options.quick:
        options.documents, options.latency_documents, options.repeats = 64, 6, 1
    return options


def read_ids(data: str, count: int) -> list[np.ndarray]:
    """Token ids of test documents drawn at random."""
    texts = [document.text for document in read_documents(data, split="test")]
    chosen = np.random.default_rng(0).permutation(len(texts))[:count]
    tokenizer = SpacyTokenizer("en")
    tokens = [tokenizer.tokenize(texts[number]) for number in chosen]
    vocabulary = Vocabulary.build(
        Counter(token for document in tokens for token in document), max_vocab=VOCAB, min_freq=1
    )
    return [vocabulary.encode(document) for document in tokens]


def our_model(theirs: Any, dropout: bool = True) -> AWDLSTMClassifier:
    """Our classifier with fastai's weights, and its dropouts or none."""
    dropouts = {f"{name}_dropout": value if dropout else 0.0 for name, value in DROPOUTS.items()}
    config = AWDLSTMConfig(**dropouts)
    head = HeadConfig(kind="single", classes=2, **({} if dropout else {"input_dropout": 0.0, "hidden_dropout": 0.0}))
    ours = AWDLSTMClassifier(config, VOCAB, head, chunk_steps=CHUNK, gradient_steps=GRADIENT_STEPS)
    no_bias = {"head.layers.2.bias": torch.zeros(50), "head.layers.6.bias": torch.zeros(2)}
    ours.load_state_dict({**from_fastai(theirs.state_dict(), classifier_names()), **no_bias})
    return ours


def their_batches(documents: list[np.ndarray], size: int) -> list[Tensor]:
    """(B, T) token ids as fastai's loader gives them to a classifier."""
    from fastai.text.data import pad_chunk

    ordered = sorted(documents, key=len, reverse=True)
    batches = []
    for start in range(0, len(ordered), size):
        part = [torch.from_numpy(document.astype(np.int64)) for document in ordered[start : start + size]]
        batches.append(
            torch.stack([pad_chunk(ids, pad_idx=PAD_ID, seq_len=CHUNK, pad_len=len(part[0])) for ids in part])
        )
    return batches


def serving_models(ours: AWDLSTMClassifier) -> dict[str, AWDLSTMClassifier]:
    """The classifier as it can be served, in evaluation mode."""
    models = {"auto": copy.deepcopy(ours).eval(), "fp32": copy.deepcopy(ours).eval(), "int8": ours.to_int8()}
    models["fp32"].encoder.precision = "fp32"
    return models


def enlarge_weights(theirs: Any) -> None:
    """Make what is read matter: with fastai's first weights all documents get nearly the same probabilities."""
    with torch.no_grad():
        for name, weight in theirs.state_dict().items():
            if name.endswith("encoder.weight") or "weight_hh" in name or "weight_ih" in name:
                weight.mul_(WEIGHTS_TIMES)


def check(serving: dict[str, AWDLSTMClassifier], theirs: Any, documents: list[np.ndarray]) -> None:
    """Both say the same of documents that neither pads: their log-odds differ by little beside the documents' own."""
    theirs.eval()
    some = documents[:CHECK_DOCUMENTS]
    with torch.no_grad():
        expected = log_odds(torch.cat([theirs(batch)[0].softmax(1) for n in some for batch in their_batches([n], 1)]))
    spread = float(expected.std())
    print(f"log-odds of {len(some)} documents: {spread:.2g} apart (standard deviation)")
    for name, model in serving.items():
        difference = float((log_odds(torch.from_numpy(predict_outputs(model, some))) - expected).abs().max()) / spread
        print(f"largest difference from fastai's beside that, the same weights, {name}: {difference:.1e}")
        if not difference <= LIMIT[name]:
            sys.exit("Not the same probabilities")
    print()


def check_learning(fastai: Any, documents: list[np.ndarray]) -> None:
    """Both have the same loss and gradient: without dropouts, on documents cut to one chunk.

    Of longer ones the gradients differ: fastai passes none from a chunk to the one before it. The head normalises by
    its running figures: by those of so few documents, which differ by little, it would enlarge the rounding of bf16.
    """
    config = {**no_dropout(fastai.awd_lstm_clas_config), "output_p": NO_DROPOUT}
    theirs = fastai.get_text_classifier(
        fastai.AWD_LSTM, VOCAB, 2, CHUNK, config, ps=[NO_DROPOUT], max_len=GRADIENT_STEPS
    )
    enlarge_weights(theirs)
    ours = our_model(theirs, dropout=False).train()
    cut = [document[:CHUNK] for document in documents if len(document) >= CHUNK][:LEARNING_DOCUMENTS]
    ids, labels = torch.from_numpy(np.stack(cut).astype(np.int64)), torch.arange(len(cut)) % 2

    def learnt(model: Any, outputs: Tensor) -> tuple[float, dict[str, Tensor]]:
        loss = torch.nn.functional.cross_entropy(outputs.float(), labels)
        model.zero_grad()
        loss.backward()
        return float(loss.detach()), {
            name: p.grad.clone() for name, p in model.named_parameters() if p.grad is not None
        }

    for model in (ours, theirs.train()):
        for module in model.modules():
            if isinstance(module, torch.nn.BatchNorm1d | DocumentNorm):
                module.eval()
    expected, found = learnt(theirs, theirs(ids)[0])
    names = {ours: name for ours, name in classifier_names().items() if name in found}
    right = from_fastai(found, names)

    def tell(name: str, loss: float, gradients: Mapping[str, Tensor]) -> float:
        squares = [((gradients[key] - value).square().sum(), value.square().sum()) for key, value in right.items()]
        distance = float((sum(error for error, _ in squares) / sum(size for _, size in squares)) ** 0.5)
        print(
            f"{len(cut)} documents, {name}: loss {loss:.6f}, gradients {distance:.1e} from fastai's in fp32, relative"
        )
        return max(abs(loss / expected - 1), distance)

    for peer, dtype in PEERS.items():
        with computing_in(dtype):
            outputs = theirs(ids)[0]
        loss, found = learnt(theirs, outputs)
        tell(peer, loss, from_fastai(found, names))
    for precision, limit in LEARNING_LIMIT.items():
        ours.encoder.precision = precision
        loss, found = learnt(ours, ours(ids.T.contiguous(), torch.full((len(cut),), CHUNK)))
        if not tell(precision, loss, found) <= limit:
            sys.exit("Not the same loss and gradient")
    print()


def log_odds(probabilities: Tensor) -> Tensor:
    return (probabilities[:, 1] / probabilities[:, 0]).log()


def with_precision(ours: AWDLSTMClassifier, precision: str, run: Callable[[], Any]) -> Callable[[], Any]:
    def chosen() -> None:
        ours.encoder.precision = precision
        run()

    return chosen


@contextmanager
def computing_in(dtype: torch.dtype) -> Iterator[None]:
    """fastai's types: as autocast has them, or fp32 throughout."""
    with torch.autocast("cpu", dtype=torch.bfloat16, enabled=dtype == torch.bfloat16):
        yield


def compared(case: str, unit: str, figures: dict[str, float], *, lower_is_better: bool = False) -> list[dict[str, Any]]:
    """A row for each of ours beside each of fastai's that is no faster a type."""
    pairs = [(ours, peer) for ours in figures if ours not in PEERS for peer in PEERS]
    return [
        row(f"{case}, {ours}", unit, figures[ours], figures[peer], peer, lower_is_better=lower_is_better)
        for ours, peer in pairs
        if ours != "fp32" or PEERS[peer] == torch.float32
    ]


def inference_rows(
    serving: dict[str, AWDLSTMClassifier], theirs: Any, documents: list[np.ndarray], repeats: int
) -> list[dict[str, Any]]:
    theirs.eval()

    def fastai_predicts(dtype: torch.dtype) -> None:
        with torch.no_grad(), computing_in(dtype):
            for batch in their_batches(documents, FASTAI_BATCH):
                theirs(batch)[0].softmax(1)

    runs: dict[str, Callable[[], Any]] = {
        peer: functools.partial(fastai_predicts, dtype) for peer, dtype in PEERS.items()
    }
    for name, model in serving.items():
        runs[name] = functools.partial(predict_outputs, model, documents)
    seconds = median_seconds_in_turn(runs, repeats)
    rate = {name: len(documents) / value for name, value in seconds.items()}
    return compared("inference", "documents/s", rate)


def latency_rows(
    serving: dict[str, AWDLSTMClassifier], theirs: Any, documents: list[np.ndarray]
) -> list[dict[str, Any]]:
    theirs.eval()
    found: dict[str, list[float]] = {name: [] for name in (*serving, *PEERS)}
    for model in serving.values():
        predict_outputs(model, documents[:1])
    with torch.no_grad():
        for document in documents:
            for name, times in found.items():
                start = time.perf_counter()
                if name in PEERS:
                    with computing_in(PEERS[name]):
                        theirs(torch.from_numpy(document.astype(np.int64)).unsqueeze(0))[0].softmax(1)
                else:
                    predict_outputs(serving[name], [document])
                times.append(1000 * (time.perf_counter() - start))
    medians = {name: statistics.median(times) for name, times in found.items()}
    return compared("one document", "ms", medians, lower_is_better=True)


def training_rows(
    ours: AWDLSTMClassifier, theirs: Any, documents: list[np.ndarray], repeats: int
) -> list[dict[str, Any]]:
    ours.train(), theirs.train()
    ordered = sorted(documents, key=len)
    starts = np.linspace(0, len(ordered) - TRAINING_BATCH, TRAINING_BATCHES).astype(int)
    batches = [ordered[start : start + TRAINING_BATCH] for start in starts]
    labels = torch.arange(TRAINING_BATCH) % 2
    optimizers = {model: torch.optim.AdamW(model.parameters(), lr=1e-5, fused=True) for model in (ours, theirs)}

    def learn(model: Any, outputs: Tensor) -> None:
        torch.nn.functional.cross_entropy(outputs.float(), labels).backward()
        optimizers[model].step()
        optimizers[model].zero_grad()

    def we_learn() -> None:
        for batch in batches:
            lengths = torch.tensor([len(document) for document in batch])
            ids = torch.zeros(int(lengths.max()), len(batch), dtype=torch.int64)
            for column, document in enumerate(batch):
                ids[: len(document), column] = torch.from_numpy(document.astype(np.int64))
            learn(ours, ours(ids, lengths))

    def they_learn(dtype: torch.dtype) -> None:
        for batch in batches:
            with computing_in(dtype):
                outputs = theirs(their_batches(batch, TRAINING_BATCH)[0])[0]
            learn(theirs, outputs)

    runs = {
        "auto": with_precision(ours, "auto", we_learn),
        "fp32": with_precision(ours, "fp32", we_learn),
        **{peer: functools.partial(they_learn, dtype) for peer, dtype in PEERS.items()},
    }
    for run in runs.values():
        run()
    seconds = median_seconds_in_turn(runs, repeats)
    rate = {name: len(batches) * TRAINING_BATCH / value for name, value in seconds.items()}
    return compared("training", "documents/s", rate)


if __name__ == "__main__":
    main()
