"""Defaults of text generation, shared by `LanguageModel.generate` and `ulmkit generate`."""

from dataclasses import dataclass


@dataclass(frozen=True, kw_only=True)
class GenerationOptions:
    """Settings for continuing a prompt with a language model.

    Attributes:
        max_tokens: Maximum number of tokens to add.
        samples: Number of texts to generate.
        temperature: Below 1 favours probable tokens, above 1 improbable ones; 0 takes the most probable.
        top_k: Sample from this many of the most probable tokens.
        top_p: Sample from the fewest tokens whose probabilities reach this sum.
        beam: Width of a beam search, which replaces sampling.
        allow_unk: Allow the unknown token.
    """

    max_tokens: int = 50
    samples: int = 1
    temperature: float = 0.8
    top_k: int | None = None
    top_p: float = 1.0
    beam: int | None = None
    allow_unk: bool = False
