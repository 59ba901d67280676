"""Kinds of tokenizer: making one from settings, and loading any of them from a folder."""

import importlib.metadata
import os
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path

from ulmkit.config import check_choice
from ulmkit.errors import ConfigError, DataError, FolderError, did_you_mean
from ulmkit.files import fingerprint, read_json
from ulmkit.text.tokens.plain_tokenizers import ByteTokenizer, WhitespaceTokenizer
from ulmkit.text.tokens.rules import RULES_VERSION
from ulmkit.text.tokens.sentencepiece_tokenizer import MODEL_FILE, SentencePieceTokenizer
from ulmkit.text.tokens.sentencepiece_training import train_sentencepiece
from ulmkit.text.tokens.spacy_tokenizer import SpacyTokenizer
from ulmkit.text.tokens.tokenizer import FORMAT_VERSION, TOKENIZER_FILE, Text, Tokenizer
from ulmkit.text.tokens.tokenizer_options import TokenizerOptions


@dataclass(frozen=True, kw_only=True)
class TokenizerSettings(TokenizerOptions):
    """Settings that tokenizers are made from: a kind, and the options of all kinds.

    Attributes:
        kind: Name of a kind, a key of `TOKENIZERS`.

    Raises:
        ConfigError: If there is no such kind.
    """

    kind: str

    def __post_init__(self) -> None:
        check_choice("tokenizer", self.kind, TOKENIZERS)

    @property
    def is_trained(self) -> bool:
        """True if `make` reads the training text."""
        return TOKENIZERS[self.kind].is_trained

    @property
    def has_own_vocabulary(self) -> bool:
        """True if its tokenizers bring their vocabulary, so that none is built from counts."""
        return TOKENIZERS[self.kind].has_own_vocabulary

    @property
    def fingerprint(self) -> str:
        """Short name that changes with all that `make` depends on but the texts: settings, rules, package versions."""
        kind = TOKENIZERS[self.kind]
        values = {name: getattr(self, name) for name in kind.settings}
        return fingerprint("settings", kind.name, FORMAT_VERSION, RULES_VERSION, values, kind.package_versions())

    def make(self, texts: Iterable[Text] = ()) -> Tokenizer:
        """Make the tokenizer, from the training texts if it is trained."""
        return TOKENIZERS[self.kind].make(self, texts)


@dataclass(frozen=True, kw_only=True)
class TokenizerKind:
    """One kind of tokenizer.

    Attributes:
        name: The `name` of its tokenizers, which also names the kind in options and in tokenizer.json.
        make: Makes a tokenizer from settings and the training texts.
        load: Makes the tokenizer that was saved, from its folder and, by keyword, the settings in tokenizer.json.
        settings: Fields of `TokenizerSettings` that `make` reads.
        is_trained: Whether `make` reads the texts.
        has_own_vocabulary: Whether its tokenizers bring their vocabulary, so that none is built from counts.
        packages: Distributions whose versions its tokens depend on.
        files: Files that `load` and `load_tokenizer` open.
    """

    name: str
    make: Callable[[TokenizerSettings, Iterable[Text]], Tokenizer]
    load: Callable[..., Tokenizer]
    settings: tuple[str, ...] = ()
    is_trained: bool = False
    has_own_vocabulary: bool = False
    packages: tuple[str, ...] = ()
    files: tuple[str, ...] = (TOKENIZER_FILE,)

    def package_versions(self) -> dict[str, str]:
        """Return the versions of its packages; those not installed are left out."""
        versions = {}
        for package in self.packages:
            try:
                versions[package] = importlib.metadata.version(package)
            except importlib.metadata.PackageNotFoundError:
                continue
        return versions


TOKENIZERS = {
    kind.name: kind
    for kind in (
        TokenizerKind(
            name=SpacyTokenizer.name,
            make=lambda settings, texts: SpacyTokenizer(settings.language),
            load=SpacyTokenizer.from_settings,
            settings=("language",),
            packages=("spacy",),
        ),
        TokenizerKind(
            name=SentencePieceTokenizer.name,
            make=lambda settings, texts: train_sentencepiece(
                texts, settings.pieces, settings.pieces_kind, byte_fallback=settings.byte_fallback
            ),
            load=SentencePieceTokenizer.from_settings,
            settings=("pieces", "pieces_kind", "byte_fallback"),
            is_trained=True,
            has_own_vocabulary=True,
            packages=("sentencepiece",),
            files=(TOKENIZER_FILE, MODEL_FILE),
        ),
        TokenizerKind(
            name=WhitespaceTokenizer.name,
            make=lambda settings, texts: WhitespaceTokenizer(),
            load=WhitespaceTokenizer.from_settings,
        ),
        TokenizerKind(
            name=ByteTokenizer.name,
            make=lambda settings, texts: ByteTokenizer(),
            load=ByteTokenizer.from_settings,
            has_own_vocabulary=True,
        ),
    )
}
"""Kinds of tokenizer by name: the only place that looks at names."""

DEFAULT_TOKENIZER = SpacyTokenizer.name


def load_tokenizer(folder: str | os.PathLike[str], name: str | None = None) -> Tokenizer:
    """Read the tokenizer that a `save` wrote into `folder`; no network.

    Args:
        folder: The tokenizer's folder.
        name: Name of the kind that it must be of; None for any.

    Raises:
        FolderError: If a file is missing or altered, or names another or an unknown kind of tokenizer, or settings that
            are none of its own.
    """
    path = Path(folder) / TOKENIZER_FILE
    content = read_json(path)
    version = content.get("format_version") if isinstance(content, dict) else type(content).__name__
    if version != FORMAT_VERSION:
        raise FolderError(f"{path}: expected a tokenizer of format version {FORMAT_VERSION}, got {version!r:.60}")
    kind, settings = content.get("name"), content.get("settings")
    if kind not in tuple(TOKENIZERS) or not isinstance(settings, dict):
        advice = did_you_mean(str(kind), TOKENIZERS)
        raise FolderError(
            f"{path}: expected a tokenizer and its settings, got {kind!r:.60} and {settings!r:.60}; {advice}"
        )
    if name not in (None, kind):
        raise FolderError(f"{path}: expected {name!r}, got {kind!r}; it was altered")
    try:
        if not all(isinstance(value, str) for value in settings.values()):
            raise TypeError("expected text as values")
        return TOKENIZERS[kind].load(Path(folder), **settings)
    except (TypeError, ConfigError, DataError) as error:
        raise FolderError(
            f"{path}: expected the settings of a {kind} tokenizer, got {settings!r:.80} ({error})"
        ) from error
