"""How much accuracy does the language model add if labels are few?

Data and language model are those of a quickstart; the model was fine-tuned on the text of the training documents. On
the same held-out documents, from source files that no model has seen, the benchmark evaluates ulmkit's classifier from
the language model, the same classifier from random weights, and linear baselines. Each draw of labels has its own seed;
accuracies are means over the draws, and their standard deviations are printed. The settings are quickstart's for every
number of labels.

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
    evaluate_rows,
    linear_baselines,
    prepare,
    texts_of,
    training_rows,
    validation_rows,
)
from ulmkit.quickstart import NO_LANGUAGE_MODEL_ROW, QUICKSTART_CLASSIFY, SIZES, ULMKIT_ROW, WITHOUT_TRANSFER
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
    texts = texts_of(data, corpus, READ)
    held_out = validation_rows(corpus, HELD_OUT)
    rows = []
    for labels in options.labels:
        percentages: dict[str, list[float]] = defaultdict(list)
        for draw in range(options.draws):
            for name, accuracy in accuracies(language_model, corpus, texts, held_out, labels, draw, options.minutes):
                percentages[name].append(100 * accuracy)
        ours = statistics.fmean(percentages[ULMKIT_ROW])
        for name, values in percentages.items():
            mean = statistics.fmean(values)
            print(f"{labels:,} labels  {name:32s}  {mean:.1f} ± {deviation(values):.1f}", flush=True)
            if name != ULMKIT_ROW:
                rows.append(row(f"{labels:,} labels", "% accuracy", ours, mean, name))
    report("few_labels", rows, options.json)


def accuracies(
    language_model: LanguageModel,
    corpus: EncodedCorpus,
    texts: list[Text],
    held_out: np.ndarray,
    labels: int,
    draw: int,
    minutes: float,
) -> list[tuple[str, float]]:
    """Accuracies of all classifiers trained on the same draw of labels."""
    pairs = []
    for name, start, recipe in (
        (ULMKIT_ROW, language_model, QUICKSTART_CLASSIFY),
        (NO_LANGUAGE_MODEL_ROW, None, WITHOUT_TRANSFER),
    ):
        classifier = TextClassifier.train(
            corpus,
            start,
            method="finetune",
            minutes=minutes,
            recipe=recipe,
            sizes=SIZES,
            run=RunOptions(seed=draw, validations=1),
            labels=labels,
            valid_documents=50,
        )
        pairs.append((name, evaluate_rows(classifier.parts.model, corpus, held_out).accuracy))
    reports = linear_baselines(corpus, texts, training_rows(corpus, labels, draw), held_out)
    return pairs + [(name, report.accuracy) for name, report in reports.items()]


def deviation(values: list[float]) -> float:
    """Standard deviation over the draws; 0 for a single draw."""
    return statistics.stdev(values) if len(values) > 1 else 0.0


def read_options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument(
        "folder", nargs="?", default="ulmkit-quickstart", help="folder of a quickstart (default: ulmkit-quickstart)"
    )
    parser.add_argument(
        "--labels", type=int, nargs="+", default=[50, 100, 300], help="numbers of labels (default: 50 100 300)"
    )
    parser.add_argument("--draws", type=int, default=5, help="draws of labels for each number (default: 5)")
    parser.add_argument("--minutes", type=float, default=0.25, help="training time of each classifier (default: 0.25)")
    parser.add_argument("--quick", action="store_true", help="one draw of 100 labels, ten seconds a classifier")
    parser.add_argument("--json", metavar="FILE", help="write the results to this file")
    options = parser.parse_args()
    if options.quick:
        options.labels = [100]
        options.draws = 1
        options.minutes = 1 / 6
    return options


if __name__ == "__main__":
    main()
