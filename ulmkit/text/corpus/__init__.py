"""Encoded corpora: documents split, tokenized and memory-mapped on disk."""
