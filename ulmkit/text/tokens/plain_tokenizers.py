"""The two tokenizers without clean-up rules: white space and bytes."""

from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np

from ulmkit.errors import ConfigError, DataError
from ulmkit.text.characters import Composer, normalise
from ulmkit.text.tokens.rules import BOS, FLD, SPECIALS
from ulmkit.text.tokens.tokenizer import PieceTokenizer, Text, Tokenizer, WordTokens, text_fields
from ulmkit.text.tokens.vocabulary import Vocabulary


class WhitespaceTokenizer(Tokenizer):
    """Splits word-level corpora at white space and adds a token after each line; nothing else is changed.

    Args:
        end_of_line: Token that closes each line.
        unknown: The corpus's own token for unknown words.

    Raises:
        ConfigError: If one of them has white space in it.
    """

    name = "whitespace"
    units = "words between white space"

    def __init__(self, end_of_line: str = "<eos>", unknown: str = "<unk>") -> None:
        for option, value in (("end_of_line", end_of_line), ("unknown", unknown)):
            if value.split() != [value]:
                raise ConfigError(f"{option}: expected a token without white space, got {value!r}")
        self.end_of_line = end_of_line
        self.unknown = unknown

    @property
    def settings(self) -> dict[str, str]:
        """The two tokens."""
        return {"end_of_line": self.end_of_line, "unknown": self.unknown}

    @property
    def marks(self) -> tuple[str, ...]:
        """The two tokens, which stand for no word that is known."""
        return (self.end_of_line, self.unknown)

    @property
    def required_tokens(self) -> tuple[str, ...]:
        """Return the token that closes every line."""
        return (self.end_of_line,)

    def tokenize(self, text: Text) -> list[str]:
        """Tokenize the words of each line, each line closed by `end_of_line`.

        Raises:
            DataError: If the text has several fields, which have no mark here.
        """
        fields = text_fields(text)
        if len(fields) != 1:
            raise DataError(
                f"text: expected one field for the whitespace tokenizer, got {len(fields)}; "
                "use the spacy, sentencepiece or bytes tokenizer"
            )
        lines = normalise(fields[0]).split("\n")
        if not lines[-1]:
            lines.pop()
        tokens: list[str] = []
        for line in lines:
            tokens += line.split()
            tokens.append(self.end_of_line)
        return tokens

    def tokenize_words(self, documents: Sequence[Sequence[str]]) -> WordTokens:
        """Take each word as a token; a document with words ends with `end_of_line`."""
        tokens = [[*map(normalise, words), self.end_of_line] if words else [] for words in documents]
        return tokens, [np.arange(len(words), dtype=np.int64) for words in documents]

    def start_stream(self) -> PieceTokenizer:
        """Begin a text that comes in pieces; of it a word is held, however long."""
        return _StreamedLines(self.end_of_line)

    def detokenize(self, tokens: Sequence[str]) -> str:
        """Join words by spaces and lines by line breaks."""
        lines: list[list[str]] = [[]]
        for token in tokens:
            if token == self.end_of_line:
                lines.append([])
            else:
                lines[-1].append(token)
        if not lines[-1]:
            lines.pop()
        return "\n".join(" ".join(line) for line in lines)

    def build_vocabulary(
        self, counts: Mapping[str, int], max_vocab: int | None = None, min_freq: int | None = None
    ) -> Vocabulary:
        """Keep the most frequent words; by default every word of the training text.

        The vocabulary always has the unknown token and the end of line. They stand in the order of their counts where
        the text has both, as published word-level corpora do. Where no word is left out, the unknown token is last;
        otherwise both come first.
        """
        size = len(counts) + 2 if max_vocab is None else max_vocab
        least = 1 if min_freq is None else min_freq
        built = Vocabulary.build(counts, size, least, ())
        marks = (self.unknown, self.end_of_line)
        if all(mark in built for mark in marks):
            return built
        if all(token in built for token in (*counts, self.end_of_line)) and len(built) < size:
            return Vocabulary([*built.tokens, self.unknown])
        return Vocabulary.build(counts, size, least, marks)

    @classmethod
    def from_settings(cls, folder: Path, *, end_of_line: str, unknown: str) -> "WhitespaceTokenizer":
        """The tokenizer that `save` wrote."""
        return cls(end_of_line, unknown)


class _StreamedLines:
    """Words of lines that come in pieces."""

    def __init__(self, end_of_line: str) -> None:
        self._end_of_line = end_of_line
        self._characters = Composer()
        self._word: list[str] = []  # pieces of the word that goes on
        self._line_is_open = False

    @property
    def held_characters(self) -> int:
        return len(self._characters.held) + sum(map(len, self._word))

    def feed(self, piece: str, is_last: bool) -> list[str]:
        tokens: list[str] = []
        lines = self._characters.feed(piece, is_last).split("\n")
        for index, line in enumerate(lines):
            tokens += self._words(line)
            if index < len(lines) - 1 or (is_last and self._line_is_open):
                tokens += [*self._closed_word(), self._end_of_line]
                self._line_is_open = False
        return tokens

    def _words(self, part: str) -> list[str]:
        """Take in a part of a line. Returns: The words that are complete."""
        if not part:
            return []
        self._line_is_open = True
        closed = self._closed_word() if part[0].isspace() else []
        words = part.split()
        if not words:
            return closed
        self._word.append(words[0])
        if len(words) > 1 or part[-1].isspace():
            closed += [*self._closed_word(), *words[1:]]
            if not part[-1].isspace():
                self._word.append(closed.pop())
        return closed

    def _closed_word(self) -> list[str]:
        word = "".join(self._word)
        self._word = []
        return [word] if word else []


class _StreamedBytes:
    """Bytes of a text that comes in pieces."""

    def __init__(self) -> None:
        self._characters = Composer()
        self._has_begun = False

    @property
    def held_characters(self) -> int:
        return len(self._characters.held)

    def feed(self, piece: str, is_last: bool) -> list[str]:
        lead = [] if self._has_begun else [BOS]
        self._has_begun = True
        return lead + _names(self._characters.feed(piece, is_last))


_BYTE_NAMES = tuple(f"<0x{value:02X}>" for value in range(256))
_BYTE_VALUES = {name: value for value, name in enumerate(_BYTE_NAMES)}


def _names(text: str) -> list[str]:
    """Name the bytes of a text in UTF-8."""
    return [_BYTE_NAMES[value] for value in text.encode()]


class ByteTokenizer(Tokenizer):
    """UTF-8 bytes of a text after xxbos, with no rules: any text of any language, restored exactly (in NFC)."""

    name = "bytes"
    units = "bytes"
    word_gap = " "

    def tokenize(self, text: Text) -> list[str]:
        """Tokenize a text: xxbos and a token per byte; several fields each follow xxfld and their number."""
        fields = text_fields(text)
        if len(fields) == 1:
            return [BOS, *_names(normalise(fields[0]))]
        tokens = [BOS]
        for number, field in enumerate(fields, start=1):
            tokens += [FLD, *_names(str(number)), *_names(normalise(field))]
        return tokens

    def start_stream(self) -> PieceTokenizer:
        """Begin a text that comes in pieces; of it a character with its marks is held."""
        return _StreamedBytes()

    def detokenize(self, tokens: Sequence[str]) -> str:
        """Write the text of the bytes; bytes that are not UTF-8 become U+FFFD, special tokens are left out."""
        values = bytes(_BYTE_VALUES[token] for token in tokens if token in _BYTE_VALUES)
        return values.decode("utf-8", "replace")

    def starts_word(self, token: str) -> bool:
        """Tell whether a byte is ASCII white space, after which a word begins."""
        return _BYTE_VALUES[token] in b" \t\n\r\f\v"

    def spell(self, tokens: Sequence[str]) -> str:
        """Write the text of bytes without the white space around it."""
        return self.detokenize(tokens).strip()

    def closed_vocabulary(self) -> Vocabulary:
        """Return the special tokens and the 256 bytes."""
        return Vocabulary([*SPECIALS, *_BYTE_NAMES])

    @classmethod
    def from_settings(cls, folder: Path) -> "ByteTokenizer":
        """The tokenizer that `save` wrote."""
        return cls()
