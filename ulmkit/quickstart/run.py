"""The whole path in minutes, on text that is already on the machine: pretrain, fine-tune, classify, compare."""

import csv
import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from ulmkit.api import LanguageModel, TextClassifier
from ulmkit.config import check_positive, check_whole
from ulmkit.evaluation import SingleLabelReport, json_safe
from ulmkit.files import atomic_folder, atomic_write, check_writable, write_json
from ulmkit.model.aligned import count_parameters
from ulmkit.model.config import AWDLSTMConfig, LanguageModelConfig
from ulmkit.pipeline import (
    ClassifierRecipe,
    DataOptions,
    LanguageModelRecipe,
    RunOptions,
    linear_baselines,
    make_report,
    predict_rows,
    prepare,
    texts_of,
    training_rows,
    training_texts,
    validation_rows,
)
from ulmkit.quickstart.docstrings import QuickstartText, harvest_docstrings, quickstart_task
from ulmkit.report import plot_quickstart
from ulmkit.text import EncodedCorpus, Text, train_sentencepiece
from ulmkit.text.read.documents import Data
from ulmkit.training import OptimizerConfig, Schedule

SIZES = AWDLSTMConfig(embedding_size=400, layers=1)
"""The reduced model: one layer of 400 units, where ULMFiT has three, of 1152, 1152 and 400."""

PIECES = 4000

SHARES = {"pretraining": 0.12, "fine-tuning": 0.74, "classifier": 0.07, "without transfer": 0.07}
"""How the training time is divided over the stages."""

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
"""Many small steps at a high rate, hardly regularised: the text is read less than once."""

CLASSIFY = ClassifierRecipe(
    batch_size=16,
    shares=(0.15, 0.15, 0.7),
    peak_rate=(5e-3, 2.5e-3, 1.25e-3),
    schedule=Schedule("one_cycle", {"rise_fraction": 0.1, "high_momentum": 0.8, "low_momentum": 0.8}),
    optimizer=OptimizerConfig(betas=(0.8, 0.99), weight_decay=0.01),
    clip=0.5,
)
WITHOUT_TRANSFER = replace(CLASSIFY, unfreezing="full", shares=None, peak_rate=3e-3, factor=1.0)

OURS, FROM_SCRATCH = "ulmkit", "ulmkit without language model"


@dataclass(frozen=True)
class Quickstart:
    """What a quickstart found.

    Attributes:
        parameters: of the language model. labels: documents whose labels the classifiers saw.
        perplexity_before, perplexity_after: of held-out target text, before and after fine-tuning.
        reports: of every classifier on the same held-out documents, by name.
        seconds: of all, reading and tokenizing included. folder: what was written.
    """

    parameters: int
    labels: int
    perplexity_before: float
    perplexity_after: float
    reports: dict[str, SingleLabelReport]
    seconds: float
    folder: Path

    def to_dict(self) -> dict[str, Any]:
        """All figures as a JSON object."""
        return json_safe({**vars(self), "folder": str(self.folder)})


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
    """Pretrain on general text, fine-tune on target text, classify it from few labels, and compare.

    The general text is docstrings of installed packages. The target text is docstrings of other packages, and the task
    to tell which package a docstring is of (see `ulmkit.quickstart.docstrings`); or it is `data`.

    Args:
        folder: to write to: models, figures and plot, and the docstrings as `general.csv` and `target.csv`.
        data: labelled documents in place of the docstrings, in any form that `read_documents` takes.
        minutes: of training, all stages together.
        labels: documents whose labels the classifiers see; the others' text is used unlabelled.
        held_out: validation documents to judge by, at most.
        data_options: how `data` is read and split. run: where and how to run. say: takes a line to show.
    Raises: FolderError if the folder is there and not to be overwritten, or cannot be written; ConfigError unless
        minutes, labels and held_out are above 0; DataError if `data` cannot be read or has no labels.
    """
    check_positive("minutes", minutes)
    check_whole("labels", labels)
    check_whole("held_out", held_out)
    check_writable(folder, overwrite)
    started = time.monotonic()
    say("Reading text")
    material = _material(data, data_options)
    general, target = material.general, material.target
    run = replace(run or RunOptions(), validations=3, valid_tokens=40_000)
    training, judged = training_rows(target, labels, run.seed), validation_rows(target, held_out, run.seed)
    spent = {stage: minutes * share for stage, share in SHARES.items()}
    with atomic_folder(folder, overwrite=overwrite) as inside:
        say(f"\n1. Pretraining on general text: {_size(general)}, {spent['pretraining']:.1f} minutes")
        base = LanguageModel.pretrain(
            general,
            minutes=spent["pretraining"],
            sizes=LanguageModelConfig(encoder=SIZES),
            recipe=LANGUAGE_MODEL,
            run=run,
        )
        say(f"   {base!r}")
        say(f"\n2. Fine-tuning on the target text: {_size(target)}, {spent['fine-tuning']:.1f} minutes")
        tuned = base.finetune(target, minutes=spent["fine-tuning"], recipe=LANGUAGE_MODEL, run=run)
        before = tuned.parts.facts.validation_before["perplexity"]
        after = tuned.parts.facts.validation["perplexity"]
        say(f"   perplexity of held-out target text: {before:,.0f} before, {after:,.0f} after")
        models: dict[str, LanguageModel | TextClassifier] = {"pretraining": base, "fine-tuning": tuned}
        reports: dict[str, Any] = {}
        for stage, name, start, recipe in (
            ("classifier", OURS, tuned, CLASSIFY),
            ("without transfer", FROM_SCRATCH, None, WITHOUT_TRANSFER),
        ):
            say(f"\n{len(models) + 1}. {name}: a classifier from {labels:,} labels, {spent[stage]:.1f} minutes")
            classifier = TextClassifier.train(
                target,
                start,
                minutes=spent[stage],
                recipe=recipe,
                sizes=SIZES,
                run=run,
                labels=labels,
                valid_documents=300,
            )
            models[stage] = classifier
            reports[name] = make_report(predict_rows(classifier.parts.model, target, judged), target, judged)
        say("\n5. Linear baselines from the same labels")
        reports |= linear_baselines(target, material.texts, training, judged)
        parameters = count_parameters(base.parts.model)
        found = Quickstart(parameters, len(training), before, after, reports, time.monotonic() - started, Path(folder))
        _write(inside, found, models)
        if material.task is not None:
            _write_texts(inside, material.task, target)
    return found


@dataclass(frozen=True)
class _Material:
    """General and target text, encoded by one tokenizer that was trained on the training part of both; the target's
    texts in the order of its rows; and the task made of docstrings, None for data of one's own."""

    general: EncodedCorpus
    target: EncodedCorpus
    texts: list[Text]
    task: QuickstartText | None


def _material(data: Data | None, options: DataOptions | None) -> _Material:
    docstrings = harvest_docstrings()
    documents: Data
    if data is None:
        task = quickstart_task(docstrings)
        general, documents = task.general, task.target
        options = DataOptions(split_by="group", valid_fraction=0.12)
    else:
        task, general, documents = None, [docstring.text for docstring in docstrings], data
        options = options or DataOptions()
    general_options = DataOptions(split_by="random", valid_fraction=0.02)
    texts = [*training_texts(general, general_options, "none"), *training_texts(documents, options, "single")]
    tokenizer = train_sentencepiece(texts, vocab_size=PIECES)
    vocabulary = tokenizer.closed_vocabulary()
    target = prepare(documents, options, task="single", tokenizer=tokenizer, vocabulary=vocabulary)
    return _Material(
        prepare(general, general_options, tokenizer=tokenizer, vocabulary=vocabulary),
        target,
        texts_of(documents, target, options),
        task,
    )


def _size(corpus: EncodedCorpus) -> str:
    """How much there is to learn from."""
    splits = corpus.facts.training_splits.values()
    documents = sum(split.documents for split in splits)
    tokens = sum(split.tokens for split in splits)
    return f"{documents:,} documents, {tokens:,} tokens"


def _write(folder: Path, found: Quickstart, models: dict[str, LanguageModel | TextClassifier]) -> None:
    """The language model, the classifier, the figures and the plot."""
    models["fine-tuning"].save(folder / "language-model")
    models["classifier"].save(folder / "classifier")
    write_json(folder / "quickstart.json", found.to_dict())
    plot_quickstart(
        {stage: model.parts.history for stage, model in models.items()},
        {f"{found.labels:,} labels": {name: report.accuracy for name, report in found.reports.items()}},
        folder / "quickstart.png",
        intervals={
            f"{found.labels:,} labels": {name: report.accuracy_interval for name, report in found.reports.items()}
        },
        title=f"ulmkit quickstart: {found.parameters / 1e6:.1f} million parameters, {found.seconds / 60:.1f} minutes",
    )


def _write_texts(folder: Path, task: QuickstartText, target: EncodedCorpus) -> None:
    """The docstrings as CSV files, for going on with the commands: the target's with label, source file and split."""
    splits = {row: split for split in target.split_names for row in target.rows(split)}
    labelled = [(each.text, each.label, each.group, splits[row]) for row, each in enumerate(task.target)]
    for name, columns, rows in (
        ("general.csv", ("text",), [(text,) for text in task.general]),
        ("target.csv", ("text", "label", "module", "split"), labelled),
    ):
        with atomic_write(folder / name) as file:
            csv.writer(file).writerows([columns, *rows])
