"""Long streams of tokens, read in parts."""

from collections.abc import Callable
from typing import Protocol

import numpy as np

from ulmkit.errors import ConfigError, DataError

StreamCallback = Callable[[int, int], None]
"""Called with (done, total), in tokens or steps, while a stream is read."""


class TokenSource(Protocol):
    """A long sequence of token ids that is read in parts, for example a `TokenStream`."""

    def __len__(self) -> int:
        """Number of tokens."""
        ...

    def read(self, start: int, stop: int) -> np.ndarray:
        """Read the ids from position `start` to before `stop`."""
        ...


class _ArraySource:
    """A TokenSource over an array in memory."""

    def __init__(self, ids: np.ndarray) -> None:
        self.ids = ids

    def __len__(self) -> int:
        return len(self.ids)

    def read(self, start: int, stop: int) -> np.ndarray:
        return self.ids[start:stop]


def token_source(stream: TokenSource | np.ndarray, minimum: int) -> TokenSource:
    """Make a source of a stream or an array.

    Raises:
        DataError: If it has fewer than `minimum` tokens.
    """
    source = _ArraySource(stream) if isinstance(stream, np.ndarray) else stream
    if len(source) < minimum:
        raise DataError(f"stream: expected at least {minimum} tokens, got {len(source)}")
    return source


def check_context(first_context: int | None, vocab_size: int) -> int:
    """Check the token that a stream's first one is predicted from, and return it.

    Raises:
        ConfigError: If it is no token's id.
    """
    if first_context is None or not 0 <= first_context < vocab_size:
        raise ConfigError(f"first_context: expected a token id from 0 to {vocab_size - 1}, got {first_context}")
    return first_context


def read_rows(
    source: TokenSource, starts: np.ndarray, stops: np.ndarray, width: int, first_context: int, vocab_size: int
) -> np.ndarray:
    """Read tokens `starts[b]` to `starts[b] + width - 1` of each row b, and the token before them.

    Args:
        source: The stream.
        starts: (B,) positions of the rows' first tokens.
        stops: (B,) positions where the rows end; ids from stops[b] on are 0.
        width: Tokens of each row.
        first_context: Id that precedes the stream's first token.
        vocab_size: Number of valid ids.

    Returns:
        (width + 1, B) int64.

    Raises:
        DataError: If an id is outside the vocabulary.
    """
    ids = np.zeros((width + 1, len(starts)), dtype=np.int64)
    for row, (start, stop) in enumerate(zip(starts.tolist(), stops.tolist(), strict=True)):
        part = source.read(max(start - 1, 0), min(start + width, stop)) if start < stop else np.zeros(0, dtype=np.int64)
        offset = 1 if start == 0 else 0
        ids[offset : offset + len(part), row] = part
        if start == 0:
            ids[0, row] = first_context
    bad = ids[(ids < 0) | (ids >= vocab_size)]
    if len(bad):
        raise DataError(
            f"token id: expected 0 to {vocab_size - 1}, got {bad[0]}; encode the text with this model's own vocabulary"
        )
    return ids
