"""The linear baselines on the very documents that a classifier learnt from and is judged by."""

from collections.abc import Sequence

import numpy as np

from ulmkit.evaluation import Baseline
from ulmkit.pipeline.data import DataOptions, is_corpus_folder
from ulmkit.tasks import Report, find_task
from ulmkit.text import EncodedCorpus, Text
from ulmkit.text.read.documents import Data

_SAMPLE = 1000  # documents
_LEAST_SPACES = 0.05  # of all characters: English has 0.18, Finnish 0.12, Chinese and Japanese below 0.02


def texts_of(data: Data | EncodedCorpus, corpus: EncodedCorpus, options: DataOptions) -> list[Text]:
    """The text of every document of a corpus: as written where `data` has it, else put together from its tokens."""
    if isinstance(data, EncodedCorpus) or is_corpus_folder(data):
        detokenize, decode = corpus.tokenizer.detokenize, corpus.vocabulary.decode
        return [detokenize(decode(corpus.document(row))) for row in range(len(corpus))]
    return [document.text for document in options.source(data, corpus.task)]


def linear_baselines(
    corpus: EncodedCorpus, texts: Sequence[Text], training: np.ndarray, judged: np.ndarray
) -> dict[str, Report]:
    """The report of each baseline, fitted on the documents `training` and judged by the documents `judged`.

    Where words are not set apart by spaces, the baselines take the tokens that the corpus has.

    Args: texts: of every document of the corpus. training, judged: (n,) rows with labels.
    Returns: reports by name, none for token labels, which the baselines do not do.
    """
    task = find_task(corpus.task)
    tokenize = None if _has_spaces(texts) else corpus.tokenizer.tokenize
    found: dict[str, Report] = {}
    for baseline in task.baselines(len(corpus.label_names), tokenize):
        found[baseline.name] = task.report(_answers(baseline, corpus, texts, training, judged), corpus, judged)
    return found


def _has_spaces(texts: Sequence[Text]) -> bool:
    """Whether the texts are of a language that sets words apart by spaces."""
    sample = "".join(text if isinstance(text, str) else " ".join(text) for text in texts[:_SAMPLE])
    return sum(map(str.isspace, sample)) >= _LEAST_SPACES * len(sample)


def _answers(
    baseline: Baseline, corpus: EncodedCorpus, texts: Sequence[Text], training: np.ndarray, judged: np.ndarray
) -> np.ndarray:
    baseline.fit([texts[row] for row in training], corpus.labels(training))
    return baseline.predict_proba([texts[row] for row in judged])
