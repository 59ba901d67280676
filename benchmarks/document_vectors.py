"""How do ulmkit's document vectors compare with gensim's Doc2Vec, in time and accuracy?

Both learn PV-DBOW from the words and word pairs of all training text of DATA, labelled or not, in one thread and in as
many passes: ulmkit with its defaults, gensim with vectors of the same length, 5 n-grams of noise and the same
subsampling. Then logistic regressions on the vectors of a few labelled documents (three draws) classify the validation
documents. ulmkit's vector of a document is the mean of its n-grams' vectors; gensim's is inferred, in as many passes
again.

    python benchmarks/document_vectors.py DATA [--split-column NAME] [--labels N ...] [--quick] [--json FILE]
"""

import argparse
import statistics
import time
from collections.abc import Callable
from typing import Any

import numpy as np
import torch
from common import report, row
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import GridSearchCV
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from ulmkit import DataOptions, LanguageModel
from ulmkit.members.document_vectors import VECTOR_SIZE, keep_shares, learn_vectors, passes_for
from ulmkit.members.linear import weigh
from ulmkit.pipeline import LadderText, prepare, training_rows, validation_rows

DRAWS = 3
PEER = "gensim's Doc2Vec"
MISSING = "gensim (not installed)"
STRENGTHS = (1e-4, 1e-3, 1e-2, 1e-1)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("data", metavar="DATA", help="documents with one label each; text without labels helps")
    parser.add_argument("--split-column", metavar="NAME", help="column that names each document's split")
    parser.add_argument("--labels", type=int, nargs="+", default=[100, 1_000], metavar="N", help="labelled documents")
    parser.add_argument("--quick", action="store_true", help="1,000 documents of text, 500 to classify, 50 labels")
    parser.add_argument("--json", metavar="FILE", help="write the results to this file")
    options = parser.parse_args()
    torch.set_num_threads(1)
    model = LanguageModel.load("en-small").members[0]
    corpus = prepare(
        options.data,
        DataOptions(split_column=options.split_column),
        task="single",
        tokenizer=model.tokenizer,
        vocabulary=model.vocabulary,
    )
    labels = [50] if options.quick else options.labels
    draws = {count: [training_rows(corpus, count, seed) for seed in range(DRAWS)] for count in labels}
    known = np.unique(np.concatenate([rows for each in draws.values() for rows in each]))
    judged = validation_rows(corpus, 500 if options.quick else None)
    text = LadderText(corpus, judged)
    if options.quick:
        text.rows = np.union1d(text.rows[:1_000], known)
    counts = text.vectors.counts(text.rows)
    asked = text.vectors.counts(np.concatenate([known, judged]))
    print(f"{len(text.rows):,} documents, {int(counts.sum()):,} occurrences of {counts.shape[1]:,} words and pairs\n")

    ways: dict[str, Callable[[Any, Any], tuple[float, np.ndarray]]] = {"ulmkit": ulmkit_vectors}
    try:
        import gensim  # noqa: F401
    except ImportError:
        print(f"{PEER}: pip install gensim")
    else:
        ways[PEER] = gensim_vectors
    seconds: dict[str, float] = {}
    accuracies: dict[str, dict[int, float]] = {}
    for name, learn in ways.items():
        seconds[name], vectors = learn(counts, asked)

        def judge(rows: np.ndarray, vectors: np.ndarray = vectors) -> float:
            vectors_of_rows = vectors[np.searchsorted(known, rows)]
            return accuracy(vectors_of_rows, corpus.labels(rows), vectors[len(known) :], corpus.labels(judged))

        accuracies[name] = {count: statistics.fmean(map(judge, each)) for count, each in draws.items()}
    peer = PEER if PEER in ways else MISSING
    rows = [row("learning", "s", seconds["ulmkit"], seconds.get(PEER), peer, lower_is_better=True)]
    for count in labels:
        theirs = accuracies.get(PEER, {}).get(count)
        rows.append(row(f"{count:,} labels", "% accuracy", accuracies["ulmkit"][count], theirs, peer))
    report("document_vectors", rows, options.json)


def ulmkit_vectors(counts: Any, asked: Any) -> tuple[float, np.ndarray]:
    """Learn from the n-gram counts of documents. Returns seconds, and the vectors of the documents `asked`."""
    start = time.perf_counter()
    keep = keep_shares(counts)
    vectors = learn_vectors(counts, keep)
    return time.perf_counter() - start, np.asarray(weigh(asked, "mean", keep) @ vectors)


def gensim_vectors(counts: Any, asked: Any) -> tuple[float, np.ndarray]:
    """Learn with gensim, whose documents are lists of n-grams in any order; see `ulmkit_vectors`."""
    from gensim.models.doc2vec import Doc2Vec, TaggedDocument

    names = np.array([str(number) for number in range(counts.shape[1])])

    def documents(table: Any) -> list[list[str]]:
        parts = zip(table.indptr[:-1], table.indptr[1:], strict=True)
        return [names[np.repeat(table.indices[a:b], table.data[a:b].astype(int))].tolist() for a, b in parts]

    tagged = [TaggedDocument(words, [number]) for number, words in enumerate(documents(counts))]
    passes = passes_for(counts, keep_shares(counts))
    model = Doc2Vec(
        dm=0, vector_size=VECTOR_SIZE, negative=5, sample=1e-4, min_count=1, epochs=passes, workers=1, seed=0
    )
    model.build_vocab(tagged)
    start = time.perf_counter()
    model.train(tagged, total_examples=model.corpus_count, epochs=passes)
    seconds = time.perf_counter() - start
    return seconds, np.stack([model.infer_vector(words, epochs=passes) for words in documents(asked)])


def accuracy(known: np.ndarray, labels: np.ndarray, judged: np.ndarray, answers: np.ndarray) -> float:
    """Accuracy in percent of a logistic regression, whose strength is chosen by cross-validation."""
    model = make_pipeline(StandardScaler(), LogisticRegression(max_iter=1000))
    model = GridSearchCV(model, {"logisticregression__C": STRENGTHS})
    return 100.0 * float((model.fit(known, labels).predict(judged) == answers).mean())


if __name__ == "__main__":
    main()
