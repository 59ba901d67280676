"""Commands that use models: evaluate, predict, score, embed, generate.

They import what needs torch when they run, so that `--help` answers at once.
"""

import sys
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from typing import TYPE_CHECKING, Annotated, Any

import typer

from ulmkit.api.generation_options import GenerationOptions
from ulmkit.cli.adaptation import ADAPTATION
from ulmkit.cli.confidence_options import CONFIDENCE, Confidence
from ulmkit.cli.dataclass_options import field_options
from ulmkit.cli.option_groups import (
    MACHINE,
    MACHINE_OF_LOADED,
    MACHINE_WITH_SEED,
    READ_TEXT,
    Machine,
    OptionGroup,
    limit_threads,
    with_groups,
)
from ulmkit.cli.pairs import say_forward_member
from ulmkit.cli.progress import count_networks, document_progress, status, step_progress
from ulmkit.cli.reading import ReadingReport
from ulmkit.cli.summary import write_values
from ulmkit.cli.text_rows import (
    TEXTS,
    TEXTS_ALONE,
    TEXTS_OF_TASK,
    VectorWriter,
    check_extension,
    check_rows,
    count_texts,
    open_rows,
    open_texts,
)
from ulmkit.cli.training_commands import DataArgument
from ulmkit.errors import ConfigError
from ulmkit.pipeline.data_options import DataOptions
from ulmkit.safe_writes import atomic_write

if TYPE_CHECKING:
    import numpy as np

    from ulmkit.api import ConformalClassifier, SelectiveClassifier, TextClassifier
    from ulmkit.evaluation import Perplexity
    from ulmkit.pipeline import EvaluationData, LanguageModelEvaluation

ModelArgument = Annotated[str, typer.Argument(metavar="MODEL", help="A model: a folder, a shipped name or a hub name.")]
ClassifierArgument = Annotated[str, typer.Argument(metavar="CLASSIFIER", help="A classifier: a folder or a hub name.")]
LanguageModelArgument = Annotated[
    str, typer.Argument(metavar="LM", help="A language model: a folder, a shipped name or a hub name.")
]
OptionalData = Annotated[
    str | None, typer.Argument(metavar="[DATA]", help="A file, a folder, or a data set on the hub.")
]
Texts = Annotated[list[str] | None, typer.Option("--text", help="A text instead of DATA; may be repeated.")]
OutFile = Annotated[str | None, typer.Option("--out", "-o", help="Output file, .jsonl or .csv (default: print).")]

VectorFile = Annotated[str, typer.Option("--out", "-o", help="Output file, .npy.")]

PREDICTED = ("row", "label", "abstained", "label_set", "probability", "probabilities", "text")
SCORED = ("row", "log_probability", "tokens", "unknown_tokens", "perplexity", "text")


@with_groups(data_options=READ_TEXT, adaptation=ADAPTATION, confidence=CONFIDENCE, machine=MACHINE_OF_LOADED)
def evaluate_command(
    model: ModelArgument,
    data: DataArgument,
    data_options: DataOptions,
    adaptation: dict[str, Any] | None,
    confidence: Confidence,
    machine: Machine,
    split: Annotated[
        str | None,
        typer.Option(help="Split to score, or 'all' (default: test, else valid, else all)."),
    ] = None,
    published: Annotated[
        bool, typer.Option("--published", help="Compute perplexity as awd-lstm-lm does, for comparison.")
    ] = False,
    batch_size: Annotated[int | None, typer.Option(help="Parallel streams of --published (default: 10).")] = None,
    by: Annotated[list[str] | None, typer.Option(help="Break errors down by this column; may be repeated.")] = None,
    baselines: Annotated[bool, typer.Option(help="Fit linear baselines on the training split of DATA.")] = True,
) -> None:
    """Measure perplexity or classification metrics.

    Classifiers are also compared with linear baselines.

    Example: ulmkit evaluate my-classifier reviews.csv --split test
    """
    from ulmkit.hub import holds_language_model, resolve_model

    if adaptation is not None and (published or batch_size is not None):
        raise ConfigError("published: has no effect with --cache or --dynamic; drop one of them")
    if batch_size is not None and not published:
        raise ConfigError("batch_size: has no effect without --published; add it or drop this")
    # A classifier with the options of language models is refused when it is loaded as one.
    if not (holds_language_model(resolve_model(model)) or published or adaptation is not None):
        _evaluate_classifier(model, data, data_options, split, by or (), confidence, baselines, machine)
        return
    _check_by(by, "a language model")
    if confidence != Confidence():
        raise ConfigError("`max_error`, `miscoverage`: only for classifiers, got a language model; drop them")
    _evaluate_language_model(model, data, data_options, split, adaptation, published, batch_size, machine)


def _evaluate_language_model(
    model: str,
    data: str,
    data_options: DataOptions,
    split: str | None,
    adaptation: dict[str, Any] | None,
    published: bool,
    batch_size: int | None,
    machine: Machine,
) -> None:
    from ulmkit.api import LanguageModel
    from ulmkit.pipeline import ALL

    language_model = LanguageModel.load(model, machine.run)
    limit_threads(machine.run)
    say_forward_member(language_model)
    selected = language_model.evaluation_data(data, split=split, data_options=data_options)
    reading = ReadingReport()
    reading(selected.corpus)
    report: Perplexity | LanguageModelEvaluation
    with step_progress() as progress:
        if adaptation is not None:
            report = language_model.evaluate_with(selected, progress=progress, **adaptation)
        else:
            report = language_model.evaluate(
                selected,
                published=published,
                batch_size=batch_size,
                progress=lambda done, total: progress("perplexity", done, total),
            )
    print(f"{selected.describe()}\n\n{report.table()}")
    scored = {"model": model, "data": data, "split": selected.split or ALL, "reading": reading.values}
    write_values(machine.json_file, scored | report.to_dict())


def _evaluate_classifier(
    model: str,
    data: str,
    data_options: DataOptions,
    split: str | None,
    by: Sequence[str],
    confidence: Confidence,
    baselines: bool,
    machine: Machine,
) -> None:
    import numpy as np

    from ulmkit.api import TextClassifier
    from ulmkit.pipeline import ALL

    classifier = TextClassifier.load(model, machine.run)
    limit_threads(machine.run)
    task = classifier.parts.task
    _check_by(by, f"one of task {task.name!r}", task.name)
    selected = classifier.evaluation_data(data, split=split, by=by, data_options=data_options)
    corpus = selected.corpus
    reading = ReadingReport()
    reading(corpus)
    selective, conformal = confidence.classifiers(classifier)
    labelled = selected.rows(labelled=True)
    with document_progress(count_networks(classifier), lambda: len(labelled)):
        outputs = classifier.predict_labelled(selected)
    report = task.report(outputs, corpus, labelled, by)
    print(f"{selected.describe()}\n\n{report.table()}")
    values = {"data": data, "split": selected.split or ALL, "reading": reading.values, "classifier": report.to_dict()}
    if task.is_one_class:
        values["confidence"] = _confidence(np.asarray(outputs), corpus.labels(labelled), selective, conformal)
    values["baselines"] = _baselines(classifier, selected) if baselines else {}
    write_values(machine.json_file, values)


def _confidence(
    outputs: "np.ndarray",
    labels: "np.ndarray",
    selective: "SelectiveClassifier | None",
    conformal: "ConformalClassifier | None",
) -> dict[str, Any]:
    """Print coverage and error on evaluated documents. Returns: both as JSON values."""
    from ulmkit.evaluation import (
        HeldOutAnswers,
        coverage_table,
        errors_by_coverage,
        evaluate_conformal_sets,
        evaluate_selection,
    )
    from ulmkit.evaluation.metrics import Report

    answers = HeldOutAnswers.of(outputs, labels, "evaluated documents")
    print(f"\n{coverage_table(answers)}")
    reports: dict[str, Report] = {}
    if selective is not None:
        reports["selective"] = evaluate_selection(selective.selection, answers)
    if conformal is not None:
        reports["conformal"] = evaluate_conformal_sets(conformal.rule, outputs, labels)
    for report in reports.values():
        print(f"\n{report.table()}")
    return {
        "errors_by_coverage": errors_by_coverage(answers),
        **{name: report.to_dict() for name, report in reports.items()},
    }


def _check_by(by: Sequence[str] | None, model: str, task: str = "") -> None:
    """Raise ConfigError for `--by` with a model whose errors cannot be broken down by a column."""
    from ulmkit.tasks import TASKS

    supported = [name for name, kind in TASKS.items() if kind.has_errors_by_column]
    if by and task not in supported:
        raise ConfigError(f"by: only for classifiers of task {', '.join(supported)}, got {model}; drop --by")


def _baselines(classifier: "TextClassifier", selected: "EvaluationData") -> dict[str, Any]:
    """Fit and print the baselines, or print why there are none."""
    from ulmkit.pipeline import baseline_rows, describe_baseline_rows, linear_baselines, texts_of

    data = selected.data
    corpus = selected.corpus
    parts = classifier.parts
    rows = baseline_rows(parts, selected)
    reason = None
    if not parts.task.baselines(len(corpus.label_names)):
        reason = f"none for {parts.task.summary}"
    elif not len(rows):
        reason = f"{data} has no training documents besides those that are scored"
    if reason is not None:
        print(f"\nno baselines: {reason}")
        return {}
    source = describe_baseline_rows(parts, selected, rows)
    with status("linear baselines"):
        reports = linear_baselines(corpus, texts_of(data, corpus, selected.options), rows, selected.rows(labelled=True))
    for name, report in reports.items():
        print(f"\n{name}, from {source}:")
        print(report.table().split("\n\n")[0])
    return {name: report.to_dict() for name, report in reports.items()}


@with_groups(reading=TEXTS, confidence=CONFIDENCE, machine=MACHINE_OF_LOADED)
def predict_command(
    classifier: ClassifierArgument,
    reading: Mapping[str, Any],
    confidence: Confidence,
    machine: Machine,
    data: OptionalData = None,
    text: Texts = None,
    out_file: OutFile = None,
    threshold: Annotated[float, typer.Option(help="Minimum probability of a label (task multi only).")] = 0.5,
) -> None:
    """Predict the labels of texts, with probabilities.

    Example: ulmkit predict my-classifier --text "A wonderful film."
    """
    import numpy as np

    from ulmkit.api import TextClassifier

    check_rows(PREDICTED, reading, out_file)
    model = TextClassifier.load(classifier, machine.run)
    limit_threads(machine.run)
    task = model.parts.task
    selective, conformal = confidence.classifiers(model)
    for promise in (selective and selective.selection, conformal and conformal.rule):
        if promise:
            print(promise.describe(), file=sys.stderr)
    counts: Counter[str] = Counter()
    chunks, record = open_texts(data, text, reading, model.task)
    with (
        open_rows(out_file, machine.json_file) as writer,
        document_progress(
            count_networks(model),
            lambda: count_texts(data, text, reading, model.task),
            prints_rows=out_file is None,
        ) as progress,
    ):
        for chunk in chunks:
            texts = [row.document.content for row in chunk]
            outputs = model.predict_proba(texts)
            if selective is None:
                answers = [{"label": label} for label in model.decide(outputs, texts, threshold=threshold)]
            else:
                answers = _abstaining(selective, np.asarray(outputs))
            if conformal is not None:
                for answer, chosen in zip(answers, conformal.decide(np.asarray(outputs)), strict=True):
                    answer["label_set"] = list(chosen)
            counts.update(task.count_answers([answer["label"] for answer in answers], model.labels))
            writer.write(
                [
                    {**fields, **answer, **task.answer_fields(output, model.labels), "text": document.text}
                    for answer, output, (fields, document) in zip(answers, outputs, chunk, strict=True)
                ]
            )
            progress.finish(len(chunk))
        summary: dict[str, Any] = {"texts": writer.count, "out": out_file, "reading": record}
        if counts:
            summary["labels"] = dict(counts)
        if selective is not None:
            summary |= {"abstained": writer.count - counts.total(), "selection": selective.selection}
        if conformal is not None:
            summary["conformal_sets"] = conformal.rule
        writer.finish(summary)
    if selective is not None:
        print(f"no label for {writer.count - counts.total():,} of {writer.count:,} texts", file=sys.stderr)


def _abstaining(selective: "SelectiveClassifier", outputs: "np.ndarray") -> list[dict[str, Any]]:
    """Fields of an answer for each text: the label, or None and why."""
    threshold = selective.selection.threshold
    reasons = [f"confidence {confidence:.4f} is not above {threshold:.4f}" for confidence in outputs.max(axis=1)]
    return [
        {"label": label, "abstained": reason if label is None else None}
        for label, reason in zip(selective.decide(outputs), reasons, strict=True)
    ]


@with_groups(reading=TEXTS_OF_TASK, machine=MACHINE)
def score_command(
    language_model: LanguageModelArgument,
    reading: Mapping[str, Any],
    machine: Machine,
    data: OptionalData = None,
    text: Texts = None,
    out_file: OutFile = None,
) -> None:
    """Compute the log-probability and perplexity of texts.

    Example: ulmkit score my-lm --text "A wonderful film."
    """
    from ulmkit.api import LanguageModel
    from ulmkit.text import NO_LABELS

    check_rows(SCORED, reading, out_file)
    model = LanguageModel.load(language_model, machine.run)
    say_forward_member(model)
    chunks, record = open_texts(data, text, reading, NO_LABELS.name)
    with (
        open_rows(out_file, machine.json_file) as writer,
        document_progress(
            1, lambda: count_texts(data, text, reading, NO_LABELS.name), prints_rows=out_file is None
        ) as progress,
    ):
        for chunk in chunks:
            scores = model.score(row.document.text for row in chunk)
            writer.write(
                [
                    {**fields, **score.to_dict(), "text": document.text}
                    for score, (fields, document) in zip(scores, chunk, strict=True)
                ]
            )
            progress.finish(len(chunk))
        writer.finish({"texts": writer.count, "out": out_file, "reading": record})


@with_groups(reading=TEXTS_ALONE, machine=MACHINE)
def embed_command(
    language_model: LanguageModelArgument,
    out_file: VectorFile,
    reading: Mapping[str, Any],
    machine: Machine,
    data: OptionalData = None,
    text: Texts = None,
) -> None:
    """Turn texts into vectors.

    A vector is made of the language model's states in every layer, in both directions for a pair. Row i of the file, an
    array for numpy.load, belongs to row i of DATA.

    Example: ulmkit embed my-lm reviews.csv --out vectors.npy
    """
    from ulmkit.api import LanguageModel
    from ulmkit.text import NO_LABELS

    check_extension(out_file, (".npy",))
    model = LanguageModel.load(language_model, machine.run)
    chunks, record = open_texts(data, text, reading, NO_LABELS.name)
    with (
        atomic_write(out_file, "wb") as file,
        document_progress(count_networks(model), lambda: count_texts(data, text, reading, NO_LABELS.name)) as progress,
    ):
        writer = VectorWriter(file)
        for chunk in chunks:
            writer.write(model.embed(row.document.text for row in chunk))
            progress.finish(len(chunk))
        writer.finish()
    print(f"{writer.count:,} vectors of {writer.size:,} numbers written to {out_file}")
    summary = {"texts": writer.count, "features": writer.size, "out": out_file, "reading": record}
    write_values(machine.json_file, summary)


@with_groups(
    options=OptionGroup("Generation", GenerationOptions, field_options(GenerationOptions)), machine=MACHINE_WITH_SEED
)
def generate_command(
    language_model: LanguageModelArgument,
    options: GenerationOptions,
    machine: Machine,
    prompt: Annotated[str, typer.Option(help="Text to continue.")] = "",
) -> None:
    """Continue a text with a language model.

    Example: ulmkit generate my-lm --prompt "The film" --samples 3
    """
    from ulmkit.api import LanguageModel

    model = LanguageModel.load(language_model, machine.run)
    say_forward_member(model)
    texts = model.generate(prompt, **asdict(options), seed=machine.run.seed)
    print("\n\n".join(texts))
    write_values(machine.json_file, {"model": language_model, "texts": len(texts), "generated": texts})
