"""Evaluation of language models: perplexity, continuous cache, dynamic evaluation, document scores."""
