"""Log-probability and perplexity of single documents."""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch.nn.utils.rnn import pad_sequence

from ulmkit.config import check_whole
from ulmkit.evaluation.language.modes import evaluation_mode
from ulmkit.evaluation.language.streams import check_context, check_ids
from ulmkit.evaluation.metrics import exp_or_inf
from ulmkit.files import json_safe
from ulmkit.model.language_model import AWDLSTMLanguageModel
from ulmkit.model.prepared import PreparedWeights, State


@dataclass(frozen=True)
class DocumentScore:
    """Log-probability of one document under a language model.

    Attributes:
        log_probability: Nats, summed over the predicted tokens; 0 if there are none.
        tokens: Number of predicted tokens.
        unknown_tokens: Number of predicted tokens that are the unknown token. The model scores the event "some unknown
            word", which is far more probable than any particular one, so documents with many of them score too high.
    """

    log_probability: float
    tokens: int
    unknown_tokens: int

    @property
    def perplexity(self) -> float | None:
        """Perplexity per token: exp(-log_probability / tokens); None if no token was predicted."""
        if not self.tokens:
            return None
        return exp_or_inf(-self.log_probability / self.tokens)

    def to_dict(self) -> dict[str, Any]:
        """All values as a JSON object; None where undefined."""
        return json_safe({**vars(self), "perplexity": self.perplexity})


def score_documents(
    model: AWDLSTMLanguageModel,
    documents: Sequence[np.ndarray],
    *,
    first_context: int | None = None,
    unk_id: int | None = None,
    batch_size: int = 32,
    window: int = 70,
    progress: Callable[[int], None] = lambda _: None,
) -> list[DocumentScore]:
    """Score each document on its own, from a zero state.

    A document's score does not depend on the others. Documents are sorted by length and read in parallel in windows;
    a finished one leaves its batch. Computed in fp32 unless the encoder's precision is chosen.

    Args:
        model: The language model.
        documents: (T,) token ids of each document.
        first_context: Token that each document's first one is predicted from; None does not predict the first token
            (xxbos).
        unk_id: Id of the unknown token, to count it.
        batch_size: Documents read in parallel.
        window: Steps computed at once.
        progress: Called with the number of documents of each batch.

    Returns:
        A score for each document, in the order given.

    Raises:
        DataError: If a token id is outside the vocabulary; names the document.
        ConfigError: If batch_size or window is below 1, or first_context is outside the vocabulary.
    """
    check_whole("batch_size", batch_size)
    check_whole("window", window)
    texts = [np.asarray(document, dtype=np.int64).reshape(-1) for document in documents]
    for number, text in enumerate(texts):
        check_ids(text, model.vocab_size, f"document {number}")
    if first_context is not None:
        check_context(first_context, model.vocab_size)
        texts = [np.insert(text, 0, first_context) for text in texts]
    longest_first = sorted(range(len(texts)), key=lambda number: -len(texts[number]))
    log_probability = np.zeros(len(texts))
    with evaluation_mode(model, exact=True) as device:
        prepared = model.encoder.prepare(batch_size)
        for start in range(0, len(texts), batch_size):
            chosen = longest_first[start : start + batch_size]
            batch = [texts[number] for number in chosen]
            log_probability[chosen] = 0.0 - _batch_nll(model, batch, window, prepared, device)
            progress(len(chosen))
    return [
        DocumentScore(
            log_probability=float(log_probability[number]),
            tokens=max(len(text) - 1, 0),
            unknown_tokens=0 if unk_id is None else int((text[1:] == unk_id).sum()),
        )
        for number, text in enumerate(texts)
    ]


def _batch_nll(
    model: AWDLSTMLanguageModel,
    texts: Sequence[np.ndarray],
    window: int,
    prepared: PreparedWeights,
    device: torch.device,
) -> np.ndarray:
    """NLL in nats of each text without its first token, (B,) float64; texts are sorted, longest first."""
    total = torch.zeros(len(texts), dtype=torch.float64)
    state: State | None = None
    for ids, lengths in _windows(texts, window):
        active = ids.shape[1]
        if state is not None:
            state = [(h[:active], c[:active]) for h, c in state]
        inputs = ids.to(device)
        nll, state = model.token_nll(inputs[:-1], inputs[1:], state, prepared)
        valid = torch.arange(len(ids) - 1)[:, None] < lengths
        total[:active] += nll.double().cpu().masked_fill(~valid, 0.0).sum(dim=0)
    return total.numpy()


def _windows(texts: Sequence[np.ndarray], window: int) -> Iterator[tuple[torch.Tensor, torch.Tensor]]:
    """Yield ids (T + 1, B) int64 and predicted steps (B,) of each window, for the texts that reach into it."""
    longest = len(texts[0]) - 1
    for start in range(0, longest, window):
        parts = [text[start : start + window + 1] for text in texts if len(text) - 1 > start]
        lengths = torch.tensor([len(part) - 1 for part in parts])
        yield pad_sequence([torch.from_numpy(part) for part in parts]), lengths
