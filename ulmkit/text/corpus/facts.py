"""Corpus facts: what corpus.json records about an encoded corpus, as frozen dataclasses."""

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from typing import Any

from ulmkit.config import check_choice, check_whole
from ulmkit.errors import ConfigError, FolderError
from ulmkit.files import FileEntry
from ulmkit.json_records import record_from_json
from ulmkit.text.corpus.splits import TRAINING_SPLITS, SplitPolicy
from ulmkit.text.read.layout import Reading
from ulmkit.text.tokens.tokenizers import TOKENIZERS

FORMAT_VERSION = 3
_TOKEN_IDS = "tokens"
_READABLE_VERSIONS = (2, FORMAT_VERSION)  # version 2 has no record of what was read
_DTYPES = ("uint8", "uint16", "uint32", "int8", "int16", "int32", "int64")


@dataclass(frozen=True, kw_only=True)
class CorpusSplit:
    """Counts of one split of a corpus.

    Attributes:
        documents: Number of documents.
        labelled: Number of documents with a label.
        words: Runs of characters between white space.
        characters: Characters of the raw text.
        tokens: Tokens, special ones included.
        unknown_tokens: Tokens that are not in the vocabulary.
        fingerprint: Sum of the documents' text fingerprints, see `joined_fingerprint`.
        labels: Number of documents, or of words where these have labels, by class name; empty without classes.
        empty: Number of documents without text; not recorded, and 0, in version 2.
    """

    documents: int
    labelled: int
    words: int
    characters: int
    tokens: int
    unknown_tokens: int
    fingerprint: str
    labels: Mapping[str, int] = field(default_factory=dict)
    empty: int = 0

    @property
    def unknown_rate(self) -> float:
        """Share of the tokens that are not in the vocabulary."""
        return self.unknown_tokens / self.tokens if self.tokens else 0.0


@dataclass(frozen=True, kw_only=True)
class SharedDocuments:
    """Number of documents of a held-out split that also occur in a training split.

    Attributes:
        documents: Documents of the held-out split that were compared.
        exact: Those with the same tokens as a training document.
        near: Those with a near-duplicate in training, exact ones included.
    """

    documents: int
    exact: int
    near: int


@dataclass(frozen=True, kw_only=True)
class TokenizerFacts:
    """Name and fingerprint of a corpus's tokenizer."""

    name: str
    fingerprint: str


@dataclass(frozen=True, kw_only=True)
class VocabularyFacts:
    """Size and fingerprint of a corpus's vocabulary."""

    tokens: int
    fingerprint: str


@dataclass(frozen=True, kw_only=True)
class CorpusFacts:
    """Provenance, counts and files of an encoded corpus; the content of corpus.json.

    Attributes:
        fingerprint: Fingerprint of all files of the corpus.
        request: Fingerprint of what the corpus was asked to be made from, by which a cache finds it; see `request_key`.
        sources: Names of the data that the documents come from; empty if not known.
        task: Kind of label.
        label_names: Class names in the order of their ids.
        split_names: Splits in the order of their codes.
        split_policy: How validation documents were chosen.
        splits: Counts by split.
        near_duplicates: By held-out split and training split, how many documents they share; None if not counted.
        tokenizer: Name and fingerprint of the tokenizer.
        vocabulary: Number of tokens and fingerprint of the vocabulary.
        versions: Versions of ulmkit and of the clean-up rules.
        table: Names of the table's columns.
        dtypes: Type of the stored ids, by file stem.
        shard_tokens: Tokens in each shard but the last.
        files: Size and SHA-256 by file name.
        reading: Which files were read and how they were understood; None if not recorded.
    """

    fingerprint: str
    request: str | None
    sources: tuple[str, ...]
    task: str
    label_names: tuple[str, ...]
    split_names: tuple[str, ...]
    split_policy: SplitPolicy
    splits: Mapping[str, CorpusSplit]
    near_duplicates: Mapping[str, Mapping[str, SharedDocuments]] | None
    tokenizer: TokenizerFacts
    vocabulary: VocabularyFacts
    versions: Mapping[str, object]
    table: tuple[str, ...]
    dtypes: Mapping[str, str]
    shard_tokens: int
    files: Mapping[str, FileEntry]
    reading: Reading | None = None

    def __post_init__(self) -> None:
        check_choice("tokenizer", self.tokenizer.name, TOKENIZERS)
        check_whole("shard_tokens", self.shard_tokens)
        for dtype in self.dtypes.values():
            check_choice("dtypes", dtype, _DTYPES)
        if _TOKEN_IDS not in self.dtypes:
            raise ConfigError(f"dtypes: expected the type of {_TOKEN_IDS!r}, got none")
        if self.splits.keys() != set(self.split_names):
            raise ConfigError(f"splits: expected those in split_names, got {', '.join(self.splits)}")

    @property
    def training_splits(self) -> dict[str, CorpusSplit]:
        """Counts of the splits whose text is for training."""
        return {name: split for name, split in self.splits.items() if name in TRAINING_SPLITS}

    def to_json(self) -> dict[str, Any]:
        """Convert to the JSON object that corpus.json holds."""
        return {"format_version": FORMAT_VERSION, **asdict(self)}

    @classmethod
    def from_json(cls, content: Any, where: str) -> "CorpusFacts":
        """Read the JSON object of a corpus.json.

        Args:
            content: The parsed file.
            where: Its path, for messages.

        Raises:
            FolderError: If it is of another format version, a key is missing or unknown, or a value does not fit.
        """
        version = content.get("format_version") if isinstance(content, dict) else type(content).__name__
        if version not in _READABLE_VERSIONS:
            raise FolderError(
                f"{where}: expected a corpus of format version {FORMAT_VERSION}, got {version!r}; prepare it again"
            )
        values = {key: value for key, value in content.items() if key != "format_version"}
        try:
            return record_from_json(cls, values, f"{where}: facts")
        except ConfigError as error:
            raise FolderError(f"{error}; it was altered: prepare the corpus again") from error
