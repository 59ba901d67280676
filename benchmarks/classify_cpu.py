"""How fast are classification and its training on a CPU, beside fastai's?

The classifier has full size (400, 1152 x 3, vocabulary of 60,000, two classes) or, with `--size small`, that of
`en-small` (256, 512 x 2, 8,000). It reads real IMDb test documents of mixed lengths, or of N tokens with `--tokens N`,
tokenized once for both libraries.

inference     All documents. ulmkit predicts as `ulmkit predict` does: in the precision that it chooses, in fp32, and
              with int8 weights as `ulmkit export` makes them. fastai gets its batches as its learner makes them:
              longest first, 64 documents, padded in front by whole chunks of 72 steps.
one document  The median time for one document, the documents taken in turn.
training      Forward, backward and a fused AdamW over all layers, for batches of 32 documents of similar length, with
              gradients through the last 1440 steps and fastai's dropouts.

fastai computes in fp32, its default, and in bf16 under `torch.autocast`, which its learner uses on GPUs only. Both
libraries run in one process that keeps freed memory, which favours fastai. First both must give the same probabilities
for the same weights, and the same loss and gradient without dropout for documents of one chunk.

    python benchmarks/classify_cpu.py --data FOLDER [--size small] [--tokens N] [--documents N] [--repeats N] [--quick]
                                      [--json FILE]
"""

import argparse
import copy
import functools
import itertools
import statistics
import sys
import time
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from common import median_seconds_in_turn, report, row
from fastai_peer import MISSING, NO_DROPOUT, PAD_ID, classifier_names, from_fastai, load_fastai, no_dropout
from torch import Tensor

from ulmkit.model.awd_lstm import AWDLSTMConfig
from ulmkit.model.classifier import AWDLSTMClassifier
from ulmkit.model.document_norm import DocumentNorm
from ulmkit.model.heads import SingleLabelConfig
from ulmkit.pipeline import predict_outputs
from ulmkit.text import SpacyTokenizer, Vocabulary, read_documents
from ulmkit.training import keep_freed_memory

CHUNK = 72
GRADIENT_STEPS = 1440
FASTAI_BATCH = 64
WEIGHT_GAIN = 3.0
CHECK_DOCUMENTS = 16
LIMIT = {"fp32": 1e-3, "auto": 0.1, "int8": 0.2}  # relative to the standard deviation over documents
LEARNING_DOCUMENTS = 8
LEARNING_LIMIT = {"fp32": 1e-3, "auto": 0.25}
"""Relative, for loss and gradient. In bf16, units of the head near 0 may cross it: up to 0.17 here and in fastai."""
PEERS = {"fastai fp32": torch.float32, "fastai bf16 autocast": torch.bfloat16}
DROPOUTS = {"embedding": 0.05, "input": 0.4, "hidden": 0.3, "output": 0.0, "weight": 0.5}
"""fastai's dropouts for classifiers."""


@dataclass(frozen=True)
class Size:
    """Sizes of a classifier's encoder."""

    vocabulary: int
    embedding: int
    hidden: int
    layers: int

    def ours(self, dropout: bool = True) -> AWDLSTMClassifier:
        """ulmkit's classifier with fastai's dropouts, or with none."""
        config = AWDLSTMConfig(
            embedding_size=self.embedding,
            hidden_size=self.hidden,
            layers=self.layers,
            **{f"{name}_dropout": value if dropout else 0.0 for name, value in DROPOUTS.items()},
        )
        head = SingleLabelConfig(classes=2, **({} if dropout else {"input_dropout": 0.0, "hidden_dropout": 0.0}))
        return AWDLSTMClassifier(config, self.vocabulary, head, chunk_steps=CHUNK, gradient_steps=GRADIENT_STEPS)

    def theirs(self, fastai: Any, dropout: bool = True) -> Any:
        """fastai's classifier with its dropouts, or with none."""
        config = {
            **fastai.awd_lstm_clas_config,
            "emb_sz": self.embedding,
            "n_hid": self.hidden,
            "n_layers": self.layers,
        }
        if dropout:
            return fastai.get_text_classifier(
                fastai.AWD_LSTM, self.vocabulary, 2, CHUNK, config, max_len=GRADIENT_STEPS
            )
        config = {**no_dropout(config), "output_p": NO_DROPOUT}
        return fastai.get_text_classifier(
            fastai.AWD_LSTM, self.vocabulary, 2, CHUNK, config, ps=[NO_DROPOUT], max_len=GRADIENT_STEPS
        )


SIZES = {"full": Size(60_000, 400, 1152, 3), "small": Size(8_000, 256, 512, 2)}


def main() -> None:
    options = read_options()
    fastai = load_fastai()
    keep_freed_memory()
    size = SIZES[options.size]
    documents = read_ids(options.data, options.documents, size.vocabulary, options.tokens or 1)
    documents = [document[: options.tokens or options.longest] for document in documents]
    lengths = np.array([len(document) for document in documents])
    print(
        f"torch {torch.__version__}, {torch.get_num_threads()} threads; {len(documents)} documents, "
        f"{lengths.mean():.0f} tokens on average, median {np.median(lengths):.0f}, maximum {lengths.max()}"
    )
    torch.manual_seed(0)
    ours = size.ours()
    theirs = None
    if fastai is None:
        print(f"{MISSING}: see benchmarks/requirements.txt; the figures are ulmkit's alone, and unchecked")
        enlarge_weights(ours)
    else:
        theirs = size.theirs(fastai)
        enlarge_weights(theirs)
        take_weights(ours, theirs, size.layers)
    serving = serving_models(ours, options.precisions)
    if theirs is not None:
        check(serving, theirs, documents)
        check_learning(fastai, size, documents, options.precisions, options.peers)
    rows = inference_rows(serving, theirs, documents, options.peers, options.repeats)
    rows += latency_rows(serving, theirs, documents[: options.latency_documents], options.peers)
    batches = training_batches(documents, options.training_batch, options.training_batches)
    rows += training_rows(ours, theirs, batches, options.precisions, options.peers, options.repeats)
    report("classify_cpu", rows, options.json, {"size": options.size, "tokens": options.tokens})


def read_options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", metavar="FOLDER", required=True, help="IMDb, or other documents with a test split")
    parser.add_argument("--size", choices=SIZES, default="full", help="size of the classifier (default: full)")
    parser.add_argument(
        "--tokens", type=int, metavar="N", help="read documents of N tokens and more, and cut them to N"
    )
    parser.add_argument("--documents", type=int, default=192, help="test documents drawn at random (default: 192)")
    parser.add_argument(
        "--latency-documents", type=int, default=24, help="documents to classify one at a time (default: 24)"
    )
    parser.add_argument("--repeats", type=int, default=3, help="turns, of which the median counts (default: 3)")
    parser.add_argument(
        "--quick",
        action="store_true",
        help="5 documents, cut, 2 of them alone, one batch, one turn, fp32",
    )
    parser.add_argument("--json", metavar="FILE", help="write the figures to this file")
    options = parser.parse_args()
    options.longest = None
    options.precisions = ("auto", "fp32")
    options.peers = PEERS
    options.training_batch = 32
    options.training_batches = 3
    if options.quick:
        options.documents = 5
        options.longest = 160
        options.latency_documents = 2
        options.repeats = 1
        options.precisions = ("auto",)
        options.peers = {"fastai fp32": torch.float32}
        options.training_batch = 4
        options.training_batches = 1
    return options


def read_ids(data: str, count: int, vocabulary_size: int, shortest: int) -> list[np.ndarray]:
    """Token ids of test documents of at least some tokens, drawn at random."""
    texts = [document.text for document in read_documents(data, split="test")]
    tokenizer = SpacyTokenizer("en")
    in_order = (tokenizer.tokenize(texts[number]) for number in np.random.default_rng(0).permutation(len(texts)))
    tokens = list(itertools.islice((document for document in in_order if len(document) >= shortest), count))
    if not tokens:
        sys.exit(f"--tokens: expected test documents of {shortest:,} tokens, found none")
    counts = Counter(token for document in tokens for token in document)
    vocabulary = Vocabulary.build(counts, max_vocab=vocabulary_size, min_freq=1)
    return [vocabulary.encode(document) for document in tokens]


def take_weights(ours: AWDLSTMClassifier, theirs: Any, layers: int) -> None:
    """Give ulmkit's classifier the weights of fastai's."""
    no_bias = {"head.layers.2.bias": torch.zeros(50), "head.layers.6.bias": torch.zeros(2)}
    ours.load_state_dict({**from_fastai(theirs.state_dict(), classifier_names(layers)), **no_bias})


def fastai_batches(documents: Sequence[np.ndarray], size: int) -> list[Tensor]:
    """(B, T) token ids as fastai's loader gives them to a classifier."""
    from fastai.text.data import pad_chunk

    longest_first = sorted(documents, key=len, reverse=True)
    batches = []
    for start in range(0, len(longest_first), size):
        part = [torch.from_numpy(document.astype(np.int64)) for document in longest_first[start : start + size]]
        padded = [pad_chunk(ids, pad_idx=PAD_ID, seq_len=CHUNK, pad_len=len(part[0])) for ids in part]
        batches.append(torch.stack(padded))
    return batches


def serving_models(ours: AWDLSTMClassifier, precisions: Sequence[str]) -> dict[str, AWDLSTMClassifier]:
    """The classifier in evaluation mode, in each precision and with int8 weights."""
    models = {}
    for precision in precisions:
        models[precision] = copy.deepcopy(ours).eval()
        models[precision].encoder.precision = precision
    return {**models, "int8": ours.to_int8()}


def enlarge_weights(model: torch.nn.Module) -> None:
    """Make the documents matter: with initial weights all of them get nearly the same probabilities."""
    with torch.no_grad():
        for name, weight in model.state_dict().items():
            if name.endswith(("encoder.weight", "embedding.weight")) or "weight_hh" in name or "weight_ih" in name:
                weight.mul_(WEIGHT_GAIN)


def check(serving: dict[str, AWDLSTMClassifier], theirs: Any, documents: list[np.ndarray]) -> None:
    """Exit unless both libraries give unpadded documents log-odds that differ little, relative to their spread."""
    theirs.eval()
    some = documents[:CHECK_DOCUMENTS]
    with torch.no_grad():
        probabilities = [theirs(fastai_batches([document], 1)[0])[0].softmax(1) for document in some]
    expected = log_odds(torch.cat(probabilities))
    spread = float(expected.std())
    print(f"log-odds of {len(some)} documents: standard deviation {spread:.2g}")
    for name, model in serving.items():
        outputs = torch.from_numpy(predict_outputs(model, some))
        difference = float((log_odds(outputs) - expected).abs().max()) / spread
        print(f"largest difference from fastai's, relative to that, {name}: {difference:.1e}")
        if not difference <= LIMIT[name]:
            sys.exit("Not the same probabilities")
    print()


def check_learning(
    fastai: Any,
    size: Size,
    documents: list[np.ndarray],
    precisions: Sequence[str],
    peers: Mapping[str, torch.dtype],
) -> None:
    """Exit unless both libraries give the same loss and gradient, without dropout, for documents of one chunk.

    The gradients of longer documents differ: fastai passes none from a chunk to the one before it. The head normalizes
    by its running statistics: those of so few documents, which differ little, would amplify the rounding of bf16.
    """
    theirs = size.theirs(fastai, dropout=False)
    enlarge_weights(theirs)
    ours = size.ours(dropout=False)
    take_weights(ours, theirs, size.layers)
    chunks = [document[:CHUNK] for document in documents if len(document) >= CHUNK][:LEARNING_DOCUMENTS]
    ids = torch.from_numpy(np.stack(chunks).astype(np.int64))
    labels = torch.arange(len(chunks)) % 2

    def loss_and_gradients(model: torch.nn.Module, outputs: Tensor) -> tuple[float, dict[str, Tensor]]:
        loss = torch.nn.functional.cross_entropy(outputs.float(), labels)
        model.zero_grad()
        loss.backward()
        gradients = {name: p.grad.clone() for name, p in model.named_parameters() if p.grad is not None}
        return float(loss.detach()), gradients

    for model in (ours.train(), theirs.train()):
        for module in model.modules():
            if isinstance(module, torch.nn.BatchNorm1d | DocumentNorm):
                module.eval()
    expected_loss, gradients = loss_and_gradients(theirs, theirs(ids)[0])
    names = {our_name: name for our_name, name in classifier_names(size.layers).items() if name in gradients}
    expected = from_fastai(gradients, names)

    def print_difference(name: str, loss: float, gradients: Mapping[str, Tensor]) -> float:
        squares = [((gradients[key] - value).square().sum(), value.square().sum()) for key, value in expected.items()]
        distance = float((sum(error for error, _ in squares) / sum(size for _, size in squares)) ** 0.5)
        print(f"{len(chunks)} documents, {name}: loss {loss:.6f}, gradients {distance:.1e} from fastai's fp32")
        return max(abs(loss / expected_loss - 1), distance)

    for peer, dtype in peers.items():
        if dtype != torch.float32:
            with autocast(dtype):
                outputs = theirs(ids)[0]
            loss, gradients = loss_and_gradients(theirs, outputs)
            print_difference(peer, loss, from_fastai(gradients, names))
    for precision in precisions:
        ours.encoder.precision = precision
        loss, gradients = loss_and_gradients(ours, ours(ids.T.contiguous(), torch.full((len(chunks),), CHUNK)))
        if not print_difference(precision, loss, gradients) <= LEARNING_LIMIT[precision]:
            sys.exit("Not the same loss and gradient")
    print()


def log_odds(probabilities: Tensor) -> Tensor:
    return (probabilities[:, 1] / probabilities[:, 0]).log()


@contextmanager
def autocast(dtype: torch.dtype) -> Iterator[None]:
    """bf16 under torch's autocast, or fp32 throughout."""
    with torch.autocast("cpu", dtype=torch.bfloat16, enabled=dtype == torch.bfloat16):
        yield


def compared(case: str, unit: str, values: dict[str, float], *, lower_is_better: bool = False) -> list[dict[str, Any]]:
    """A row for each of ulmkit's variants beside fastai in fp32, and in bf16 unless ulmkit's is fp32."""
    rows = []
    for name in (name for name in values if name not in PEERS):
        peers = [peer for peer in PEERS if peer in values and (name != "fp32" or PEERS[peer] == torch.float32)]
        for peer in peers or (MISSING,):
            value = values[name]
            theirs = values.get(peer)
            rows.append(row(f"{case}, {name}", unit, value, theirs, peer, lower_is_better=lower_is_better))
    return rows


def inference_rows(
    serving: dict[str, AWDLSTMClassifier],
    theirs: Any,
    documents: list[np.ndarray],
    peers: Mapping[str, torch.dtype],
    repeats: int,
) -> list[dict[str, Any]]:
    def fastai_predict(dtype: torch.dtype) -> None:
        with torch.no_grad(), autocast(dtype):
            for batch in fastai_batches(documents, FASTAI_BATCH):
                theirs(batch)[0].softmax(1)

    runs: dict[str, Callable[[], Any]] = {}
    if theirs is not None:
        theirs.eval()
        runs = {peer: functools.partial(fastai_predict, dtype) for peer, dtype in peers.items()}
    for name, model in serving.items():
        runs[name] = functools.partial(predict_outputs, model, documents)
    seconds = median_seconds_in_turn(runs, repeats)
    return compared("inference", "documents/s", {name: len(documents) / value for name, value in seconds.items()})


def latency_rows(
    serving: dict[str, AWDLSTMClassifier],
    theirs: Any,
    documents: list[np.ndarray],
    peers: Mapping[str, torch.dtype],
) -> list[dict[str, Any]]:
    def fastai_predict(document: np.ndarray, dtype: torch.dtype) -> None:
        with torch.no_grad(), autocast(dtype):
            theirs(torch.from_numpy(document.astype(np.int64)).unsqueeze(0))[0].softmax(1)

    runs: dict[str, Callable[[np.ndarray], Any]] = {}
    for name, model in serving.items():
        predict_outputs(model, documents[:1])
        runs[name] = lambda document, model=model: predict_outputs(model, [document])
    if theirs is not None:
        theirs.eval()
        runs |= {peer: functools.partial(fastai_predict, dtype=dtype) for peer, dtype in peers.items()}
    milliseconds: dict[str, list[float]] = {name: [] for name in runs}
    for document in documents:
        for name, run in runs.items():
            start = time.perf_counter()
            run(document)
            milliseconds[name].append(1000 * (time.perf_counter() - start))
    medians = {name: statistics.median(times) for name, times in milliseconds.items()}
    return compared("one document", "ms", medians, lower_is_better=True)


def training_batches(documents: list[np.ndarray], size: int, count: int) -> list[list[np.ndarray]]:
    """Batches of documents of similar length, from the shortest to the longest; a single one is of median length."""
    ordered = sorted(documents, key=len)
    last = len(ordered) - size
    starts = np.linspace(0, last, count).astype(int) if count > 1 else [last // 2]
    return [ordered[start : start + size] for start in starts]


def training_rows(
    ours: AWDLSTMClassifier,
    theirs: Any,
    batches: list[list[np.ndarray]],
    precisions: Sequence[str],
    peers: Mapping[str, torch.dtype],
    repeats: int,
) -> list[dict[str, Any]]:
    models = {"ulmkit": ours.train()}
    if theirs is not None:
        models["fastai"] = theirs.train()
    optimizers = {name: torch.optim.AdamW(m.parameters(), lr=1e-5, fused=True) for name, m in models.items()}

    def step(library: str, outputs: Tensor) -> None:
        labels = torch.arange(len(outputs)) % 2
        torch.nn.functional.cross_entropy(outputs.float(), labels).backward()
        optimizers[library].step()
        optimizers[library].zero_grad()

    def train_ours(precision: str) -> None:
        ours.encoder.precision = precision
        for batch in batches:
            lengths = torch.tensor([len(document) for document in batch])
            ids = torch.zeros(int(lengths.max()), len(batch), dtype=torch.int64)
            for column, document in enumerate(batch):
                ids[: len(document), column] = torch.from_numpy(document.astype(np.int64))
            step("ulmkit", ours(ids, lengths))

    def train_fastai(dtype: torch.dtype) -> None:
        for batch in batches:
            with autocast(dtype):
                outputs = theirs(fastai_batches(batch, len(batch))[0])[0]
            step("fastai", outputs)

    runs: dict[str, Callable[[], Any]] = {name: functools.partial(train_ours, name) for name in precisions}
    if theirs is not None:
        runs |= {peer: functools.partial(train_fastai, dtype) for peer, dtype in peers.items()}
    for run in runs.values():
        run()
    seconds = median_seconds_in_turn(runs, repeats)
    documents = sum(map(len, batches))
    return compared("training", "documents/s", {name: documents / value for name, value in seconds.items()})


if __name__ == "__main__":
    main()
