"""The stages of the quickstart: fine-tune a shipped language model, climb the ladder, compare with linear baselines."""

import csv
import functools
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

from ulmkit import pipeline
from ulmkit.api import LanguageModel, TextClassifier
from ulmkit.config import check_positive, check_whole
from ulmkit.files import expand_user
from ulmkit.hub import EnsembleParts, member_name
from ulmkit.model.aligned import count_parameters
from ulmkit.pipeline import DEFAULT_MODEL, DataOptions, Kind, Ladder, LanguageModelRecipe, RunOptions
from ulmkit.quickstart.docstrings import QuickstartText, harvest_docstrings, quickstart_task
from ulmkit.quickstart.results import NO_LANGUAGE_MODEL_ROW, ULMKIT_ROW, Quickstart
from ulmkit.report import plot_quickstart
from ulmkit.safe_writes import atomic_folder, atomic_write, check_writable, write_json
from ulmkit.text import EncodedCorpus
from ulmkit.text.read.documents import Data
from ulmkit.training import Budget, OptimizerConfig, Schedule

FINETUNE = LanguageModelRecipe(
    batch_size=16,
    bptt=35,
    peak_rate=2e-3,
    schedule=Schedule("one_cycle", {"rise_fraction": 0.2}),
    optimizer=OptimizerConfig(betas=(0.8, 0.99), weight_decay=0.01),
    ar=0.0,
    tar=0.0,
    dropout_multiplier=0.0,
)
"""Many small steps without dropout, since the text is read less than once."""


def quickstart(
    folder: str = "ulmkit-quickstart",
    data: Data | None = None,
    *,
    language_model: str = DEFAULT_MODEL,
    minutes: float = 1.5,
    labels: int = 50,
    held_out: int = 2000,
    overwrite: bool = False,
    data_options: DataOptions | None = None,
    run: RunOptions | None = None,
    say: Callable[[str], None] = print,
) -> Quickstart:
    """Fine-tune a language model on target text, classify it from few labels, and compare with baselines.

    The target text is `data`, or docstrings of ten installed packages; the task is then to tell which package a
    docstring belongs to (see `ulmkit.quickstart.docstrings`). The classifier is what the ladder keeps, up to features
    of the language model; it is compared with what the ladder keeps without one.

    Args:
        folder: Folder to write models, results and plot to, and the docstrings as general.csv and target.csv.
        data: Labelled documents in any form that `read_documents` takes; None for docstrings.
        language_model: The language model to start from, or a pair: a folder, a shipped name or a hub name.
        minutes: Minutes to fine-tune it.
        labels: Documents whose labels the classifiers see; only the text of the others is used.
        held_out: Maximum number of validation documents to evaluate on.
        overwrite: Replace the folder if it exists.
        data_options: Reading and splitting of `data`.
        run: Machine options and seed; its `on_corpus` is called with the target text.
        say: Called with each line of the account of the stages.

    Raises:
        FolderError: If the folder exists and may not be replaced, or cannot be written; or there is no such model.
        ConfigError: If minutes, labels or held_out is not above 0.
        DataError: If `data` cannot be read or has no labels.
    """
    check_positive("minutes", minutes)
    check_whole("labels", labels)
    check_whole("held_out", held_out)
    check_writable(folder, overwrite)
    started = time.monotonic()
    base = LanguageModel.load(language_model, run)
    say("Reading text")
    task: QuickstartText | None = None
    documents: Data
    if data is None:
        task = quickstart_task(harvest_docstrings())
        documents, options = task.target, DataOptions(split_by="group", valid_fraction=0.12)
    else:
        documents, options = data, data_options or DataOptions()
    target = pipeline.prepare(
        documents, options, task="single", tokenizer=base.parts.tokenizer, vocabulary=base.parts.vocabulary
    )
    texts = pipeline.texts_of(documents, target, options)
    say(f"   {_size(target)} ({'docstrings' if data is None else 'your data'})")
    run = run or RunOptions()
    if run.on_corpus is not None:
        run.on_corpus(target)
    run = replace(run, validations=3, valid_tokens=40_000, on_corpus=None)
    training = pipeline.training_rows(target, labels, run.seed)
    held_out_rows = pipeline.validation_rows(target, held_out, run.seed)
    with atomic_folder(folder, overwrite=overwrite) as staging:
        say(f"\n1. Fine-tune {language_model} on this text: {minutes:.1f} minutes")
        tuned = base.finetune(target, minutes=minutes, recipe=FINETUNE, run=run)
        before = tuned.parts.facts.validation_before["perplexity"]
        after = tuned.parts.facts.validation["perplexity"]
        say(f"   perplexity of held-out text: {before:,.0f} before, {after:,.0f} after")
        say(f"\n2. Climb the ladder on {labels:,} labels")
        classifier, linear = _climb(target, tuned, minutes, labels, run)
        reports: dict[str, Any] = {
            name: pipeline.evaluate_classifier(parts, target, held_out_rows)
            for name, parts in ((ULMKIT_ROW, classifier), (NO_LANGUAGE_MODEL_ROW, linear))
        }
        say(f"   accuracy on held-out documents: {reports[ULMKIT_ROW].accuracy:.1%}")
        say(f"\n3. Train linear baselines on the same {labels:,} labels")
        reports |= pipeline.linear_baselines(target, texts, training, held_out_rows)
        result = Quickstart(
            parameters=sum(count_parameters(member.model) for member in tuned.members),
            labels=len(training),
            perplexity_before=before,
            perplexity_after=after,
            members=[member_name(member) for member in classifier.members],
            reports=reports,
            seconds=time.monotonic() - started,
            folder=expand_user(folder),
        )
        _write(staging, result, tuned, TextClassifier(classifier))
        if task is not None:
            _write_texts(staging, task, target)
    return result


def _climb(
    target: EncodedCorpus, language_model: LanguageModel, minutes: float, labels: int, run: RunOptions
) -> tuple[EnsembleParts, EnsembleParts]:
    """Train classifiers by the ladder. Returns: what it keeps with features of the language model, and without one."""
    ladders: list[Ladder] = []
    train = functools.partial(
        pipeline.train_automatically,
        target,
        method="features",
        budget=Budget(minutes=minutes),
        run=replace(run, warn=False),  # fine-tuning has warned of this corpus
        labels=labels,
        valid_documents=300,
    )
    classifier = train(language_model.members, on_ladder=ladders.append)
    (ladder,) = ladders
    if ladder.uses_word_vectors:
        return classifier, train([])
    return classifier, pipeline.ensemble_of(ladder, ladder.kept_up_to(Kind.WORDS), target)


def _size(corpus: EncodedCorpus) -> str:
    """Documents and tokens to train on."""
    splits = corpus.facts.training_splits.values()
    documents = sum(split.documents for split in splits)
    tokens = sum(split.tokens for split in splits)
    return f"{documents:,} documents, {tokens:,} tokens"


def _write(folder: Path, result: Quickstart, language_model: LanguageModel, classifier: TextClassifier) -> None:
    """Write the language model, the classifier, the results and the plot."""
    language_model.save(folder / "language-model")
    classifier.save(folder / "classifier")
    write_json(folder / "quickstart.json", result.to_dict())
    title = f"{result.labels:,} labels"
    plot_quickstart(
        {f"fine-tuning {member.direction}": member.history for member in language_model.members},
        {title: {name: report.accuracy for name, report in result.reports.items()}},
        folder / "quickstart.png",
        intervals={title: {name: report.accuracy_interval for name, report in result.reports.items()}},
        title=f"ulmkit quickstart: {result.parameters / 1e6:.1f} million parameters, {result.seconds / 60:.1f} minutes",
    )


def _write_texts(folder: Path, task: QuickstartText, target: EncodedCorpus) -> None:
    """Write the docstrings as CSV files for other commands; the target's have label, source file and split."""
    splits = {row: split for split in target.split_names for row in target.rows(split)}
    labelled = [(doc.text, doc.label, doc.group, splits[row]) for row, doc in enumerate(task.target)]
    for name, columns, rows in (
        ("general.csv", ("text",), [(text,) for text in task.general]),
        ("target.csv", ("text", "label", "module", "split"), labelled),
    ):
        with atomic_write(folder / name) as file:
            csv.writer(file).writerows([columns, *rows])
