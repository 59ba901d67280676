"""Text: documents, tokenizers, vocabulary, and encoded corpora. Batches, which need torch, are ulmkit.text.batches."""

from ulmkit.text.columns import ReadOptions
from ulmkit.text.corpus import EncodedCorpus
from ulmkit.text.corpus_builder import build_corpus, cached_corpus
from ulmkit.text.document import TASKS, Document, normalise_split
from ulmkit.text.documents import DocumentSource, read_documents
from ulmkit.text.labels import LABEL_SEPARATOR
from ulmkit.text.near_duplicates import NearDuplicates, find_near_duplicates
from ulmkit.text.rules import RULES_VERSION, SPECIALS
from ulmkit.text.splits import SplitPolicy, split_documents
from ulmkit.text.streaming import StreamingTokens
from ulmkit.text.token_stream import TokenStream
from ulmkit.text.tokenizers import (
    ByteTokenizer,
    SentencePieceTokenizer,
    SpacyTokenizer,
    Text,
    Tokenizer,
    WhitespaceTokenizer,
    load_tokenizer,
    train_sentencepiece,
)
from ulmkit.text.vocabulary import Vocabulary

__all__ = [
    "LABEL_SEPARATOR",
    "RULES_VERSION",
    "SPECIALS",
    "TASKS",
    "ByteTokenizer",
    "Document",
    "DocumentSource",
    "EncodedCorpus",
    "NearDuplicates",
    "ReadOptions",
    "SentencePieceTokenizer",
    "SpacyTokenizer",
    "SplitPolicy",
    "StreamingTokens",
    "Text",
    "TokenStream",
    "Tokenizer",
    "Vocabulary",
    "WhitespaceTokenizer",
    "build_corpus",
    "cached_corpus",
    "find_near_duplicates",
    "load_tokenizer",
    "normalise_split",
    "read_documents",
    "split_documents",
    "train_sentencepiece",
]
