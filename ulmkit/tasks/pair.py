"""One label per pair of texts."""

from collections.abc import Hashable, Sequence
from typing import TYPE_CHECKING, Any

from ulmkit.errors import DataError
from ulmkit.tasks.single_label import SingleLabel
from ulmkit.tasks.task import TokenizedTexts, as_text
from ulmkit.text import Document, Text, Tokenizer
from ulmkit.text.tokens.rules import FLD

if TYPE_CHECKING:
    from ulmkit.model.heads import PairConfig


class PairLabel(SingleLabel):
    """One label per pair of texts, such as entailment or paraphrase."""

    name = "pair"
    has_ladder = False
    summary = "one label per pair of texts"
    example = '("a text", "another")'
    text_fields = 2

    @property
    def head_type(self) -> "type[PairConfig]":
        """Config of the head."""
        from ulmkit.model.heads import PairConfig

        return PairConfig

    def check(self, document: Document, place: str) -> Hashable | None:
        """Check that there are two texts, and that the label is a class name."""
        self.as_text(document.text, place)
        return super().check(document, place)

    def as_text(self, value: Any, place: str) -> Text:
        """Check that a value is two texts."""
        text = as_text(value, place)
        if isinstance(text, str) or len(text) != self.text_fields:
            raise DataError(f'{place}: expected two texts (task="{self.name}"), got {value!r:.80}')
        return text

    def tokenize(self, tokenizer: Tokenizer, texts: Sequence[Text]) -> TokenizedTexts:
        """Tokenize pairs, and find where the second text of each begins: at its second field mark."""
        tokens = tokenizer.tokenize_many(texts)
        return TokenizedTexts(tokens, boundaries=[each.index(FLD, each.index(FLD) + 1) for each in tokens])
