"""Tokenizers, clean-up rules and vocabularies: from text to token ids and back."""
