"""Text to tokens by way of chunks, with a cache of the tokens of each chunk: few chunks make up most of a text."""

from collections.abc import Callable, Iterable, Sequence
from itertools import chain, filterfalse

from ulmkit.text.tokens.rules import (
    BOS,
    FLD,
    LINE,
    MAX_RUN_CHARACTERS,
    PARAGRAPH,
    REP,
    SPECIAL_SET,
    prepare_text,
    split_run,
    tidy_chunk,
)
from ulmkit.text.tokens.tokenizer import Text

EncodeParts = Callable[[Sequence[tuple[str, bool]]], Sequence[Sequence[str]]]
"""Maps (part without white space, whether it is glued to the part before) of several parts to the tokens of each."""

MAX_CACHED_CHARACTERS = 3_000_000
"""Characters of the encoded chunks at which the caches are emptied: about 300,000 chunks and 100 MB of English."""

TEXTS_AT_ONCE = 128

KEPT_CHUNKS = SPECIAL_SET | {LINE, PARAGRAPH}
"""Chunks that are tokens themselves."""


def chunk_parts(chunk: str, is_glued: bool = False) -> list[tuple[str, bool]]:
    """Split a chunk into tidied parts, each with whether it is glued to the part before.

    A repetition's count and character are not glued, so that they are the same tokens wherever the repetition occurs.
    """
    parts = list(chain.from_iterable(map(tidy_chunk, split_run(chunk))))
    if len(parts) == 1:
        return [(parts[0], is_glued)]
    glued = [is_glued] + [True] * (len(parts) - 1)
    for index, part in enumerate(parts):
        if part == REP:
            glued[index + 1 : index + 3] = (False, False)
    return list(zip(parts, glued, strict=True))


class ChunkTokens:
    """Tokenizes texts chunk by chunk and caches the tokens of each chunk; safe to share between threads.

    A cache only ever gains entries. To empty it, it is replaced, and a thread that is still using the old one goes on
    with that; so no lock is needed and no look-up can miss what was just cached.

    Args:
        encode_parts: Gives the tokens of each part; a pure function of the part and whether it is glued to the one
            before.
        forget: Called when the chunk cache is emptied, to empty any cache of parts.
    """

    def __init__(self, encode_parts: EncodeParts, forget: Callable[[], None]) -> None:
        self._encode_parts = encode_parts
        self._forget = forget
        self._empty_cache()

    def _empty_cache(self) -> None:
        self._cache: dict[str, tuple[str, ...]] = {chunk: (chunk,) for chunk in KEPT_CHUNKS}
        self._cached_characters = 0

    def tokenize_many(self, texts: Sequence[Text]) -> list[list[str]]:
        """Tokenize texts: BOS and the tokens of each; several fields each follow FLD and their number."""
        tokenized: list[list[str]] = []
        for start in range(0, len(texts), TEXTS_AT_ONCE):
            prepared = [_prepare(text) for text in texts[start : start + TEXTS_AT_ONCE]]
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
            self._empty_cache()
            self._forget()
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


def _prepare(text: Text) -> list[str]:
    if isinstance(text, str):
        return prepare_text(text)
    if len(text) == 1:
        return prepare_text(text[0])
    fields = ([FLD, str(number), *prepare_text(field)] for number, field in enumerate(text, start=1))
    return list(chain.from_iterable(fields))
