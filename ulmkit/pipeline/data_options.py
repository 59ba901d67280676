"""Options that say how DATA is read, split and tokenized. Nothing here needs numpy or torch until it is used."""

from collections.abc import Sequence
from dataclasses import dataclass, fields, replace
from typing import TYPE_CHECKING

from ulmkit.config import check_choice, check_whole
from ulmkit.errors import ConfigError
from ulmkit.text.read.table_options import TableOptions
from ulmkit.text.tokens.tokenizer_options import TokenizerOptions

if TYPE_CHECKING:
    from ulmkit.text import DocumentSource, SplitPolicy, TokenizerSettings
    from ulmkit.text.read.documents import Data

VALID_FRACTION = 0.1
"""Fraction of the documents held out for validation if none is given and the data says no split."""

SPLIT_COLUMNS = {"given": "split_column", "group": "group_column", "time": "time_column"}
"""The option that names the column which each kind of split goes by."""


@dataclass(frozen=True, kw_only=True)
class DataOptions(TableOptions, TokenizerOptions):
    """Options for reading, splitting and tokenizing DATA, with those of `TableOptions` and `TokenizerOptions`.

    Attributes:
        split_by: How validation documents are chosen: auto, given, random, time or group. "auto" takes the data's own
            validation part if it has one, else a random one; see `SplitPolicy`.
        valid_fraction: Fraction held out for validation if DATA has no split (default: 0.1).
        tokenizer: Tokenizer: spacy, sentencepiece, whitespace or bytes (default: spacy; for linear models alone, that
            of `en-small`). "sentencepiece" is trained on the training text; "whitespace" is for text that is already
            tokenized.
        max_vocab: Maximum vocabulary size (default: 60000 for spacy, no limit for whitespace). Special tokens count.
        min_freq: Minimum occurrences of a word (default: 3 for spacy; 1 for whitespace and for linear models alone).
            For linear models alone, this or `max_vocab` selects spacy.
        seed: Seed of the random split.
        label_task: Label type of DATA (single, multi, number, tokens, pair or none), used only to draw the same random
            split as a classifier of this task. "none" ignores the labels.
        drop_shared: Remove training documents that occur, exactly or nearly, in a held-out split.

    Raises:
        ConfigError: If a choice is unknown, a label column is named twice, max_vocab or min_freq is below 1, or an
            option is set that the chosen tokenizer does not read.
    """

    split_by: str = "auto"
    valid_fraction: float | None = None
    tokenizer: str | None = None
    max_vocab: int | None = None
    min_freq: int | None = None
    seed: int = 0
    label_task: str = "single"
    drop_shared: bool = False

    def __post_init__(self) -> None:
        super().__post_init__()
        from ulmkit.tasks import find_label_kind
        from ulmkit.text.corpus.splits import SPLIT_KINDS

        check_choice("split_by", self.split_by, ("auto", *SPLIT_KINDS))
        for kind in ("group", "time"):
            if self.split_by == "auto" and getattr(self, f"{kind}_column") is not None:
                raise ConfigError(f"split_by: expected a choice beside {kind}_column; say {kind!r}, or leave it out")
        self.split_policy()
        self.tokenizer_settings()
        find_label_kind(self.label_task, "label_task")
        if not isinstance(self.label_column, str) and len(set(self.label_column or ())) < len(self.label_column or ()):
            raise ConfigError(f"label_column: expected each column once, got {', '.join(self.label_column or ())}")
        for name, limit in (("max_vocab", self.max_vocab), ("min_freq", self.min_freq)):
            if limit is not None:
                check_whole(name, limit)
        self._check_tokenizer_options()

    def keeping(self, columns: Sequence[str]) -> "DataOptions":
        """Return the options with further columns to keep."""
        return replace(self, columns=tuple(dict.fromkeys([*self.columns, *columns])))

    def split_policy(self) -> "SplitPolicy":
        """Return how validation documents are chosen."""
        from ulmkit.text import SplitPolicy

        column = self.split_column if self.split_by == "auto" else None
        if self.split_by in SPLIT_COLUMNS:
            column = getattr(self, SPLIT_COLUMNS[self.split_by])
        fraction = VALID_FRACTION if self.valid_fraction is None else self.valid_fraction
        return SplitPolicy(kind=self.split_by, valid_fraction=fraction, seed=self.seed, column=column)

    def tokenizer_settings(self) -> "TokenizerSettings":
        """Return what a tokenizer is made from if no model brings one."""
        from ulmkit.text import DEFAULT_TOKENIZER, TokenizerSettings

        options = {field.name: getattr(self, field.name) for field in fields(TokenizerOptions)}
        return TokenizerSettings(kind=self.tokenizer or DEFAULT_TOKENIZER, **options)

    def source(self, data: "Data", task: str) -> "DocumentSource":
        """Open the documents of `data`; for task "none" with the labels of `label_task`."""
        from ulmkit.tasks import find_label_kind
        from ulmkit.text import NO_LABELS, DocumentSource

        return DocumentSource(
            data,
            label_kind=find_label_kind(self.label_task if task == NO_LABELS.name else task),
            **{field.name: getattr(self, field.name) for field in fields(TableOptions)},
        )

    def _check_tokenizer_options(self) -> None:
        """Raise ConfigError if an option is set that the chosen tokenizer does not read."""
        from ulmkit.text import DEFAULT_TOKENIZER
        from ulmkit.text.tokens.tokenizers import TOKENIZERS

        kind = TOKENIZERS[self.tokenizer or DEFAULT_TOKENIZER]
        settings = {name for each in TOKENIZERS.values() for name in each.settings}
        readers = {
            name: [each.name for each in TOKENIZERS.values() if name in each.settings] for name in sorted(settings)
        }
        counting = [each.name for each in TOKENIZERS.values() if not each.has_own_vocabulary]
        readers |= {"max_vocab": counting, "min_freq": counting}
        for name, kinds in readers.items():
            if kind.name not in kinds and getattr(self, name) != getattr(type(self), name):
                raise ConfigError(
                    f"{name}: has no effect on the {kind.name} tokenizer; drop it, or take tokenizer={kinds[0]!r}"
                )
