"""Words as spaCy's rules for a language split them, after the clean-up rules."""

import pkgutil
import threading
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from ulmkit.errors import ConfigError, MissingPackageError, did_you_mean
from ulmkit.text.tokens.chunked_tokenizer import ChunkedTokenizer, encode_missing
from ulmkit.text.tokens.parts import with_marks
from ulmkit.text.tokens.restore import restore_text
from ulmkit.text.tokens.rules import case_marks

_PARTS_AT_ONCE = 10_000


class SpacyTokenizer(ChunkedTokenizer):
    """Lower-case words with marks for capitals, as a blank spaCy pipeline splits each stretch without white space.

    A token never spans white space; spaCy's few exceptions that do ("EE. UU." in Spanish) are two tokens here.

    Args:
        language: A code that spaCy has ("en", "de", "zh", ...; "xx" for any).

    Raises:
        ConfigError: If spaCy does not have the language.
        MissingPackageError: If spaCy, or a package it needs for the language (Japanese, Korean, Thai, Vietnamese), is
            not installed.
    """

    name = "spacy"
    units = "words split by spaCy"
    package = "spacy"
    _splitter: Any

    def __init__(self, language: str = "en") -> None:
        self._begin(language)
        self._splitter = _blank_tokenizer(language)

    def _begin(self, language: str) -> None:
        self.language = language
        self._splitter_lock = threading.Lock()
        super().__init__()

    def _empty_caches(self) -> None:
        """Empty the caches and drop the splitter, which caches words too; it is made anew when needed."""
        super()._empty_caches()
        with self._splitter_lock:
            self._splitter = None

    def __reduce__(self) -> tuple[type["SpacyTokenizer"], tuple[str]]:
        return type(self), (self.language,)

    @property
    def settings(self) -> dict[str, str]:
        """The language."""
        return {"language": self.language}

    def _encode_parts(self, parts: Sequence[tuple[str, bool]]) -> list[Sequence[str]]:
        lowered = [part.lower() for part, _ in parts]
        words = self._part_cache  # emptying replaces it; this call goes on with the one it started with
        encode_missing(words, lowered, self._split)
        return [
            words[lower] if lower == part else with_marks(words[lower], case_marks(part))
            for lower, (part, _) in zip(lowered, parts, strict=True)
        ]

    def _split(self, parts: list[str]) -> Iterator[tuple[str, ...]]:
        # spaCy's tokenizer caches without a lock of its own. Only parts never seen before wait for this one.
        with self._splitter_lock:
            if self._splitter is None:
                self._splitter = _blank_tokenizer(self.language)
            for start in range(0, len(parts), _PARTS_AT_ONCE):
                yield from _split_words(self._splitter, parts[start : start + _PARTS_AT_ONCE])

    def detokenize(self, tokens: Sequence[str]) -> str:
        """Write the text as people would write it; see `restore_text`."""
        return restore_text(tokens)

    @classmethod
    def from_settings(cls, folder: Path, *, language: str) -> "SpacyTokenizer":
        """Load the tokenizer that `save` wrote.

        spaCy is imported when there is text to split: training from an encoded corpus only hands the tokenizer on.
        """
        loaded = cls.__new__(cls)
        loaded._begin(language)
        return loaded


def _split_words(splitter: Any, parts: list[str]) -> list[tuple[str, ...]]:
    """Split each part into words, as if the splitter had been given that part alone.

    spaCy's own tokenizer looks at each stretch between white space by itself, but for exceptions that hold white space,
    and takes half the time for many at once; those of other languages look at the whole text.
    """
    from spacy.attrs import LENGTH
    from spacy.tokenizer import Tokenizer

    if isinstance(splitter, Tokenizer):
        lengths = splitter(" ".join(parts)).to_array([LENGTH]).ravel().tolist()
        words = _cut_by_lengths(parts, lengths)
        if words is not None:
            return words
    return [tuple(token.text for token in splitter(part)) for part in parts]


def _cut_by_lengths(parts: list[str], lengths: list[int]) -> list[tuple[str, ...]] | None:
    """Cut each part into words of these lengths, in order; None if a word does not end within its part."""
    words: list[tuple[str, ...]] = []
    index = 0
    for part in parts:
        start = 0
        cut: list[str] = []
        while start < len(part):
            end = start + lengths[index]
            index += 1
            cut.append(part[start:end])
            start = end
        if start > len(part):
            return None
        words.append(tuple(cut))
    return words


def _blank_tokenizer(language: str) -> Any:
    try:
        import spacy
        import spacy.lang
    except ImportError as error:
        raise MissingPackageError("spacy: is not installed; run: pip install spacy") from error
    languages = [module.name for module in pkgutil.iter_modules(spacy.lang.__path__) if module.ispkg]
    if language not in languages:
        advice = did_you_mean(language, languages)
        raise ConfigError(f"language: expected a code that spaCy has, got {language!r}; {advice}")
    try:
        pipeline = spacy.blank(language)
    except ImportError as error:
        reason = str(error).splitlines()[0]
        raise MissingPackageError(
            f"language {language!r}: spaCy needs a package that is not installed ({reason}); "
            "install it, or use the sentencepiece tokenizer, which needs none"
        ) from error
    # Shapes, norms and the like of each new word are not used, and take a third of the time.
    pipeline.vocab.lex_attr_getters.clear()  # type: ignore[attr-defined]
    return pipeline.tokenizer
