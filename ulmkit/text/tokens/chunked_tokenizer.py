"""Text to tokens by way of chunks, with a cache of the tokens of each chunk: few chunks make up most of a text."""

import importlib.metadata
from abc import abstractmethod
from collections.abc import Callable, Iterable, Sequence
from itertools import chain, filterfalse

from ulmkit.files import fingerprint
from ulmkit.text.tokens.parts import KEPT_CHUNKS, chunk_parts, field_chunks
from ulmkit.text.tokens.rules import BOS, MAX_RUN_CHARACTERS, REP, RULES_VERSION
from ulmkit.text.tokens.streamed_rules import Piece, StreamedRules
from ulmkit.text.tokens.tokenizer import FORMAT_VERSION, PieceTokenizer, Text, Tokenizer, text_fields

MAX_CACHED_CHARACTERS = 3_000_000
"""Characters of the encoded chunks at which the caches are emptied: about 300,000 chunks and 100 MB of English."""

TEXTS_AT_ONCE = 128


class ChunkedTokenizer(Tokenizer):
    """Tokenizer of each stretch without white space on its own, with a cache of their tokens.

    A cache only ever gains entries. To empty it, it is replaced, and a thread that is still using the old one goes on
    with that; so no lock is needed and no look-up can miss what was just cached.

    Attributes:
        package: Distribution whose version the tokens depend on.
    """

    package: str

    def __init__(self) -> None:
        self._empty_caches()

    def _empty_caches(self) -> None:
        self._cache: dict[str, tuple[str, ...]] = {chunk: (chunk,) for chunk in KEPT_CHUNKS}
        self._part_cache: dict[str, tuple[str, ...]] = {}
        self._cached_characters = 0

    @abstractmethod
    def _encode_parts(self, parts: Sequence[tuple[str, bool]]) -> Sequence[Sequence[str]]:
        """Encode parts without white space.

        Args:
            parts: Each part, and whether it is glued to the part before.

        Returns:
            The tokens of each part, which depend on nothing else.
        """

    @property
    def fingerprint(self) -> str:
        """Short name that changes with the settings, the rules and the package's version."""
        version = importlib.metadata.version(self.package)
        return fingerprint(self.name, FORMAT_VERSION, *self.settings.values(), RULES_VERSION, version)

    def start_stream(self) -> PieceTokenizer:
        """Begin a text that comes in pieces; what is held of it is bounded, see `StreamedRules`."""
        return _StreamedChunks(self)

    def tokenize(self, text: Text) -> list[str]:
        """Tokenize a text: xxbos and its tokens; several fields each follow xxfld and their number."""
        return self.tokenize_many([text])[0]

    def tokenize_many(self, texts: Sequence[Text]) -> list[list[str]]:
        """Tokenize texts: BOS and the tokens of each; several fields each follow FLD and their number."""
        tokenized: list[list[str]] = []
        for start in range(0, len(texts), TEXTS_AT_ONCE):
            prepared = [field_chunks(text_fields(text)) for text in texts[start : start + TEXTS_AT_ONCE]]
            look_up = self._encoded(chain.from_iterable(prepared))
            tokenized += [[BOS, *chain.from_iterable(map(look_up, chunks))] for chunks in prepared]
        return tokenized

    def tokenize_pieces(self, pieces: Sequence[Piece]) -> list[str]:
        """Tokenize chunks, or pieces of them: their tokens, without BOS."""
        look_up = self._encoded(text for text, is_glued in pieces if not is_glued)
        encoded = (self._encode([text], True)[0] if is_glued else look_up(text) for text, is_glued in pieces)
        return list(chain.from_iterable(encoded))

    def _encoded(self, chunks: Iterable[str]) -> Callable[[str], tuple[str, ...]]:
        """Encode the chunks that are not cached.

        Returns:
            The look-up of each chunk's tokens. Chunks that are too long to occur often are in it but not in the cache.
        """
        cache = self._cache
        missing = list(filterfalse(cache.__contains__, set(chunks)))
        encoded = dict(zip(missing, self._encode(missing), strict=True))
        long = {chunk: tokens for chunk, tokens in encoded.items() if len(chunk) > MAX_RUN_CHARACTERS}
        for chunk in long:
            del encoded[chunk]
        cache.update(encoded)
        return cache.__getitem__ if not long else lambda chunk: long[chunk] if chunk in long else cache[chunk]

    def _encode(self, chunks: list[str], is_glued: bool = False) -> list[tuple[str, ...]]:
        """Encode chunks, the first of a part glued to what is before it if `is_glued`.

        The characters of all are counted, since a cache of parts may keep the parts of a chunk that is not cached.
        """
        self._cached_characters += sum(map(len, chunks))
        parts = [chunk_parts(chunk, is_glued) for chunk in chunks]
        encoded = iter(self._encode_parts([part for chunk in parts for part in chunk if part[0] != REP]))
        if self._cached_characters > MAX_CACHED_CHARACTERS:
            self._empty_caches()
        return [
            tuple(next(encoded))
            if len(chunk) == 1
            else tuple(chain.from_iterable((REP,) if part == REP else next(encoded) for part, _ in chunk))
            for chunk in parts
        ]


class _StreamedChunks:
    """Tokens of a text that comes in pieces."""

    def __init__(self, tokenizer: ChunkedTokenizer) -> None:
        self._tokenizer = tokenizer
        self._rules = StreamedRules()
        self._has_begun = False

    @property
    def held_characters(self) -> int:
        return self._rules.held_characters

    def feed(self, piece: str, is_last: bool) -> list[str]:
        pieces = self._rules.feed(piece, is_last)
        if not pieces and not is_last:
            return []
        lead = [] if self._has_begun else [BOS]
        self._has_begun = True
        return lead + self._tokenizer.tokenize_pieces(pieces)


def encode_missing(
    cache: dict[str, tuple[str, ...]], keys: Iterable[str], encode: Callable[[list[str]], Iterable[tuple[str, ...]]]
) -> None:
    """Add the tokens of the keys that a cache lacks."""
    missing = list(filterfalse(cache.__contains__, set(keys)))
    if missing:
        cache.update(zip(missing, encode(missing), strict=True))
