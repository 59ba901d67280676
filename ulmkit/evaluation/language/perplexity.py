"""Perplexity of a language model on one long stream of tokens.

perplexity = exp(-1/N sum_t log p(x_t | x_1..x_{t-1})),  N predicted tokens

`perplexity` is exact and the one to report. `approximate_perplexity` is fast and meant for validation during training.
With `published=True`, `perplexity` repeats awd-lstm-lm's arithmetic, for comparison with its tables only.
"""

import math
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
import torch

from ulmkit.config import check_whole
from ulmkit.errors import ConfigError, DataError
from ulmkit.evaluation.language.modes import evaluation_mode
from ulmkit.evaluation.language.streams import StreamCallback, TokenSource, check_context, read_rows, token_source
from ulmkit.evaluation.metrics import exp_or_inf
from ulmkit.files import json_safe
from ulmkit.model.language_model import AWDLSTMLanguageModel
from ulmkit.tables import text_table
from ulmkit.text.tokens.vocabulary import Vocabulary

Method = Literal["exact", "approximate", "published", "cache", "dynamic", "dynamic + cache"]


@dataclass(frozen=True)
class Perplexity:
    """Negative log-likelihood of a text, and the perplexities that follow from it.

    Attributes:
        nll: Nats, summed over the predicted tokens in float64.
        tokens: Number of predicted tokens.
        denominator: Number that nll is divided by: `tokens`, except for method "published".
        method: Method of evaluation.
        words: Words of the text as written, if known.
        characters: Characters of the text as written, if known.
    """

    nll: float
    tokens: int
    denominator: int
    method: Method
    words: int | None = None
    characters: int | None = None

    @property
    def mean_nll(self) -> float:
        """Nats per token: nll / denominator."""
        return self.nll / self.denominator

    @property
    def perplexity(self) -> float:
        """Perplexity per token: exp(nll / denominator); infinite beyond the range of float64."""
        return exp_or_inf(self.mean_nll)

    @property
    def perplexity_per_word(self) -> float | None:
        """Perplexity per word: exp(nll / words); None without `words`.

        It is comparable between tokenizers if neither has unknown tokens.
        """
        return None if not self.words else exp_or_inf(self.nll / self.words)

    @property
    def bits_per_character(self) -> float | None:
        """Bits per character: nll / (characters ln 2); None without `characters`."""
        return None if not self.characters else self.nll / (self.characters * math.log(2.0))

    def to_dict(self) -> dict[str, Any]:
        """All values as a JSON object."""
        names = ("perplexity", "mean_nll", "perplexity_per_word", "bits_per_character")
        return json_safe({**{name: getattr(self, name) for name in names}, **vars(self)})

    def table(self) -> str:
        """All known values as a text table."""
        rows = [
            (f"perplexity ({self.method})", self.perplexity),
            ("nats per token", self.mean_nll),
            ("tokens predicted", self.tokens),
            ("perplexity per word", self.perplexity_per_word),
            ("bits per character", self.bits_per_character),
        ]
        return text_table(("metric", "value"), [row for row in rows if row[1] is not None])


def perplexity(
    model: AWDLSTMLanguageModel,
    stream: TokenSource | np.ndarray,
    *,
    first_context: int | None = None,
    window: int = 256,
    published: bool = False,
    batch_size: int | None = None,
    words: int | None = None,
    characters: int | None = None,
    progress: StreamCallback | None = None,
) -> Perplexity:
    """Exact perplexity of one stream: the state is carried from start to end, and each token is predicted once.

    Args:
        model: Model on any device. Dropout is off, and the model's mode is restored. Computed in fp32, even where the
            encoder's precision "auto" means bf16; a chosen precision stays.
        stream: Token ids.
        first_context: Token that the first one is predicted from: end of line for word-level corpora, else xxbos (see
            the function `first_context`). Not used by `published`.
        window: Steps computed at once; the result does not depend on it.
        published: Repeat the arithmetic of awd-lstm-lm's main.py: the stream is trimmed to a multiple of `batch_size`
            and laid out in rows, no row's first token is predicted, and the sum is divided by the number of all
            tokens, the unpredicted ones included, which lowers the perplexity.
        batch_size: Rows of `published`: 10 for its validation perplexities (the default), 1 for its test perplexities.
        words: Words of the text as written, for perplexities that are comparable between tokenizers. Not used by
            `published`.
        characters: Characters of the text as written, for bits per character. Not used by `published`.
        progress: Called with (steps done, steps).

    Raises:
        DataError: If the stream is too short or an id is outside the vocabulary.
        ConfigError: If window or batch_size is below 1, first_context is missing, or batch_size is given without
            `published`.
    """
    if published:
        rows = 10 if batch_size is None else batch_size
        check_whole("batch_size", rows)
        source = token_source(stream, 2 * rows)
        length = len(source) // rows
        starts = np.arange(rows, dtype=np.int64) * length + 1
        nll = _rows_nll(model, source, starts, starts - 1 + length, 0, window, progress)
        return Perplexity(nll, rows * (length - 1), rows * length, "published")
    if batch_size not in (None, 1):
        raise ConfigError(
            f"batch_size: expected 1 for exact perplexity, got {batch_size}; use approximate_perplexity for more"
        )
    source = token_source(stream, 1)
    context = check_context(first_context, model.vocab_size)
    nll = _rows_nll(model, source, np.array([0]), np.array([len(source)]), context, window, progress)
    return Perplexity(nll, len(source), len(source), "exact", words, characters)


def first_context(vocabulary: Vocabulary) -> int:
    """Id of the token to predict a stream's first token from: end of line for word-level corpora, else xxbos.

    Raises:
        DataError: If the vocabulary has neither.
    """
    context = vocabulary.eos_id if vocabulary.bos_id is None else vocabulary.bos_id
    if context is None:
        raise DataError("vocabulary: expected xxbos, xxeos or <eos> to predict the first token from, got none of them")
    return context


def approximate_perplexity(
    model: AWDLSTMLanguageModel,
    stream: TokenSource | np.ndarray,
    *,
    first_context: int,
    batch_size: int = 32,
    window: int = 70,
) -> Perplexity:
    """Perplexity with the stream cut into equal parts that are read in parallel: fast, and slightly too high.

    Each token is predicted once, from the token before it; only the state is missing at the start of each part. The
    encoder's precision is used as it is, "auto" included.

    Args:
        model: Model on any device; its mode is restored.
        stream: Token ids.
        first_context: Token that the stream's first one is predicted from.
        batch_size: Number of parts.
        window: Steps computed at once.

    Raises:
        DataError: If the stream is empty or an id is outside the vocabulary.
        ConfigError: If a number is below its minimum or first_context is not the id of a token.
    """
    source = token_source(stream, 1)
    check_whole("batch_size", batch_size)
    context = check_context(first_context, model.vocab_size)
    length = math.ceil(len(source) / batch_size)
    starts = np.arange(0, len(source), length, dtype=np.int64)
    stops = np.minimum(starts + length, len(source))
    nll = _rows_nll(model, source, starts, stops, context, window, exact=False)
    return Perplexity(nll, len(source), len(source), "approximate")


def _rows_nll(
    model: AWDLSTMLanguageModel,
    source: TokenSource,
    starts: np.ndarray,
    stops: np.ndarray,
    first_context: int,
    window: int,
    progress: StreamCallback | None = None,
    *,
    exact: bool = True,
) -> float:
    """NLL in nats of tokens starts[b] to stops[b] - 1 of all rows b, each from a zero state."""
    check_whole("window", window)
    steps = int((stops - starts).max())
    total = torch.zeros((), dtype=torch.float64)
    state = None
    with evaluation_mode(model, exact=exact) as device:
        prepared = model.encoder.prepare(len(starts))
        for step in range(0, steps, window):
            width = min(window, steps - step)
            ids = read_rows(source, starts + step, stops, width, first_context, model.vocab_size)
            counted = torch.from_numpy(starts + step + np.arange(width)[:, None] < stops)
            inputs = torch.from_numpy(ids).to(device)
            nll, state = model.token_nll(inputs[:-1], inputs[1:], state, prepared)
            total += nll.double().cpu()[counted].sum()
            if progress is not None:
                progress(step + width, steps)
    return float(total)
