"""The stages of the quickstart: pretrain, fine-tune, classify, and compare with linear baselines."""

import csv
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

from ulmkit import pipeline
from ulmkit.api import LanguageModel, TextClassifier
from ulmkit.config import check_positive, check_whole
from ulmkit.files import expand_user
from ulmkit.model.aligned import count_parameters
from ulmkit.model.config import AWDLSTMConfig, LanguageModelConfig
from ulmkit.pipeline import ClassifierRecipe, DataOptions, LanguageModelRecipe, RunOptions
from ulmkit.quickstart.docstrings import QuickstartText, harvest_docstrings, quickstart_task
from ulmkit.quickstart.results import NO_LANGUAGE_MODEL_ROW, ULMKIT_ROW, Quickstart
from ulmkit.report import plot_quickstart
from ulmkit.safe_writes import atomic_folder, atomic_write, check_writable, write_json
from ulmkit.text import EncodedCorpus, train_sentencepiece
from ulmkit.text.read.documents import Data
from ulmkit.training import OptimizerConfig, Schedule

SIZES = AWDLSTMConfig(embedding_size=400, layers=1)
"""Sizes of the reduced model: one layer of 400 units, where ULMFiT has three, of 1152, 1152 and 400."""

PIECES = 4000
"""Size of the SentencePiece vocabulary."""

SHARES = {"pretraining": 0.12, "fine-tuning": 0.74, "classifier": 0.07, "without transfer": 0.07}
"""Shares of the training time by stage."""

LANGUAGE_MODEL = LanguageModelRecipe(
    batch_size=16,
    bptt=35,
    peak_rate=6e-3,
    schedule=Schedule("one_cycle", {"rise_fraction": 0.2}),
    optimizer=OptimizerConfig(betas=(0.8, 0.99), weight_decay=0.01),
    ar=0.0,
    tar=0.0,
    dropout_multiplier=0.3,
)
"""Many small steps at a high rate with little regularization, since the text is read less than once."""

QUICKSTART_CLASSIFY = ClassifierRecipe(
    batch_size=16,
    shares=(0.15, 0.15, 0.7),
    peak_rate=(5e-3, 2.5e-3, 1.25e-3),
    schedule=Schedule("one_cycle", {"rise_fraction": 0.1, "high_momentum": 0.8, "low_momentum": 0.8}),
    optimizer=OptimizerConfig(betas=(0.8, 0.99), weight_decay=0.01),
    clip=0.5,
)
WITHOUT_TRANSFER = replace(QUICKSTART_CLASSIFY, unfreezing="full", shares=None, peak_rate=3e-3, factor=1.0)


def quickstart(
    folder: str = "ulmkit-quickstart",
    data: Data | None = None,
    *,
    minutes: float = 3.5,
    labels: int = 50,
    held_out: int = 2000,
    overwrite: bool = False,
    data_options: DataOptions | None = None,
    run: RunOptions | None = None,
    say: Callable[[str], None] = print,
) -> Quickstart:
    """Pretrain on general text, fine-tune on target text, classify it from few labels, and compare with baselines.

    The general text is docstrings of installed packages. The target text is `data`, or docstrings of ten other
    packages; the task is then to tell which package a docstring belongs to (see `ulmkit.quickstart.docstrings`).

    Args:
        folder: Folder to write models, results and plot to, and the docstrings as general.csv and target.csv.
        data: Labelled documents in any form that `read_documents` takes; None for docstrings.
        minutes: Training time of all stages together.
        labels: Documents whose labels the classifiers see; only the text of the others is used.
        held_out: Maximum number of validation documents to evaluate on.
        overwrite: Replace the folder if it exists.
        data_options: Reading and splitting of `data`.
        run: Machine options and seed; its `on_corpus` is called with the target text.
        say: Called with each line of the account of the stages.

    Raises:
        FolderError: If the folder exists and may not be replaced, or cannot be written.
        ConfigError: If minutes, labels or held_out is not above 0.
        DataError: If `data` cannot be read or has no labels.
    """
    check_positive("minutes", minutes)
    check_whole("labels", labels)
    check_whole("held_out", held_out)
    check_writable(folder, overwrite)
    started = time.monotonic()
    say("Reading text and training a tokenizer")
    docstrings = harvest_docstrings()
    task: QuickstartText | None = None
    documents: Data
    if data is None:
        task = quickstart_task(docstrings)
        general_texts = task.general
        documents = task.target
        options = DataOptions(split_by="group", valid_fraction=0.12)
    else:
        general_texts = [docstring.text for docstring in docstrings]
        documents = data
        options = data_options or DataOptions()
    general, target = _encode(general_texts, documents, options)
    texts = pipeline.texts_of(documents, target, options)
    say(f"   general text: {_size(general)} (docstrings)")
    say(f"   target text: {_size(target)} ({'docstrings of other packages' if data is None else 'your data'})")
    run = run or RunOptions()
    if run.on_corpus is not None:
        run.on_corpus(target)
    run = replace(run, validations=3, valid_tokens=40_000, on_corpus=None)
    training = pipeline.training_rows(target, labels, run.seed)
    held_out_rows = pipeline.validation_rows(target, held_out, run.seed)
    stage_minutes = {stage: minutes * share for stage, share in SHARES.items()}
    with atomic_folder(folder, overwrite=overwrite) as staging:
        say(f"\n1. Pretrain a language model on the general text: {stage_minutes['pretraining']:.1f} minutes")
        base = LanguageModel.pretrain(
            general,
            minutes=stage_minutes["pretraining"],
            sizes=LanguageModelConfig(encoder=SIZES),
            recipe=LANGUAGE_MODEL,
            run=run,
        )
        say(f"\n2. Fine-tune it on the target text: {stage_minutes['fine-tuning']:.1f} minutes")
        tuned = base.finetune(target, minutes=stage_minutes["fine-tuning"], recipe=LANGUAGE_MODEL, run=run)
        before = tuned.parts.facts.validation_before["perplexity"]
        after = tuned.parts.facts.validation["perplexity"]
        say(f"   perplexity of held-out target text: {before:,.0f} before, {after:,.0f} after")
        models: dict[str, LanguageModel | TextClassifier] = {"pretraining": base, "fine-tuning": tuned}
        reports: dict[str, Any] = {}
        for stage, name, start, recipe, title in (
            ("classifier", ULMKIT_ROW, tuned, QUICKSTART_CLASSIFY, "from the language model"),
            ("without transfer", NO_LANGUAGE_MODEL_ROW, None, WITHOUT_TRANSFER, "without language model"),
        ):
            say(
                f"\n{len(models) + 1}. Train a classifier {title} on {labels:,} labels: "
                f"{stage_minutes[stage]:.1f} minutes"
            )
            classifier = TextClassifier.train(
                target,
                start,
                method="finetune",
                minutes=stage_minutes[stage],
                recipe=recipe,
                sizes=SIZES,
                run=replace(run, warn=False),  # fine-tuning has warned of this corpus
                labels=labels,
                valid_documents=300,
            )
            models[stage] = classifier
            reports[name] = pipeline.evaluate_classifier(classifier.parts, target, held_out_rows)
            say(f"   accuracy on held-out documents: {reports[name].accuracy:.1%}")
        say(f"\n5. Train linear baselines on the same {labels:,} labels")
        reports |= pipeline.linear_baselines(target, texts, training, held_out_rows)
        result = Quickstart(
            parameters=count_parameters(base.parts.model),
            labels=len(training),
            perplexity_before=before,
            perplexity_after=after,
            reports=reports,
            seconds=time.monotonic() - started,
            folder=expand_user(folder),
        )
        _write(staging, result, models)
        if task is not None:
            _write_texts(staging, task, target)
    return result


def _encode(general: Data, documents: Data, options: DataOptions) -> tuple[EncodedCorpus, EncodedCorpus]:
    """Encode general and target text by one tokenizer, trained on the training part of both."""
    general_options = DataOptions(split_by="random", valid_fraction=0.02)
    texts = [
        *pipeline.training_texts(general, general_options, "none"),
        *pipeline.training_texts(documents, options, "single"),
    ]
    tokenizer = train_sentencepiece(texts, pieces=PIECES)
    vocabulary = tokenizer.closed_vocabulary()
    target = pipeline.prepare(documents, options, task="single", tokenizer=tokenizer, vocabulary=vocabulary)
    return pipeline.prepare(general, general_options, tokenizer=tokenizer, vocabulary=vocabulary), target


def _size(corpus: EncodedCorpus) -> str:
    """Documents and tokens to train on."""
    splits = corpus.facts.training_splits.values()
    documents = sum(split.documents for split in splits)
    tokens = sum(split.tokens for split in splits)
    return f"{documents:,} documents, {tokens:,} tokens"


def _write(folder: Path, result: Quickstart, models: dict[str, LanguageModel | TextClassifier]) -> None:
    """Write the language model, the classifier, the results and the plot."""
    models["fine-tuning"].save(folder / "language-model")
    models["classifier"].save(folder / "classifier")
    write_json(folder / "quickstart.json", result.to_dict())
    title = f"{result.labels:,} labels"
    plot_quickstart(
        {stage: model.parts.history for stage, model in models.items()},
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
