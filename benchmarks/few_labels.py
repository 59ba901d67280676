"""What does the language model buy where labels are few?

On what a quickstart left (its language model, fine-tuned on the training documents' text, and its documents): accuracy
on the same held-out documents, of source files that no model has seen, of ulmkit's classifier from the language model,
of the same classifier from random weights, and of the linear baselines. Each draw of labels is another seed; figures
are means over the draws, and the spread is printed. The settings are quickstart's own for every number of labels.

    ulmkit quickstart
    python benchmarks/few_labels.py [FOLDER] [--labels N ...] [--draws N] [--minutes M] [--quick] [--json FILE]
"""

import argparse
import statistics
from collections import defaultdict
from pathlib import Path

import numpy as np
from common import report, row

from ulmkit import LanguageModel, TextClassifier
from ulmkit.pipeline import (
    DataOptions,
    RunOptions,
    linear_baselines,
    make_report,
    predict_rows,
    prepare,
    texts_of,
    training_rows,
    validation_rows,
)
from ulmkit.quickstart import CLASSIFY, FROM_SCRATCH, OURS, SIZES, WITHOUT_TRANSFER
from ulmkit.text import EncodedCorpus, Text

READ = DataOptions(split_column="split", split_by="given")
HELD_OUT = 2000


def main() -> None:
    options = read_options()
    folder = Path(options.folder)
    language_model = LanguageModel.load(folder / "language-model")
    parts = language_model.parts
    data = str(folder / "target.csv")
    corpus = prepare(data, READ, task="single", tokenizer=parts.tokenizer, vocabulary=parts.vocabulary)
    texts, judged = texts_of(data, corpus, READ), validation_rows(corpus, HELD_OUT)
    rows = []
    for labels in options.labels:
        found: dict[str, list[float]] = defaultdict(list)
        for draw in range(options.draws):
            for name, accuracy in accuracies(language_model, corpus, texts, judged, labels, draw, options.minutes):
                found[name].append(100 * accuracy)
        ours = statistics.fmean(found[OURS])
        for name, values in found.items():
            mean = statistics.fmean(values)
            print(f"{labels:,} labels  {name:32s}  {mean:.1f} ± {deviation(values):.1f}", flush=True)
            if name != OURS:
                rows.append(row(f"{labels:,} labels", "% accuracy", ours, mean, name))
    report("few_labels", rows, options.json)


def accuracies(
    language_model: LanguageModel,
    corpus: EncodedCorpus,
    texts: list[Text],
    judged: np.ndarray,
    labels: int,
    draw: int,
    minutes: float,
) -> list[tuple[str, float]]:
    """The accuracy of each classifier that learnt from the same draw of labels."""
    found = []
    for name, start, recipe in ((OURS, language_model, CLASSIFY), (FROM_SCRATCH, None, WITHOUT_TRANSFER)):
        classifier = TextClassifier.train(
            corpus,
            start,
            minutes=minutes,
            recipe=recipe,
            sizes=SIZES,
            run=RunOptions(seed=draw, validations=1),
            labels=labels,
            valid_documents=50,
        )
        found.append((name, make_report(predict_rows(classifier.parts.model, corpus, judged), corpus, judged).accuracy))
    reports = linear_baselines(corpus, texts, training_rows(corpus, labels, draw), judged)
    return found + [(name, report.accuracy) for name, report in reports.items()]


def deviation(values: list[float]) -> float:
    """The standard deviation over the draws."""
    return statistics.stdev(values) if len(values) > 1 else 0.0


def read_options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", nargs="?", default="ulmkit-quickstart", help="what `ulmkit quickstart` wrote")
    parser.add_argument("--labels", type=int, nargs="+", default=[50, 100, 300], help="numbers of labels")
    parser.add_argument("--draws", type=int, default=5, help="draws of labels for each number")
    parser.add_argument("--minutes", type=float, default=0.25, help="of training, for each classifier")
    parser.add_argument("--quick", action="store_true", help="one draw of 100 labels, ten seconds a classifier")
    parser.add_argument("--json", metavar="FILE", help="write the figures to this file")
    options = parser.parse_args()
    if options.quick:
        options.labels, options.draws, options.minutes = [100], 1, 1 / 6
    return options


if __name__ == "__main__":
    main()
