"""The two tokenizers without clean-up rules: white space and bytes."""

import os
from collections.abc import Sequence
from pathlib import Path

from ulmkit.errors import ConfigError, DataError
from ulmkit.files import fingerprint
from ulmkit.text.tokens.rules import BOS, FLD, SPECIALS
from ulmkit.text.tokens.tokenizer import FORMAT_VERSION, Text, save_settings
from ulmkit.text.tokens.vocabulary import Vocabulary


class WhitespaceTokenizer:
    """Word-level corpora as they stand: words split at white space, a token after each line, nothing else changed.

    Args: end_of_line: the token that closes each line. unknown: the corpus's own token for unknown words.
    """

    name = "whitespace"

    def __init__(self, end_of_line: str = "<eos>", unknown: str = "<unk>") -> None:
        for option, value in (("end_of_line", end_of_line), ("unknown", unknown)):
            if value.split() != [value]:
                raise ConfigError(f"{option}: expected a token without white space, got {value!r}")
        self.end_of_line = end_of_line
        self.unknown = unknown

    @property
    def fingerprint(self) -> str:
        """Changes with the two tokens."""
        return fingerprint(self.name, FORMAT_VERSION, self.end_of_line, self.unknown)

    def tokenize(self, text: Text) -> list[str]:
        """The words of each line, each line closed by `end_of_line`.

        Raises: DataError for a text with several fields, which have no mark here.
        """
        if not isinstance(text, str):
            if len(text) != 1:
                raise DataError(
                    f"text: expected one field for the whitespace tokenizer, got {len(text)}; "
                    "use the spacy, sentencepiece or bytes tokenizer"
                )
            text = text[0]
        lines = text.split("\n")
        if not lines[-1]:
            lines.pop()
        tokens: list[str] = []
        for line in lines:
            tokens += line.split()
            tokens.append(self.end_of_line)
        return tokens

    def tokenize_many(self, texts: Sequence[Text]) -> list[list[str]]:
        """The tokens of each text."""
        return [self.tokenize(text) for text in texts]

    def tokenize_part(self, part: str, before: str, is_last: bool) -> list[str]:
        """As `tokenize`: parts are whole lines."""
        return self.tokenize(part)

    def stable_prefix(self, text: str) -> int:
        """Everything up to the last end of line."""
        return text.rfind("\n") + 1

    def detokenize(self, tokens: Sequence[str]) -> str:
        """Words with a space between, lines with a line break between."""
        lines: list[list[str]] = [[]]
        for token in tokens:
            if token == self.end_of_line:
                lines.append([])
            else:
                lines[-1].append(token)
        if not lines[-1]:
            lines.pop()
        return "\n".join(" ".join(line) for line in lines)

    def closed_vocabulary(self) -> None:
        """None: the vocabulary is the corpus's."""
        return None

    def save(self, folder: str | os.PathLike[str]) -> None:
        """Write tokenizer.json."""
        save_settings(folder, self.name, {"end_of_line": self.end_of_line, "unknown": self.unknown})

    @classmethod
    def from_settings(cls, folder: Path, *, end_of_line: str, unknown: str) -> "WhitespaceTokenizer":
        """The tokenizer that `save` wrote."""
        return cls(end_of_line, unknown)


_BYTE_NAMES = tuple(f"<0x{value:02X}>" for value in range(256))
_BYTE_VALUES = {name: value for value, name in enumerate(_BYTE_NAMES)}


class ByteTokenizer:
    """The UTF-8 bytes of a text after xxbos, with no rules: any text of any language, put back exactly."""

    name = "bytes"

    @property
    def fingerprint(self) -> str:
        """Constant."""
        return fingerprint(self.name, FORMAT_VERSION)

    def tokenize(self, text: Text) -> list[str]:
        """xxbos and a token per byte; several fields each after xxfld and their number."""
        if isinstance(text, str):
            return [BOS, *self._bytes(text)]
        if len(text) == 1:
            return [BOS, *self._bytes(text[0])]
        tokens = [BOS]
        for number, field in enumerate(text, start=1):
            tokens += [FLD, *self._bytes(str(number)), *self._bytes(field)]
        return tokens

    def _bytes(self, text: str) -> list[str]:
        return [_BYTE_NAMES[value] for value in text.encode("utf-8", "surrogatepass")]

    def tokenize_many(self, texts: Sequence[Text]) -> list[list[str]]:
        """The tokens of each text."""
        return [self.tokenize(text) for text in texts]

    def tokenize_part(self, part: str, before: str, is_last: bool) -> list[str]:
        """The bytes, after xxbos at the start of the text."""
        return self._bytes(part) if before else self.tokenize(part)

    def stable_prefix(self, text: str) -> int:
        """All of it."""
        return len(text)

    def detokenize(self, tokens: Sequence[str]) -> str:
        """The text of the bytes; bytes that are not UTF-8 become U+FFFD, special tokens are left out."""
        values = bytes(_BYTE_VALUES[token] for token in tokens if token in _BYTE_VALUES)
        return values.decode("utf-8", "replace")

    def closed_vocabulary(self) -> Vocabulary:
        """The special tokens and the 256 bytes."""
        return Vocabulary([*SPECIALS, *_BYTE_NAMES])

    def save(self, folder: str | os.PathLike[str]) -> None:
        """Write tokenizer.json."""
        save_settings(folder, self.name, {})

    @classmethod
    def from_settings(cls, folder: Path) -> "ByteTokenizer":
        """The tokenizer that `save` wrote."""
        return cls()
