"""Tokens of a text that comes in pieces."""

from ulmkit.text.characters import settled_characters
from ulmkit.text.tokens.tokenizer import Tokenizer

_PATIENT_FROM_CHARACTERS = 4096
_GROWTH = 1.25


class StreamingTokens:
    """Tokens of a text that arrives in pieces, each as soon as nothing that may follow can change it.

    All that `feed` and the closing `finish` return, put together, equals `tokenizer.tokenize` of the pieces put
    together, however the text was cut. After `finish` the next text begins.

    Args:
        tokenizer: Says through `stable_prefix` how much of a text is settled.
    """

    def __init__(self, tokenizer: Tokenizer) -> None:
        self._tokenizer = tokenizer
        self._start()

    def _start(self) -> None:
        self._pieces: list[str] = []
        self._held = ""
        self._held_characters = 0
        self._before = ""
        self._look_from = 0

    @property
    def held_characters(self) -> int:
        """Characters taken in whose tokens are still open."""
        return self._held_characters

    def feed(self, piece: str) -> list[str]:
        """Take in the next piece, cut anywhere.

        Returns:
            The tokens that are settled by now and were not returned before.
        """
        self._pieces.append(piece)
        self._held_characters += len(piece)
        if self._held_characters < self._look_from:
            return []
        arrived = "".join(self._pieces)
        known = settled_characters(arrived)
        held = self._held + self._tokenizer.clean(arrived[:known])
        is_glued = bool(self._before) and not self._before.isspace()
        settled = self._tokenizer.stable_prefix(held, is_glued)
        self._pieces = [arrived[known:]]
        self._held = held[settled:]
        self._held_characters = len(self._held) + len(arrived) - known
        # A long stretch without a boundary is looked at again only when it has grown, or the work would be quadratic.
        is_long = self._held_characters >= _PATIENT_FROM_CHARACTERS
        self._look_from = int(self._held_characters * _GROWTH) if is_long else 0
        if not settled:
            return []
        tokens = self._tokenizer.tokenize_part(held[:settled], self._before, False)
        self._before = held[settled - 1]
        return tokens

    def finish(self) -> list[str]:
        """Complete the text.

        Returns:
            The tokens that were still held back.
        """
        rest = self._held + self._tokenizer.clean("".join(self._pieces))
        tokens = self._tokenizer.tokenize_part(rest, self._before, True)
        self._start()
        return tokens
