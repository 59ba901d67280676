"""Text: documents, tokenizers, vocabulary, and encoded corpora. Batches, which need torch, are ulmkit.text.batches."""

from typing import TYPE_CHECKING

from ulmkit.lazy import lazy_exports

if TYPE_CHECKING:
    from ulmkit.text.corpus.builder import build_corpus
    from ulmkit.text.corpus.cache import cached_corpus
    from ulmkit.text.corpus.encoded_corpus import EncodedCorpus
    from ulmkit.text.corpus.splits import SplitPolicy
    from ulmkit.text.corpus.token_stream import TokenStream
    from ulmkit.text.read.columns import ReadOptions
    from ulmkit.text.read.document import Document
    from ulmkit.text.read.documents import DocumentSource, read_documents
    from ulmkit.text.read.labels import LABEL_SEPARATOR, NO_LABELS, LabelKind
    from ulmkit.text.tokens.streaming import StreamingTokens
    from ulmkit.text.tokens.tokenizers import (
        DEFAULT_TOKENIZER,
        TOKENIZERS,
        ByteTokenizer,
        SentencePieceTokenizer,
        SpacyTokenizer,
        Text,
        Tokenizer,
        TokenizerKind,
        TokenizerSettings,
        WhitespaceTokenizer,
        load_tokenizer,
        train_sentencepiece,
    )
    from ulmkit.text.tokens.vocabulary import Vocabulary
else:
    __getattr__, __all__ = lazy_exports(__name__, __file__)
