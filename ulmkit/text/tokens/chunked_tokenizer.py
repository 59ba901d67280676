"""The methods that word and subword tokenizers share: texts go through `ChunkTokens`."""

from collections.abc import Sequence

from ulmkit.text.characters import drop_invisible
from ulmkit.text.tokens.boundaries import stable_prefix
from ulmkit.text.tokens.chunk_tokens import ChunkTokens
from ulmkit.text.tokens.rules import BOS
from ulmkit.text.tokens.tokenizer import Text, Tokenizer, WordTokens
from ulmkit.text.tokens.words import tokenize_each_word


class ChunkedTokenizer:
    """Methods of a `Tokenizer` that tokenizes each stretch without white space on its own.

    A subclass sets `_chunks`, which encodes the parts of such a stretch.
    """

    _chunks: ChunkTokens

    @property
    def required_tokens(self) -> tuple[str, ...]:
        """Return xxbos, which begins every document."""
        return (BOS,)

    def tokenize(self, text: Text) -> list[str]:
        """Tokenize a text: xxbos and its tokens; several fields each follow xxfld and their number."""
        return self._chunks.tokenize_many([text])[0]

    def tokenize_many(self, texts: Sequence[Text]) -> list[list[str]]:
        """Tokenize several texts."""
        return self._chunks.tokenize_many(texts)

    def tokenize_words(self: Tokenizer, documents: Sequence[Sequence[str]]) -> WordTokens:
        """Tokenize each word alone; see `tokenize_each_word`."""
        return tokenize_each_word(self, documents)

    def clean(self, text: str) -> str:
        """Normalise the text and drop invisible characters."""
        return drop_invisible(text)

    def tokenize_part(self, part: str, before: str, is_last: bool) -> list[str]:
        """Tokenize one part of a text that was cut at stable prefixes; see `Tokenizer`."""
        return self._chunks.tokenize_part(part, before, is_last)

    def stable_prefix(self, text: str) -> int:
        """Count the leading characters whose tokens are settled; see `ulmkit.text.tokens.boundaries.stable_prefix`."""
        return stable_prefix(text)
