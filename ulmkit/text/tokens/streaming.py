"""Tokens of a text that comes in pieces."""

from ulmkit.text.tokens.tokenizer import PieceTokenizer, Tokenizer


class StreamingTokens:
    """Tokens of a text that arrives in pieces, each as soon as nothing that may follow can change it.

    All that `feed` and the closing `finish` return, put together, equals `tokenizer.tokenize` of the pieces put
    together, however the text was cut. After `finish` the next text begins.

    Args:
        tokenizer: Knows through `start_stream` which tokens are settled.
    """

    def __init__(self, tokenizer: Tokenizer) -> None:
        self._tokenizer = tokenizer
        self._stream: PieceTokenizer = tokenizer.start_stream()

    @property
    def held_characters(self) -> int:
        """Characters that are kept because their tokens are still open."""
        return self._stream.held_characters

    def feed(self, piece: str) -> list[str]:
        """Take in the next piece, cut anywhere.

        Returns:
            The tokens that are settled by now and were not returned before.
        """
        return self._stream.feed(piece, False)

    def finish(self) -> list[str]:
        """Complete the text.

        Returns:
            The tokens that were still held back.
        """
        tokens = self._stream.feed("", True)
        self._stream = self._tokenizer.start_stream()
        return tokens
