"""Text to tokens by way of chunks, with a cache of the tokens of each chunk: few chunks make up most of a text."""

import importlib.metadata
from abc import abstractmethod
from collections.abc import Callable, Iterable, Sequence
from itertools import chain, filterfalse

from ulmkit.files import fingerprint
from ulmkit.text.characters import drop_invisible
from ulmkit.text.tokens.boundaries import stable_prefix
from ulmkit.text.tokens.parts import KEPT_CHUNKS, chunk_parts, field_chunks
from ulmkit.text.tokens.rules import BOS, MAX_RUN_CHARACTERS, REP, RULES_VERSION, prepare_text
from ulmkit.text.tokens.tokenizer import FORMAT_VERSION, Text, Tokenizer, text_fields

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

    def clean(self, text: str) -> str:
        """Normalise the text and drop invisible characters."""
        return drop_invisible(text)

    def stable_prefix(self, text: str, is_glued: bool = False) -> int:
        """Count the leading characters whose tokens are settled; see `ulmkit.text.tokens.boundaries.stable_prefix`."""
        return stable_prefix(text, is_glued)

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

    def tokenize_part(self, part: str, before: str, is_last: bool) -> list[str]:
        """Tokenize one part of a text that was cut at stable prefixes; see `Tokenizer.tokenize_part`."""
        is_glued = bool(before) and not before.isspace()
        chunks = prepare_text(part, is_glued=is_glued, is_last=is_last)
        tokens = [] if before else [BOS]
        if is_glued and chunks:
            tokens += self._encode([chunks.pop(0)], is_glued=True)[0]
        look_up = self._encoded(chunks)
        tokens += chain.from_iterable(map(look_up, chunks))
        return tokens

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
        if self._cached_characters > MAX_CACHED_CHARACTERS:
            self._empty_caches()
        return cache.__getitem__ if not long else lambda chunk: long[chunk] if chunk in long else cache[chunk]

    def _encode(self, chunks: list[str], is_glued: bool = False) -> list[tuple[str, ...]]:
        """Encode chunks, the first of a part glued to what is before it if `is_glued`.

        The characters of all are counted, since a cache of parts may keep the parts of a chunk that is not cached.
        """
        self._cached_characters += sum(map(len, chunks))
        parts = [chunk_parts(chunk, is_glued) for chunk in chunks]
        encoded = iter(self._encode_parts([part for chunk in parts for part in chunk if part[0] != REP]))
        return [
            tuple(next(encoded))
            if len(chunk) == 1
            else tuple(chain.from_iterable((REP,) if part == REP else next(encoded) for part, _ in chunk))
            for chunk in parts
        ]


def encode_missing(
    cache: dict[str, tuple[str, ...]], keys: Iterable[str], encode: Callable[[list[str]], Iterable[tuple[str, ...]]]
) -> None:
    """Add the tokens of the keys that a cache lacks."""
    missing = list(filterfalse(cache.__contains__, set(keys)))
    if missing:
        cache.update(zip(missing, encode(missing), strict=True))
