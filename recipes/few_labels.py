"""Accuracy by the number of labels: the ladder's rungs and its choice, with and without a language model.

    python recipes/few_labels.py --data PLACE [--language-model LM] [--out FOLDER] [--labels N ...] [--draws N]
        [--split-column NAME] [--method NAME] [--minutes N] [--valid-documents N]
        [--only-labelled | --transductive] [--test] [--plot FILE] [--threads N] [--device NAME] [--precision NAME]
        [--json FILE]

PLACE is any data with one label per text, a folder, a file or a name on the hub; text without labels helps. LM is a
language model that was fine-tuned on its text, or a pair. Each draw takes other labels, with the classes in proportion,
and another seed. Every rung of the ladder is fitted to the whole draw and scores the same documents: the validation
part, or with --test the test part, once, at the end. Which rung is kept is decided without them, by cross-validation of
the draw (see the guide, "Methods"); only if all labels are used do validation documents decide, as in `ulmkit train`.
Words and document vectors are learned from the text once for all draws; with --only-labelled, they are learned from
the labelled documents of each draw alone, as if there were no other text.

The table has means and standard deviations over the draws, and the difference between what the whole ladder keeps and
what its linear rungs would without LM's word vectors, with a 95 % interval: what the language model adds. That interval
is for other documents; the deviations are for other labels.

Finished draws are kept in FOLDER, and the same command continues with the others; more draws and other numbers of
labels may be asked for later.
"""

import argparse
import shutil
import statistics
import time
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from recipe_command import given_command, make_parser, row, run_main, set_threads, write_measurements
from stages import begin_run
from ulmfit import Prediction, model_fingerprint, open_language_models, read_prediction, write_prediction

from ulmkit.config import check_choice, check_whole
from ulmkit.errors import ConfigError
from ulmkit.evaluation import compare_paired
from ulmkit.files import read_json
from ulmkit.hub import LanguageModelParts
from ulmkit.members.combiner import Combiner
from ulmkit.pipeline import (
    ALL_LAYERS,
    ENOUGH_VALIDATION,
    LADDERS,
    DataOptions,
    EnsemblePredictor,
    Kind,
    Ladder,
    LadderText,
    RunOptions,
    choose_judging,
    climb_corpus,
    ensemble_of,
    ladder_text_parts,
    prepare,
    training_rows,
    validation_rows,
)
from ulmkit.report import check_plot_path, plot_label_curves
from ulmkit.safe_writes import write_json
from ulmkit.tables import text_table
from ulmkit.text import EncodedCorpus
from ulmkit.training import Budget, make_progress

LABELS = (50, 100, 500, 1000)
DRAWS = 5
MINUTES = 10.0

BASELINE = "TF-IDF"
LINEAR = "kept without a language model"
KEPT = "kept"

NETWORKS = "networks"
"""Folder for the checkpoints of a draw's networks, until the draw is finished."""


@dataclass(frozen=True)
class Draw:
    """Predictions for one draw of labels.

    Attributes:
        labels: Number of labels.
        seed: Seed of the draw.
        predictions: By the rung's name, and `LINEAR` and `KEPT`.
        minutes: Minutes to climb the ladder, fit its rungs to the draw and predict; words and vectors that all draws
            share are learned before.
        ladder: Rows of the ladder, as `LadderRow` has them.
    """

    labels: int
    seed: int
    predictions: Mapping[str, Prediction]
    minutes: float
    ladder: Sequence[Mapping[str, Any]]


def main(arguments: Sequence[str] | None = None) -> None:
    """Run the command.

    Raises:
        UlmkitError: For bad arguments or data, and for a training that fails.
    """
    options = read_options(arguments)
    set_threads(options.threads)
    bases = [] if options.language_model is None else list(open_language_models(options.language_model, None).values())
    first = bases[0] if bases else None
    data_options = DataOptions(split_column=options.split_column)
    vocabulary, tokenizer = ladder_text_parts(options.data, data_options, first)
    corpus = prepare(options.data, data_options, task="single", tokenizer=tokenizer, vocabulary=vocabulary)
    if options.test and "test" not in corpus.split_names:
        raise ConfigError(f"data: expected a split 'test', got {', '.join(corpus.split_names)}; leave --test out")
    settings = {
        "corpus": corpus.facts.fingerprint,
        "language_models": [model_fingerprint(base) for base in bases],
        "method": options.method,
        "minutes": options.minutes,
        "valid_documents": options.valid_documents,
        "is_transductive": options.transductive,
        "is_only_labelled": options.only_labelled,
        "is_test": options.test,
        "precision": options.precision,
    }
    begin_run(options.out, settings)
    draws = Draws(options, corpus, bases)
    counts = sorted({min(count, len(corpus.rows("train", labelled=True))) for count in options.labels})
    by_count = {count: [draws.predict(count, seed) for seed in range(options.draws)] for count in counts}
    print_table(by_count, has_language_model=bool(bases))
    print(f"\n{options.command}\n{draws.describe()}")
    if options.json:
        details = {"run": {"command": options.command, "threads": torch.get_num_threads(), **settings}}
        ladders = [
            {"labels": draw.labels, "seed": draw.seed, "minutes": draw.minutes, "ladder": list(draw.ladder)}
            for found in by_count.values()
            for draw in found
        ]
        write_measurements(options.json, "few_labels", measured_rows(by_count), {**details, "ladders": ladders})
    if options.plot:
        plot_label_curves(curves(by_count), options.plot)


class Draws:
    """Climbs the ladder for draws of labels that were not climbed before.

    Args:
        options: Options of the command.
        corpus: The documents.
        bases: Language models to start from, forward first; may be none.
    """

    def __init__(self, options: argparse.Namespace, corpus: EncodedCorpus, bases: Sequence[LanguageModelParts]) -> None:
        self._options = options
        self._corpus = corpus
        self._bases = bases
        self._valid = validation_rows(corpus, options.valid_documents)
        self._scored = corpus.rows("test", labelled=True) if options.test else self._valid
        self._texts = None if options.only_labelled else self._read_text()

    def _read_text(self, rows: np.ndarray | None = None) -> tuple[LadderText, LadderText]:
        """The text to learn from, with the language model's word vectors and without; `rows`: see `LadderText`."""
        word_vectors = self._bases[0].word_vectors if self._bases else None
        text, alone = (
            LadderText(
                self._corpus,
                self._valid,
                transductive=self._options.transductive,
                rows=rows,
                word_vectors=vectors,
            )
            for vectors in (word_vectors, None)
        )
        return text, alone

    def describe(self) -> str:
        """Say what was scored."""
        split = "test" if self._options.test else "validation"
        scored = f"{len(self._scored):,} {split} documents"
        if self._texts is None:
            return f"{scored}; no text but that of the labelled documents"
        text = f"{scored}; text of {len(self._texts[0].rows):,} documents"
        return f"{text}, the test part's too (transductive)" if self._options.transductive else text

    def predict(self, labels: int, seed: int) -> Draw:
        """Climb the ladder for a draw and predict with every rung, unless that was done before."""
        folder = self._options.out / f"{labels}-{seed}"
        done = folder / "ladder.json"
        if not done.is_file():
            print(f"{labels:,} labels, draw {seed}", flush=True)
            drawn = training_rows(self._corpus, labels, seed)
            if self._texts is not None:  # the first draw learns the vectors for all of them
                for view in self._texts[0].views:
                    view.vectors(drawn[:1])
            started = time.monotonic()
            text, alone = self._texts or self._read_text(drawn)
            ladder = self._climb(text, self._bases, drawn, seed, folder)
            predictions = self._predictions(ladder)
            minutes = (time.monotonic() - started) / 60.0
            predictions[LINEAR] = predictions[ladder.kept_up_to(Kind.WORDS).name]
            if ladder.uses_word_vectors:
                without = self._climb(alone, [], drawn, seed, folder)
                predictions[LINEAR] = self._predictions(without)[without.kept.name]
            predictions[KEPT] = predictions[ladder.kept.name]
            for number, prediction in enumerate(predictions.values()):
                write_prediction(folder / f"{number}.json", prediction)
            rows = [asdict(each) for each in ladder.rows]
            shutil.rmtree(folder / NETWORKS, ignore_errors=True)
            write_json(done, {"names": list(predictions), "minutes": round(minutes, 2), "ladder": rows})
        kept = read_json(done)
        found = {name: read_prediction(folder / f"{number}.json") for number, name in enumerate(kept["names"])}
        return Draw(labels, seed, found, kept["minutes"], kept["ladder"])

    def _climb(
        self, text: LadderText, bases: Sequence[LanguageModelParts], rows: np.ndarray, seed: int, folder: Path
    ) -> Ladder:
        options = self._options
        is_all = len(rows) == len(self._corpus.rows("train", labelled=True))
        held_out = self._valid if is_all and len(self._valid) >= ENOUGH_VALIDATION else None
        run = RunOptions(
            device=options.device,
            precision=options.precision,
            seed=seed,
            folder=folder / NETWORKS,
            resume=True,
            progress=make_progress(),
            warn=False,
        )
        return climb_corpus(
            text,
            bases,
            rows,
            choose_judging(rows, text.answers[rows], held_out),
            method=options.method,
            budget=Budget(minutes=options.minutes),
            recipe=ALL_LAYERS,
            run=run,
        )

    def _predictions(self, ladder: Ladder) -> dict[str, Prediction]:
        """Predictions of every row of a ladder, each with its weights; members that rows share predict once."""
        fitted = {each.name: ensemble_of(ladder, each, self._corpus) for each in ladder.rows}
        members = tuple({id(member): member for parts in fitted.values() for member in parts.members}.values())
        everything = replace(
            fitted[ladder.kept.name],
            members=members,
            combiner=Combiner(np.ones(len(members)), np.zeros(len(self._corpus.label_names))),
        )
        documents = [self._corpus.document(number) for number in self._scored]
        targets = self._corpus.labels(self._scored).astype(np.int64)
        logs = EnsemblePredictor(everything).log_probabilities(documents)
        by_member = {id(member): each for member, each in zip(members, logs, strict=True)}
        predictions = {}
        for name, parts in fitted.items():
            together = parts.combiner([by_member[id(member)] for member in parts.members])
            predictions[name] = Prediction(np.exp(together).astype(np.float32), targets, {})
        return predictions


def print_table(by_count: Mapping[int, Sequence[Draw]], has_language_model: bool) -> None:
    """Print the accuracy of each rung by the number of labels, and what the language model adds if there is one."""
    names = list(dict.fromkeys(name for draws in by_count.values() for draw in draws for name in draw.predictions))
    last = [LINEAR, KEPT] if has_language_model else [KEPT]
    names = [name for name in names if name not in (LINEAR, KEPT)] + last
    rows = [[name, *(_summary(draws, name) for draws in by_count.values())] for name in names]
    if has_language_model:
        added = [_added(draws) for draws in by_count.values()]
        rows.append(
            ["the language model adds", *(f"{value:+.1f} ({low:+.1f} to {high:+.1f})" for value, low, high in added)]
        )
    rows.append(
        ["minutes", *(f"{statistics.fmean(draw.minutes for draw in draws):.1f}" for draws in by_count.values())]
    )
    print(f"\n{text_table(['accuracy in %', *(f'{count:,} labels' for count in by_count)], rows)}")


def measured_rows(by_count: Mapping[int, Sequence[Draw]]) -> list[dict[str, Any]]:
    """Rows of the benchmarks' JSON: what is kept, beside each rung."""
    rows = []
    for count, draws in by_count.items():
        kept = accuracies(draws, KEPT)
        for name in draws[0].predictions:
            compared = accuracies(draws, name)
            if name != KEPT and len(compared) == len(kept):
                entry = row(f"{count:,} labels", "% accuracy", statistics.fmean(kept), statistics.fmean(compared), name)
                rows.append({**entry, "draws": compared, "kept": kept})
    return rows


def curves(by_count: Mapping[int, Sequence[Draw]]) -> dict[str, list[tuple[int, float, float]]]:
    """(labels, mean, standard deviation) of the accuracy in percent of the baseline and of what was kept."""
    points = {}
    for name in (BASELINE, LINEAR, KEPT):
        values = {count: accuracies(draws, name) for count, draws in by_count.items()}
        points[name] = [(count, statistics.fmean(each), _deviation(each)) for count, each in values.items()]
    return points


def accuracies(draws: Sequence[Draw], name: str) -> list[float]:
    """Accuracy in percent of a rung in each draw that has it."""
    return [100.0 - draw.predictions[name].error for draw in draws if name in draw.predictions]


def _summary(draws: Sequence[Draw], name: str) -> str | None:
    percentages = accuracies(draws, name)
    return f"{statistics.fmean(percentages):.1f} ± {_deviation(percentages):.1f}" if percentages else None


def _deviation(values: Sequence[float]) -> float:
    return statistics.stdev(values) if len(values) > 1 else 0.0


def _added(draws: Sequence[Draw]) -> tuple[float, float, float]:
    """Points that the language model adds, and their interval; a document's score is its mean over the draws."""
    before, after = (np.mean([draw.predictions[name].is_right for draw in draws], axis=0) for name in (LINEAR, KEPT))
    comparison = compare_paired(before, after, "accuracy")
    low, high = comparison.interval
    return 100 * comparison.difference, 100 * low, 100 * high


def read_options(arguments: Sequence[str] | None) -> argparse.Namespace:
    """Read and check the command's options."""
    parser = make_parser(__doc__)
    parser.add_argument(
        "--data", required=True, metavar="PLACE", help="folder or file of the data, or its name on the hub"
    )
    parser.add_argument("--split-column", metavar="NAME", help="column that names each document's split")
    parser.add_argument("--language-model", metavar="LM", help="language model, or a pair (default: none)")
    parser.add_argument("--out", type=Path, metavar="FOLDER", help="folder of the run (default: few-labels)")
    parser.add_argument(
        "--labels",
        type=int,
        nargs="+",
        default=list(LABELS),
        metavar="N",
        help=f"default: {' '.join(map(str, LABELS))}",
    )
    parser.add_argument("--draws", type=int, default=DRAWS, help=f"draws of labels for each number (default: {DRAWS})")
    parser.add_argument(
        "--method", default="auto", metavar="NAME", help=f"how far to climb: {', '.join(LADDERS)} (default: auto)"
    )
    parser.add_argument(
        "--minutes", type=float, default=MINUTES, help=f"training time of a draw's networks (default: {MINUTES:g})"
    )
    parser.add_argument(
        "--valid-documents", type=int, metavar="N", help="score this many validation documents (default: all)"
    )
    text = parser.add_mutually_exclusive_group()
    text.add_argument(
        "--only-labelled", action="store_true", help="learn from no text but that of a draw's labelled documents"
    )
    text.add_argument("--transductive", action="store_true", help="learn from the text of the test part, too")
    parser.add_argument("--test", action="store_true", help="score the test part: once, at the end")
    parser.add_argument("--plot", metavar="FILE", help="draw accuracy by the number of labels: .png, .svg or .pdf")
    options = parser.parse_args(arguments)
    options.command = given_command(parser, arguments)
    check_choice("--method", options.method, LADDERS)
    check_whole("--draws", options.draws)
    for count in options.labels:
        check_whole("--labels", count)
    if options.plot:
        check_plot_path(options.plot)
    options.out = Path("few-labels") if options.out is None else options.out
    return options


if __name__ == "__main__":
    run_main(main)
