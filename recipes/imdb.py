"""IMDb: the paper's whole recipe, beside the published errors.

    python recipes/imdb.py --data IMDB --language-model LM [--backward-language-model LM] [--out FOLDER]
        [--minutes N | --epochs LM CLASSIFIER] [--dropout FACTOR] [--ladder] [--transductive] [--seed N]
        [--threads N] [--device NAME] [--precision NAME] [--test] [--json FILE]

IMDB is a folder or the name on the hub (stanfordnlp/imdb) with the splits train, test and unsupervised; LM is a forward
language model or a pair, a folder or a name on the hub. In each direction the language model is fine-tuned on the
training and unsupervised text, then a classifier by gradual unfreezing; the predictions of both are averaged.

A tenth of the training documents is held out for validation, in proportion to the labels. The test set is evaluated
only with --test: once, at the end. With --transductive the language model also learns from the text of the test set,
and everything that is printed or written says so. With --ladder, ulmkit's own ladder is climbed beside the recipe:
linear rungs and the features of the fine-tuned language models, which takes minutes.

Without --minutes or --epochs each stage runs for the paper's epochs, which takes a GPU: in each direction 25 passes
over 72,500 documents and 50 over 22,500. In a budget of minutes, language models get 60 % of it; --dropout 0.3 lowers
the paper's dropouts, which are meant for many passes. A stopped run continues when the same command is given again.

Source: Howard & Ruder 2018, arXiv:1801.06146.
"""

import argparse
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from recipe_command import given_command, make_parser, row, run_main, set_threads, write_measurements
from run_facts import RunFacts, stage_costs
from stages import begin_run, complete_stage, stage_run
from ulmfit import (
    EPOCHS,
    ULMFIT_CLASSIFIER,
    ULMFIT_DROPOUTS,
    ULMFIT_LANGUAGE_MODEL,
    Prediction,
    kept_prediction,
    mean_prediction,
    model_fingerprint,
    open_language_models,
    predict,
    unfreezing_shares,
    with_dropouts,
)

from ulmkit import TextClassifier
from ulmkit.config import check_not_negative, to_dict
from ulmkit.errors import ConfigError
from ulmkit.evaluation import wilson_interval
from ulmkit.hub import (
    EnsembleParts,
    LanguageModelParts,
    load_classifier,
    load_language_model,
    save_classifier,
    save_ensemble,
    save_language_model,
    save_pair,
)
from ulmkit.pipeline import RunOptions, finetune, prepare, train, train_automatically
from ulmkit.tables import text_table
from ulmkit.text import EncodedCorpus
from ulmkit.text.corpus.builder import TRAINING_SPLITS
from ulmkit.training import Budget, make_progress

LANGUAGE_MODEL_SHARE = 0.6
"""Share of a budget in minutes that the language model's fine-tuning gets."""

LADDER = "ladder"

DOCUMENTS = {"train": 25_000, "test": 25_000, "unsupervised": 50_000}
"""Documents of IMDb; those held out for validation count as training documents."""


@dataclass(frozen=True, kw_only=True)
class PublishedErrors:
    """Published errors of a direction in percent; None where there is none.

    Attributes:
        valid: Validation error of the paper, tables 4 to 7.
        test: Test error of the paper, section 5.
        transductive_test: Test error of fastai 1, whose language model learned from the text of the test set, and
            whose accuracy was watched on it.
    """

    valid: float | None = None
    test: float | None = None
    transductive_test: float | None = None


SPLITS = ("valid", "test")

PUBLISHED = {
    "forward": PublishedErrors(valid=5.00, test=5.30, transductive_test=5.04),
    "backward": PublishedErrors(transductive_test=5.26),
    "both": PublishedErrors(test=4.58, transductive_test=4.61),
    LADDER: PublishedErrors(),
}


def main(arguments: Sequence[str] | None = None) -> None:
    """Run the command.

    Raises:
        UlmkitError: For bad arguments or data, and for a training that fails.
    """
    options = _read_options(arguments)
    set_threads(options.threads)
    bases = open_language_models(options.language_model, options.backward_language_model)
    run = RunOptions(device=options.device, precision=options.precision, seed=options.seed, progress=make_progress())
    corpora = {direction: _language_model_corpus(options.data, base) for direction, base in bases.items()}
    corpus = corpora["forward"]
    if (options.test or options.transductive) and "test" not in corpus.split_names:
        raise ConfigError(f"data: expected a split 'test', got {', '.join(corpus.split_names)}; leave --test out")
    if options.ladder and len({base.vocabulary.fingerprint for base in bases.values()}) > 1:
        raise ConfigError("language_model: expected a pair of one vocabulary for --ladder, got two; leave --ladder out")
    budgets = plan_budgets(len(bases), options.minutes, options.epochs)
    settings = {
        "corpus": corpus.facts.fingerprint,
        "language_models": {direction: model_fingerprint(base) for direction, base in bases.items()},
        "budgets": {name: to_dict(budget) for name, budget in budgets.items()},
        "dropout": options.dropout,
        "is_transductive": options.transductive,
        "seed": run.seed,
        "precision": run.precision,
    }
    begin_run(options.out, settings)
    folders: dict[str, Path] = {}
    for direction, base in bases.items():
        folders |= train_direction(options, direction, base, corpora[direction], budgets, run)
    if len(bases) == 2 and not (options.out / "both").exists():
        save_pair(options.out / "both", folders["forward classifier"], folders["backward classifier"])
    if options.ladder:
        folders[LADDER] = climb_ladder(options, folders, run)
    splits = SPLITS if options.test else SPLITS[:1]
    entries = [entry for split in splits for entry in _evaluate(options, folders, list(bases), split, run)]
    facts = RunFacts(
        corpus="IMDb",
        recipe="ulmfit, transductive" if options.transductive else "ulmfit",
        is_full_length=budgets == plan_budgets(1) and options.dropout == 1.0,
        is_published=True,
        budget=_describe_budget(options),
        seed=run.seed,
        differences=tuple(_differences(corpus)),
        command=options.command,
        **stage_costs({name: stage_run(folder) for name, folder in folders.items()}),
    )
    print_errors(entries, facts, options.transductive)
    if options.json:
        details = {"run": facts.to_dict(), "is_transductive": options.transductive, "evaluation": entries}
        write_measurements(options.json, "imdb", measured_rows(entries, facts, options.transductive), details)


def plan_budgets(
    directions: int, minutes: float | None = None, epochs: tuple[float, float] | None = None
) -> dict[str, Budget]:
    """Plan the length of each stage of one direction.

    Args:
        directions: Number of directions, over which minutes are divided evenly.
        minutes: Minutes of all stages together.
        epochs: Epochs of language model and classifier; None for the paper's.
    """
    if minutes is None:
        language_model, classifier = (Budget(epochs=count) for count in epochs or EPOCHS)
    else:
        each = Budget(minutes=minutes / directions)
        language_model, classifier = each.split([LANGUAGE_MODEL_SHARE, 1.0 - LANGUAGE_MODEL_SHARE])
    return {"language model": language_model, "classifier": classifier}


def train_direction(
    options: argparse.Namespace,
    direction: str,
    base: LanguageModelParts,
    corpus: EncodedCorpus,
    budgets: Mapping[str, Budget],
    run: RunOptions,
) -> dict[str, Path]:
    """Fine-tune language model and classifier of a direction, unless they are there.

    Returns:
        The model folders by the names of the stages.
    """
    folders = {f"{direction} {stage}": options.out / f"{direction}-{stage.replace(' ', '-')}" for stage in budgets}
    language_model_folder, classifier_folder = folders.values()
    splits = (*TRAINING_SPLITS, "test") if options.transductive else TRAINING_SPLITS

    def tune(stage_run: RunOptions) -> LanguageModelParts:
        return finetune(
            with_dropouts(base, ULMFIT_DROPOUTS),
            corpus,
            budget=budgets["language model"],
            recipe=replace(ULMFIT_LANGUAGE_MODEL, dropout_multiplier=options.dropout),
            run=stage_run,
            splits=splits,
        )

    complete_stage(language_model_folder, run, tune, save_language_model)
    tuned = load_language_model(language_model_folder)
    shares = unfreezing_shares(tuned.model.config.encoder.layers, budgets["classifier"])
    recipe = replace(ULMFIT_CLASSIFIER, shares=shares, dropout_multiplier=options.dropout)
    complete_stage(
        classifier_folder,
        run,
        lambda stage_run: train(options.data, tuned, budget=budgets["classifier"], recipe=recipe, run=stage_run),
        save_classifier,
    )
    return folders


def climb_ladder(options: argparse.Namespace, folders: Mapping[str, Path], run: RunOptions) -> Path:
    """Climb the ladder with the fine-tuned language models, unless that was done.

    Returns:
        The folder of the classifier that it kept.
    """
    folder: Path = options.out / LADDER

    def climb(stage_run: RunOptions) -> EnsembleParts:
        language_models = [
            load_language_model(each) for name, each in folders.items() if name.endswith("language model")
        ]
        return train_automatically(
            options.data,
            language_models,
            method="features",
            budget=Budget(steps=1),  # of networks, which this method does not train
            run=stage_run,
            transductive=options.transductive,
        )

    complete_stage(folder, run, climb, save_ensemble)
    return folder


def print_errors(entries: Sequence[Mapping[str, Any]], facts: RunFacts, is_transductive: bool) -> None:
    """Print a row for each direction, the published errors beside the measured ones."""
    rows = []
    for direction in dict.fromkeys(entry["direction"] for entry in entries):
        by_split = {entry["split"]: entry for entry in entries if entry["direction"] == direction}
        published = PUBLISHED[direction]
        seconds = sum(entry["seconds"] for entry in by_split.values())
        rows.append(
            (
                direction,
                f"{_percent(published.valid)} / {_percent(published.test)}",
                _percent(published.transductive_test),
                " / ".join(_percent(by_split[split]["error"] if split in by_split else None) for split in SPLITS)
                + facts.caveats(),
                f"{_training_minutes(direction, facts):.1f} + {seconds / 60:.1f}",
            )
        )
    measured = "measured, transductive" if is_transductive else "measured"
    header = (
        "error in %",
        "paper, validation / test",
        "fastai 1, transductive, test",
        f"{measured}, validation / test",
        "minutes: training + evaluation",
    )
    print(f"\n{text_table(header, rows)}")
    print(f"\n{facts.command}\n{'full length' if facts.is_full_length else 'reduced'}: {facts.label()}")
    if facts.differences:
        print(f"not the published corpus {facts.corpus}: {'; '.join(facts.differences)}")
    if is_transductive:
        print("transductive: the language models have read the text of the test set")


def measured_rows(entries: Sequence[Mapping[str, Any]], facts: RunFacts, is_transductive: bool) -> list[dict[str, Any]]:
    """Rows of the benchmarks' JSON, with the published errors as peers; transductive ones only beside such."""
    rows = []
    for entry in entries:
        direction, split = entry["direction"], entry["split"]
        if is_transductive:
            peer = PUBLISHED[direction].transductive_test if split == "test" else None
            source = "fastai 1, transductive"
        else:
            peer, source = getattr(PUBLISHED[direction], split), "Howard & Ruder 2018"
        case = f"{split}, {direction}" + (", transductive" if is_transductive else "")
        source = source if peer is not None else "none published"
        rows.append(
            {
                **row(case, "error in %", entry["error"], peer, source, lower_is_better=True),
                "lowest": entry["interval"][0],
                "highest": entry["interval"][1],
                "documents": entry["documents"],
                "is_reproduction": facts.is_reproduction and not is_transductive,
                "training_minutes": _training_minutes(direction, facts),
                "evaluation_minutes": entry["seconds"] / 60,
            }
        )
    return rows


def _read_options(arguments: Sequence[str] | None) -> argparse.Namespace:
    parser = make_parser(__doc__)
    parser.add_argument("--data", required=True, metavar="PLACE", help="folder of IMDb, or its name on the hub")
    parser.add_argument("--language-model", required=True, metavar="LM", help="forward language model, or a pair")
    parser.add_argument("--backward-language-model", metavar="LM", help="backward language model")
    parser.add_argument("--out", type=Path, metavar="FOLDER", help="folder of the run (default: imdb-ulmfit)")
    budget = parser.add_mutually_exclusive_group()
    budget.add_argument("--minutes", type=float, help="training time of all stages in all directions")
    budget.add_argument(
        "--epochs", nargs=2, type=float, metavar=("LM", "CLASSIFIER"), help="epochs of the stages (default: 25 50)"
    )
    parser.add_argument("--dropout", type=float, default=1.0, metavar="FACTOR", help="multiplies the paper's dropouts")
    parser.add_argument(
        "--ladder", action="store_true", help="climb the ladder with the fine-tuned language models, too"
    )
    parser.add_argument(
        "--transductive", action="store_true", help="let the language models learn from the text of the test set"
    )
    parser.add_argument("--seed", type=int, default=0, help="random seed (default: 0)")
    parser.add_argument("--test", action="store_true", help="also evaluate on the test set: once, at the end")
    options = parser.parse_args(arguments)
    check_not_negative("dropout", options.dropout)
    options.command = given_command(parser, arguments)
    options.out = options.out or Path("imdb-ulmfit-transductive" if options.transductive else "imdb-ulmfit")
    return options


def _language_model_corpus(data: str, base: LanguageModelParts) -> EncodedCorpus:
    """The text in the tokens of a language model, with the validation part that classifiers have."""
    return prepare(data, tokenizer=base.tokenizer, vocabulary=base.tokenizer.closed_vocabulary())


def _evaluate(
    options: argparse.Namespace, folders: Mapping[str, Path], directions: Sequence[str], split: str, run: RunOptions
) -> list[dict[str, Any]]:
    """Errors of each direction on a split, of both averaged, and of the ladder."""
    predictions = {}
    for direction in directions:
        folder = folders[f"{direction} classifier"]
        path = options.out / "predictions" / f"{direction}-{split}.json"
        predictions[direction] = kept_prediction(path, lambda folder=folder: _predict(options.data, folder, split, run))
    if len(predictions) > 1:
        predictions["both"] = mean_prediction(list(predictions.values()))
    if options.ladder:
        path = options.out / "predictions" / f"{LADDER}-{split}.json"
        predictions[LADDER] = kept_prediction(path, lambda: _predict_by_ladder(options.data, folders[LADDER], split))
    entries = []
    for direction, prediction in predictions.items():
        documents = len(prediction.targets)
        interval = wilson_interval(round(documents * prediction.error / 100), documents)
        entries.append(
            {
                "split": split,
                "direction": direction,
                "is_transductive": options.transductive,
                "error": prediction.error,
                "interval": [100 * limit for limit in interval],
                "documents": documents,
                "seconds": prediction.facts["seconds"],
            }
        )
    return entries


def _predict(data: str, folder: Path, split: str, run: RunOptions) -> Prediction:
    parts = load_classifier(folder)
    corpus = prepare(
        data,
        task=parts.task.name,
        tokenizer=parts.tokenizer,
        vocabulary=parts.vocabulary,
        label_names=parts.label_names,
    )
    return predict(parts, corpus, split, run)


def _predict_by_ladder(data: str, folder: Path, split: str) -> Prediction:
    classifier = TextClassifier.load(folder)
    selected = classifier.evaluation_data(data, split=split)
    targets = selected.corpus.labels(selected.rows(labelled=True)).astype(np.int64)
    start = time.monotonic()
    probabilities = np.asarray(classifier.predict_labelled(selected))
    return Prediction(probabilities, targets, {"seconds": round(time.monotonic() - start, 2)})


def _differences(corpus: EncodedCorpus) -> list[str]:
    """Ways in which the data differs from IMDb: the numbers of documents."""
    counts = {name: split.documents for name, split in corpus.facts.splits.items()}
    counts["train"] = counts.get("train", 0) + counts.pop("valid", 0)
    return [
        f"{counts.get(name, 0):,} {name} documents for {published:,}"
        for name, published in DOCUMENTS.items()
        if counts.get(name, 0) != published
    ]


def _describe_budget(options: argparse.Namespace) -> str:
    language_model, classifier = options.epochs or EPOCHS
    budget = f"{language_model:g} and {classifier:g} epochs"
    if options.minutes is not None:
        budget = f"{options.minutes:g} minutes"
    return budget if options.dropout == 1.0 else f"{budget}, the paper's dropouts times {options.dropout:g}"


def _training_minutes(direction: str, facts: RunFacts) -> float:
    """Minutes of training behind a direction's classifier, behind both, or behind the ladder's."""

    def is_needed(stage: str) -> bool:
        if direction == LADDER:
            return stage == LADDER or stage.endswith("language model")
        return stage != LADDER and (direction == "both" or stage.startswith(direction))

    return sum(minutes for stage, minutes in facts.minutes.items() if is_needed(stage))


def _percent(value: float | None) -> str:
    return "-" if value is None else f"{value:.2f}"


if __name__ == "__main__":
    run_main(main)
