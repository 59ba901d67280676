"""fastai's training in ptb_minutes.py, and its weights in ulmkit's model."""

import contextlib
import os
import statistics
import time
from collections.abc import Mapping
from typing import Any

import numpy as np
import torch
from fastai_peer import PAD_ID, from_fastai, language_model_names
from torch import Tensor, nn

from ulmkit.evaluation import first_context, perplexity
from ulmkit.hub import LanguageModelParts, TrainingFacts
from ulmkit.model.awd_lstm import AWDLSTMConfig
from ulmkit.model.language_model import AWDLSTMLanguageModel, LanguageModelConfig
from ulmkit.text import EncodedCorpus

BATCH = 64  # as STEPS, fastai's default
STEPS = 72
WARM_UP = 2
TIMED = 6
CHECKED_TOKENS = 2000
LOSS_LIMIT = 1e-4  # nats per token


def train_fastai(
    corpus: EncodedCorpus,
    minutes: float,
    rate: float | None,
    seed: int,
    sizes: Mapping[str, int],
    steps: int | None = None,
) -> tuple[LanguageModelParts, dict[str, Any]]:
    """Train fastai's learner for as many steps as fit into the minutes.

    Args:
        corpus: Corpus to read.
        minutes: Training time.
        rate: Peak of the one cycle; None for fastai's default.
        seed: Random seed.
        sizes: Sizes of a smaller model; empty for fastai's.
        steps: Number of steps instead of the minutes.

    Returns:
        The model in ulmkit's form, and minutes, steps, tokens, precision and rate.
    """
    stream = corpus.stream(corpus.rows("train"))
    ids = _swap_padding(torch.from_numpy(stream.read(0, len(stream)).astype(np.int64)), len(corpus.vocabulary))
    if steps is None:
        seconds = _step_seconds(_learner(ids, corpus, sizes, WARM_UP + TIMED, seed), rate)
        steps = max(1, int(60 * minutes / seconds))
    learner = _learner(ids, corpus, sizes, steps, seed)
    start = time.monotonic()
    _fit(learner, rate)
    taken = (time.monotonic() - start) / 60
    parts = _to_ulmkit(learner.model, corpus)
    check_same_loss(learner.model, parts.model, corpus)
    facts = {"minutes": taken, "steps": steps, "tokens": steps * BATCH * STEPS, "precision": "fp32"}
    return parts, {**facts, "rate": learner.lr if rate is None else rate}


def _learner(ids: Tensor, corpus: EncodedCorpus, sizes: Mapping[str, int], steps: int, seed: int) -> Any:
    """Make fastai's learner with an epoch of `steps` batches, which repeat the rows of the text."""
    from fastai.callback import progress, schedule  # noqa: F401  (they give the learner methods)
    from fastai.data.core import DataLoaders
    from fastai.text.data import LMDataLoader
    from fastai.text.learner import language_model_learner
    from fastai.text.models.awdlstm import AWD_LSTM, awd_lstm_lm_config

    torch.manual_seed(seed)
    row_tokens = (len(ids) - 1) // BATCH
    rows = ids[: row_tokens * BATCH].view(BATCH, row_tokens)
    places = torch.arange(steps * STEPS) % row_tokens
    text = torch.cat([rows[:, places].flatten(), ids[:1]])
    loaders = DataLoaders(
        LMDataLoader([text], bs=BATCH, seq_len=STEPS, shuffle=True),
        LMDataLoader([ids[: BATCH * STEPS + 1]], bs=BATCH, seq_len=STEPS),
        device=torch.device("cpu"),
    )
    loaders.vocab = list(corpus.vocabulary.tokens)
    config = dict(awd_lstm_lm_config)
    if sizes:
        config |= {"emb_sz": sizes["embedding_size"], "n_hid": sizes["hidden_size"]}
    learner = language_model_learner(loaders, AWD_LSTM, config=config, drop_mult=1.0, pretrained=False)
    assert len(loaders.train) == steps
    return learner


def _fit(learner: Any, rate: float | None) -> None:
    """Train one epoch in one cycle, without a progress bar."""
    with learner.no_bar(), learner.no_logging(), open(os.devnull, "w") as nowhere, contextlib.redirect_stdout(nowhere):
        learner.fit_one_cycle(1, rate)


def _step_seconds(learner: Any, rate: float | None) -> float:
    """Median time from the end of a batch to the end of the next one, after the first few."""
    from fastai.callback.core import Callback

    class Clock(Callback):
        def __init__(self) -> None:
            self.times: list[float] = []

        def after_batch(self) -> None:
            if self.training:
                self.times.append(time.monotonic())

    clock = Clock()
    learner.add_cb(clock)
    _fit(learner, rate)
    return statistics.median(np.diff(clock.times[WARM_UP - 1 :]).tolist())


def _swap_padding(values: Tensor, vocab_size: int) -> Tensor:
    """Exchange the ids of the rarest word, the last one, and of fastai's padding."""
    last = vocab_size - 1
    exchange = torch.arange(vocab_size)
    exchange[PAD_ID] = last
    exchange[last] = PAD_ID
    return exchange[values]


def _to_ulmkit(theirs: nn.Module, corpus: EncodedCorpus) -> LanguageModelParts:
    """Put fastai's weights into ulmkit's model, with the words in ulmkit's order."""
    weights = theirs.state_dict()
    vocab_size, embedding_size = weights["0.encoder.weight"].shape
    layers = sum(name.endswith("weight_hh_l0_raw") for name in weights)
    hidden_size = weights["0.rnns.0.weight_hh_l0_raw"].shape[1]
    encoder = AWDLSTMConfig(embedding_size=embedding_size, hidden_size=hidden_size, layers=layers)
    model = AWDLSTMLanguageModel(LanguageModelConfig(encoder=encoder), vocab_size)
    named = from_fastai(weights, language_model_names(layers))
    order = _swap_padding(torch.arange(vocab_size), vocab_size)
    for name in ("encoder.embedding.weight", "decoder.weight"):
        named[name] = named[name][order]
    model.load_state_dict(named)
    facts = TrainingFacts(description="Trained by fastai.")
    return LanguageModelParts(model.eval(), corpus.vocabulary, corpus.tokenizer, "forward", facts)


@torch.no_grad()
def check_same_loss(theirs: nn.Module, ours: AWDLSTMLanguageModel, corpus: EncodedCorpus) -> None:
    """Exit unless both models give the same loss on the first validation tokens."""
    stream = corpus.stream(corpus.rows("valid"))
    ids = stream.read(0, min(CHECKED_TOKENS, len(stream))).astype(np.int64)
    context = first_context(corpus.vocabulary)
    expected = perplexity(ours, ids, first_context=context).mean_nll
    read = _swap_padding(torch.from_numpy(np.concatenate([[context], ids])), len(corpus.vocabulary))
    theirs.eval()
    theirs.reset()
    logits = theirs(read[None, :-1])[0][0]
    loss = nn.functional.cross_entropy(logits, read[1:]).item()
    if not abs(loss - expected) <= LOSS_LIMIT:
        raise SystemExit(f"not the same loss: fastai {loss:.6f}, its weights in ulmkit {expected:.6f}")
    print(
        f"  the same weights, {len(ids):,} tokens: fastai {loss:.6f}, ulmkit {expected:.6f} nats per token", flush=True
    )
