"""Texts that arrive in pieces, each piece in a request of its own."""

import secrets
import time
from collections.abc import Callable
from dataclasses import dataclass, field

import numpy as np

from ulmkit.api.classifier_stream import TextStream
from ulmkit.serve.options import ServeOptions
from ulmkit.serve.refusals import RefusalError
from ulmkit.serve.served import Served


@dataclass
class OpenStream:
    """A text that is not finished.

    Attributes:
        name: Its identifier, which nobody can guess.
        served: The classifier that reads it to its end, even if a new one is served meanwhile.
        text: The stream that reads it.
        characters: Number of characters so far.
        last_used: Time of the last piece, in seconds.
        is_busy: Whether a piece is being read.
    """

    name: str
    served: Served
    text: TextStream
    characters: int = 0
    last_used: float = field(default_factory=time.monotonic)
    is_busy: bool = False

    def read(self, piece: str, finish: bool) -> np.ndarray:
        """Read a piece, and predict from what was read so far."""
        self.text.feed(piece)
        return self.text.finish() if finish else self.text.predict_proba()


class Streams:
    """The open streams of a server.

    Args:
        served: Returns the classifier that reads a text which begins.
        options: How many streams there may be, how long and for how long.
    """

    def __init__(self, served: Callable[[], Served], options: ServeOptions) -> None:
        self._served = served
        self._options = options
        self._open: dict[str, OpenStream] = {}

    def __len__(self) -> int:
        return len(self._open)

    def take(self, name: str | None, piece: str) -> OpenStream:
        """Take a stream, or begin one, to read a piece; it is busy until `release`.

        Args:
            name: The stream; None begins one.
            piece: The piece to read.

        Raises:
            RefusalError: If there is no such stream, it is busy, the text becomes too long, or too many are open.
            ConfigError: If the classifier cannot read in pieces.
        """
        self._close_idle()
        if name is None and len(self._open) >= self._options.max_streams:
            raise RefusalError(429, f"too many streams: {len(self._open)} are open; finish one, or try again", 1)
        stream = self._begin() if name is None else self._open.get(name)
        if stream is None:
            raise RefusalError(404, "stream: there is none of that name; it was finished, or closed after a long pause")
        if stream.is_busy:
            raise RefusalError(409, "stream: is reading a piece; wait for its answer before sending the next one")
        characters = stream.characters + len(piece)
        if characters > self._options.max_characters:
            raise RefusalError(
                413, f"stream: expected at most {self._options.max_characters:,} characters, got {characters:,}"
            )
        stream.characters = characters
        stream.is_busy = True
        self._open[stream.name] = stream
        return stream

    def release(self, stream: OpenStream) -> None:
        """Let a stream wait for its next piece."""
        stream.is_busy = False
        stream.last_used = time.monotonic()

    def close(self, name: str) -> None:
        """Forget a stream, if it is there."""
        self._open.pop(name, None)

    def _begin(self) -> OpenStream:
        served = self._served()
        return OpenStream(secrets.token_urlsafe(16), served, served.classifier.stream())

    def _close_idle(self) -> None:
        oldest = time.monotonic() - self._options.stream_seconds
        for stream in list(self._open.values()):
            if not stream.is_busy and stream.last_used < oldest:
                self.close(stream.name)
