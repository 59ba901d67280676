"""Words of documents, from their token ids: what linear models count, whatever the tokenizer."""

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np

from ulmkit.text.tokens.rules import LINE, PARAGRAPH, SPECIAL_SET
from ulmkit.text.tokens.tokenizer import Text, Tokenizer
from ulmkit.text.tokens.vocabulary import Vocabulary

Unit = Literal["words", "characters"]
UNITS = ("words", "characters")

# Scripts that are written without spaces: Thai, Lao, Burmese, Khmer, Chinese and Japanese.
_SPACELESS = "\u0e00-\u0eff\u1000-\u109f\u1780-\u17ff\u3000-\u9fff\uf900-\ufaff"
_LETTERS = rf"(?:(?![{_SPACELESS}])\w)+"
_WORD = re.compile(rf"(?=\w)[{_SPACELESS}]|{_LETTERS}(?:['’]{_LETTERS})*|[^\w\s]")
_WORD_OF_PIECE = re.compile(r"\w+(?:['’]\w+)*|[^\w\s]")
_SPACELESS_START = re.compile("[\u3000-\u9fff]|<0xE[3-9]>")  # or the first byte of such a character
_LONGEST_STRETCH = 16  # mean characters between white space; where it is longer, words are not separated by spaces
_LONGEST_PIECE = 8  # characters of a token that serves as a word where there are no spaces
_INVALID = "\ufffd"  # how a byte that is no character by itself is spelt
_LEAST_SPACES = 0.05  # share of characters; English has 0.18, Finnish 0.12, Chinese and Japanese below 0.02
_SAMPLE_TEXTS = 1000
_SAMPLE_TOKENS = 100_000
_KEPT_STRETCHES = 200_000
_LONGEST_KEPT_STRETCH = 64  # tokens; a longer one hardly occurs again
_NGRAM_LENGTHS = (2, 3, 4, 5)
_LONGEST_WORD = 64  # characters; a longer one is an address or a code, of which only the beginning is cut


@dataclass(frozen=True)
class WordSequence:
    """Word ids of several documents, one after the other.

    Attributes:
        ids: (words,) int64, -1 for a word that is not known.
        offsets: (documents + 1,) int64, where each document begins.
    """

    ids: np.ndarray
    offsets: np.ndarray

    def __len__(self) -> int:
        return len(self.offsets) - 1

    def documents(self) -> np.ndarray:
        """(words,) int64, the document of each word."""
        return np.repeat(np.arange(len(self)), np.diff(self.offsets))

    def renumber(self, ids: np.ndarray) -> "WordSequence":
        """Give the words other ids: `ids` has the new one of each, -1 for none."""
        return WordSequence(np.append(ids, -1)[self.ids], self.offsets)

    def select(self, rows: np.ndarray) -> "WordSequence":
        """Select the documents `rows`, in their order."""
        parts = [self.ids[self.offsets[row] : self.offsets[row + 1]] for row in rows]
        return join_words(parts)


def join_words(documents: Sequence[np.ndarray]) -> WordSequence:
    """Put the word ids of documents, (words,) each, one after the other."""
    offsets = np.cumsum([0, *map(len, documents)], dtype=np.int64)
    return WordSequence(np.concatenate([np.empty(0, dtype=np.int64), *documents]), offsets)


def word_places(words: Sequence[str], known: Sequence[str]) -> np.ndarray:
    """Place of each word among the known ones, (words,) int64; -1 for a word that is not known."""
    places = {word: number for number, word in enumerate(known)}
    return np.array([places.get(word, -1) for word in words], dtype=np.int64)


class WordReader:
    """Reads the words of documents from their token ids.

    A word is a run of letters, digits and apostrophes, or a single other character, in the tokenizer's case; in scripts
    that are written without spaces, each character is a word. Special tokens, and the end of a line of word-level
    corpora, stand for no word. Each stretch of tokens without white space, or from one Chinese or Japanese character to
    the next, is read on its own, so that a document can be read as a stream.

    With the unit "characters" the character n-grams of each word are read in its place, see `character_ngrams`.

    Args:
        tokenizer: Tokenizer of the documents.
        vocabulary: The token of each id.
        joins_tokens: Join the tokens of a stretch before it is cut into words; otherwise each token is a word, for
            languages that are written without spaces. See `should_join_tokens`.
        unit: What is read, "words" or "characters".
        words: Known words, or character n-grams, in the order of their ids.
        is_open: Give a new word the next id; otherwise it gets -1.

    Attributes:
        is_read: (vocabulary,) bool, whether a token stands for text.
        starts: (vocabulary,) bool, whether a stretch begins with a token.
    """

    def __init__(
        self,
        tokenizer: Tokenizer,
        vocabulary: Vocabulary,
        *,
        joins_tokens: bool = True,
        unit: Unit = "words",
        words: Iterable[str] = (),
        is_open: bool = False,
    ) -> None:
        self._tokenizer = tokenizer
        self._tokens = vocabulary.tokens
        silent = {*SPECIAL_SET, LINE, PARAGRAPH, *tokenizer.marks}
        self.is_read = np.array([token not in silent for token in self._tokens])
        self.starts = np.array(
            [
                is_read and (tokenizer.starts_word(token) or _SPACELESS_START.match(token) is not None)
                for token, is_read in zip(self._tokens, self.is_read, strict=True)
            ]
        )
        self.joins_tokens = joins_tokens
        self.unit = unit
        self._word = _WORD if joins_tokens else _WORD_OF_PIECE
        self._ids = {word: number for number, word in enumerate(words)}
        self._stretches: dict[bytes, list[int]] = {}
        self.is_open = is_open

    @property
    def words(self) -> tuple[str, ...]:
        """The known words, in the order of their ids."""
        return tuple(self._ids)

    def read(self, document: np.ndarray) -> np.ndarray:
        """Read the words of one document.

        Args:
            document: (tokens,) int.

        Returns:
            (words,) int64 word ids.
        """
        kept = document[self.is_read[document]].astype(np.int64)
        content = kept.tobytes()
        read: list[int] = []
        known = self._stretches
        for begin, end in self._stretch_ends(kept):
            stretch = content[8 * begin : 8 * end]
            words = known.get(stretch)
            read += self._stretch(stretch) if words is None else words
        return np.array(read, dtype=np.int64)

    def read_places(self, document: np.ndarray) -> tuple[np.ndarray, list[np.ndarray]]:
        """Read the words of one document, and tell which tokens each is written in.

        Args:
            document: (tokens,) int.

        Returns:
            (words,) int64 word ids, those of `read`, and for each word the positions of its tokens, (any,) int64; a
            token can belong to several words.
        """
        places = np.flatnonzero(self.is_read[document])
        kept = document[places].astype(np.int64)
        ids: list[int] = []
        owners: list[np.ndarray] = []
        for begin, end in self._stretch_ends(kept):
            tokens = [self._tokens[number] for number in kept[begin:end]]
            lengths = [len(self._tokenizer.spell(tokens[:count])) if count else 0 for count in range(len(tokens) + 1)]
            ends = np.maximum.accumulate(lengths)  # bytes of a part of a character spell something longer
            for match in self._word.finditer(self._tokenizer.spell(tokens)) if tokens else ():
                inside = np.flatnonzero((ends[:-1] < match.end()) & (ends[1:] > match.start()))
                read = self._ids_of(match[0])
                ids += read
                owners += [places[begin:end][inside] if len(inside) else places[begin:end]] * len(read)
        return np.array(ids, dtype=np.int64), owners

    def _stretch_ends(self, kept: np.ndarray) -> Iterable[tuple[int, int]]:
        """Begin and end of each stretch in the tokens that are read, (tokens,) int64."""
        if not self.joins_tokens:
            return ((place, place + 1) for place in range(len(kept)))
        begins = np.flatnonzero(self.starts[kept]).tolist()
        if not begins or begins[0]:
            begins = [0, *begins]
        return zip(begins, [*begins[1:], len(kept)], strict=True)

    def read_many(self, documents: Iterable[np.ndarray]) -> WordSequence:
        """Read the words of several documents, (tokens,) int each."""
        return join_words([self.read(document) for document in documents])

    def _stretch(self, stretch: bytes) -> list[int]:
        """Word ids of a stretch of tokens, given as the bytes of its token ids."""
        words = self._stretches.get(stretch)
        if words is None:
            tokens = [self._tokens[number] for number in np.frombuffer(stretch, dtype=np.int64)]
            spelled = self._word.findall(self._tokenizer.spell(tokens)) if tokens else []
            words = [number for word in spelled for number in self._ids_of(word)]
            if len(self._stretches) >= _KEPT_STRETCHES and not self.is_open:
                self._stretches = {}
            if len(tokens) <= _LONGEST_KEPT_STRETCH:
                self._stretches[stretch] = words
        return words

    def _ids_of(self, word: str) -> list[int]:
        """Ids of a word, or of its character n-grams."""
        read = [word] if self.unit == "words" else character_ngrams(word)
        if self.is_open:
            return [self._ids.setdefault(each, len(self._ids)) for each in read]
        return [self._ids.get(each, -1) for each in read]


class WordStream:
    """Words of one document whose tokens arrive in parts.

    All words that `feed` returns and those of the closing `open_words`, put together, are the words of the document.

    Args:
        reader: Reads the words.
    """

    def __init__(self, reader: WordReader) -> None:
        self._reader = reader
        self._open: list[np.ndarray] = []

    def feed(self, ids: np.ndarray) -> np.ndarray:
        """Take in the next tokens, (tokens,) int.

        Returns:
            (words,) int64 word ids of the stretches that are complete by now and were not returned before.
        """
        if not self._reader.joins_tokens:
            return self._reader.read(ids)
        kept = ids[self._reader.is_read[ids]]
        begins = np.flatnonzero(self._reader.starts[kept])
        if not len(begins):
            self._open.append(kept)
            return np.empty(0, dtype=np.int64)
        complete = np.concatenate([*self._open, kept[: begins[-1]]])
        self._open = [kept[begins[-1] :].copy()]
        return self._reader.read(complete)

    def open_words(self) -> np.ndarray:
        """Word ids of the last stretch, (words,) int64, which the next tokens may continue."""
        return self._reader.read(np.concatenate([np.empty(0, dtype=np.int64), *self._open]))


def has_spaces(texts: Sequence[Text]) -> bool:
    """Tell whether the language of texts separates words by spaces, from the first thousand of them."""
    sample = "".join(text if isinstance(text, str) else " ".join(text) for text in texts[:_SAMPLE_TEXTS])
    return sum(map(str.isspace, sample)) >= _LEAST_SPACES * len(sample)


def character_ngrams(word: str) -> list[str]:
    """Cut a word into all runs of 2 to 5 characters, its beginning and end marked by a space.

    Source: Bojanowski et al. 2017, arXiv:1607.04606, section 3.2. Deviations: their lengths are 3 to 6, and they mark
        beginning and end by < and >.
    """
    marked = f" {word[:_LONGEST_WORD]} "
    return [marked[begin : begin + length] for length in _NGRAM_LENGTHS for begin in range(len(marked) - length + 1)]


def cut_words(text: str) -> list[str]:
    """Cut a text into words, as `WordReader` cuts joined tokens."""
    return _WORD.findall(text)


def should_join_tokens(tokenizer: Tokenizer, vocabulary: Vocabulary, documents: Iterable[np.ndarray]) -> bool:
    """Tell whether the tokens of documents, (tokens,) int each, are joined before they are cut into words.

    They are where white space separates words. In other text subwords serve as words; but neither bytes do, nor the
    clauses that a word tokenizer for another language makes of it.
    """
    is_read = WordReader(tokenizer, vocabulary).is_read
    spelt = [tokenizer.spell([token]) for token in vocabulary.tokens]
    lengths = np.array([len(text) for text in spelt]) * is_read
    follows_space = is_read & np.array(
        [bool(read) and tokenizer.starts_word(token) for token, read in zip(vocabulary.tokens, is_read, strict=True)]
    )
    is_piece = is_read & np.array([0 < len(text) <= _LONGEST_PIECE and _INVALID not in text for text in spelt])
    characters = stretches = pieces = tokens = sampled = 0
    for document in documents:
        characters += int(lengths[document].sum())
        stretches += int(follows_space[document].sum())
        pieces += int(is_piece[document].sum())
        tokens += int(is_read[document].sum())
        sampled += len(document)
        if sampled >= _SAMPLE_TOKENS:
            break
    return characters <= _LONGEST_STRETCH * max(1, stretches) or 2 * pieces < tokens
