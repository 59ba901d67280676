"""Words as spaCy's rules for a language split them, after the clean-up rules."""

import importlib.metadata
import os
import pkgutil
import threading
from collections.abc import Mapping, Sequence
from itertools import filterfalse
from pathlib import Path
from typing import Any

from ulmkit.errors import ConfigError, MissingPackageError, did_you_mean
from ulmkit.files import fingerprint
from ulmkit.text.tokens.chunk_tokens import ChunkTokens
from ulmkit.text.tokens.chunked_tokenizer import ChunkedTokenizer
from ulmkit.text.tokens.restore import restore_text
from ulmkit.text.tokens.rules import RULES_VERSION, case_marks
from ulmkit.text.tokens.tokenizer import FORMAT_VERSION, save_settings
from ulmkit.text.tokens.vocabulary import Vocabulary

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

    def __init__(self, language: str = "en") -> None:
        self._begin(language, _blank_tokenizer(language))

    def _begin(self, language: str, splitter: Any) -> None:
        self.language = language
        self._splitter = splitter
        self._splitter_lock = threading.Lock()
        self._words: dict[str, tuple[str, ...]] = {}
        self._chunks = ChunkTokens(self._encode_parts, forget=self._forget)

    def _forget(self) -> None:
        """Empty the cache of parts and drop the splitter, which caches words too; it is made anew when needed."""
        self._words = {}
        with self._splitter_lock:
            self._splitter = None

    def __getstate__(self) -> dict[str, Any]:
        return {"language": self.language}

    def __setstate__(self, state: dict[str, Any]) -> None:
        self.__init__(**state)  # type: ignore[misc]

    @property
    def fingerprint(self) -> str:
        """Changes with the language, the rules and spaCy's version."""
        version = importlib.metadata.version("spacy")
        return fingerprint(self.name, FORMAT_VERSION, self.language, RULES_VERSION, version)

    def _encode_parts(self, parts: Sequence[tuple[str, bool]]) -> list[Sequence[str]]:
        lowered = [part.lower() for part, _ in parts]
        words = self._words  # `_forget` replaces the cache; this call goes on with the one it started with
        missing = list(filterfalse(words.__contains__, set(lowered)))
        for start in range(0, len(missing), _PARTS_AT_ONCE):
            batch = missing[start : start + _PARTS_AT_ONCE]
            words.update(zip(batch, self._split(batch), strict=True))
        return [
            words[lower] if lower == part else _with_marks(words[lower], case_marks(part))
            for lower, (part, _) in zip(lowered, parts, strict=True)
        ]

    def _split(self, parts: list[str]) -> list[tuple[str, ...]]:
        # spaCy's tokenizer caches without a lock of its own. Only parts never seen before wait for this one.
        with self._splitter_lock:
            if self._splitter is None:
                self._splitter = _blank_tokenizer(self.language)
            return _split_words(self._splitter, parts)

    def detokenize(self, tokens: Sequence[str]) -> str:
        """Write the text as people would write it; see `restore_text`."""
        return restore_text(tokens)

    def closed_vocabulary(self) -> None:
        """Return None: the vocabulary is built from counts."""
        return None

    def build_vocabulary(
        self, counts: Mapping[str, int], max_vocab: int | None = None, min_freq: int | None = None
    ) -> Vocabulary:
        """Keep the most frequent words after the special tokens; by default 60,000 that occur at least 3 times."""
        return Vocabulary.build(counts, 60_000 if max_vocab is None else max_vocab, 3 if min_freq is None else min_freq)

    def save(self, folder: str | os.PathLike[str]) -> None:
        """Write tokenizer.json."""
        save_settings(folder, self.name, {"language": self.language})

    @classmethod
    def from_settings(cls, folder: Path, *, language: str) -> "SpacyTokenizer":
        """Load the tokenizer that `save` wrote.

        spaCy is imported when there is text to split: training from an encoded corpus only hands the tokenizer on.
        """
        loaded = cls.__new__(cls)
        loaded._begin(language, None)
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


def _with_marks(words: Sequence[str], marks: list[tuple[int, str]]) -> list[str]:
    """Put each mark before the word that its offset falls into; of several the first."""
    marked: list[str] = []
    end = 0
    index = 0
    for word in words:
        end += len(word)
        if index < len(marks) and marks[index][0] < end:
            marked.append(marks[index][1])
            while index < len(marks) and marks[index][0] < end:
                index += 1
        marked.append(word)
    return marked


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
