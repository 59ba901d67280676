"""Linear baselines, fitted and evaluated on exactly the documents of a classifier."""

from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import TypeVar

import numpy as np

from ulmkit.hub import ClassifierParts, EnsembleParts
from ulmkit.pipeline.data import is_corpus_folder
from ulmkit.pipeline.data_options import DataOptions
from ulmkit.tasks import Report, find_task
from ulmkit.text import EncodedCorpus, Text
from ulmkit.text.read.documents import Data
from ulmkit.text.words import cut_words, has_spaces, should_join_tokens

Parts = TypeVar("Parts", ClassifierParts, EnsembleParts)


def texts_of(data: Data | EncodedCorpus, corpus: EncodedCorpus, options: DataOptions) -> list[Text]:
    """Read the text of every document of a corpus.

    Args:
        data: What the corpus was prepared from; its texts are returned as written. For a corpus, texts are put together
            from its tokens.
        corpus: The corpus.
        options: How `data` is read.
    """
    if isinstance(data, EncodedCorpus) or is_corpus_folder(data):
        detokenize, decode = corpus.tokenizer.detokenize, corpus.vocabulary.decode
        return [detokenize(decode(corpus.document(row))) for row in range(len(corpus))]
    return [document.text for document in options.source(data, corpus.task)]


def word_cutter(corpus: EncodedCorpus, texts: Sequence[Text]) -> Callable[[str], list[str]] | None:
    """Choose how baselines cut texts into words: None for their own way, which takes words between spaces."""
    if has_spaces(texts):
        return None
    documents = (corpus.document(row) for row in range(len(corpus)))
    return (
        cut_words if should_join_tokens(corpus.tokenizer, corpus.vocabulary, documents) else corpus.tokenizer.tokenize
    )


def linear_baselines(
    corpus: EncodedCorpus, texts: Sequence[Text], training: np.ndarray, held_out: np.ndarray
) -> dict[str, Report]:
    """Fit the baselines of a corpus's task, and evaluate each.

    Where words are not separated by spaces, the baselines take the corpus's tokens, or characters if it has none that
    serve as words.

    Args:
        corpus: Labelled documents.
        texts: The text of every document of the corpus.
        training: (n,) rows to fit on, all labelled.
        held_out: (n,) rows to evaluate on, all labelled.

    Returns:
        Reports by the baselines' names; none for a label per word, which has no baselines.
    """
    task = find_task(corpus.task)
    tokenize = word_cutter(corpus, texts)
    reports: dict[str, Report] = {}
    for baseline in task.baselines(len(corpus.label_names), tokenize):
        baseline.fit([texts[row] for row in training], corpus.labels(training))
        predictions = baseline.predict_proba([texts[row] for row in held_out])
        reports[baseline.name] = task.report(predictions, corpus, held_out)
    return reports


def record_baselines(
    parts: Parts, corpus: EncodedCorpus, texts: Sequence[Text], training: np.ndarray, held_out: np.ndarray
) -> Parts:
    """Record the validation metrics of the linear baselines in a classifier's facts; see `linear_baselines`."""
    reports = linear_baselines(corpus, texts, training, held_out)
    metrics = {name: report.validation_metrics() for name, report in reports.items()}
    return replace(parts, facts=parts.facts.with_baselines(metrics))
