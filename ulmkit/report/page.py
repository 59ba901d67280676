"""Page of HTML that shows the report on a classifier: one file, no scripts, nothing from outside."""

import os
import re
from collections.abc import Sequence

from ulmkit.report.classifier_report import ClassifierReport, ExplainedDocument, ModelScores
from ulmkit.report.figures import label_curve_svg, reliability_svg
from ulmkit.report.html_parts import STYLE, figure, interval, matrix, megabytes, percent, signed, speed, table, text
from ulmkit.report.running_curve import running_curve_svg
from ulmkit.report.snippets import Snippet, marked_words, shorten
from ulmkit.safe_writes import atomic_write

_BREAKS = re.compile(r"(?:<br\s*/?>\s*|<br$|^\s*/>)+", re.IGNORECASE)  # in texts from the web; some are cut in two
_MATRIX_CLASSES = 12
_CONFUSED_PAIRS = 12
_UNCERTAIN = "The two most probable labels are closest here. Labels for documents like these teach a classifier most."
_WRONG = "The prediction is wrong and its probability highest. Some of these labels may be mistakes in the data."
_LEGEND = (
    'Words that speak <mark class="for" style="--a:.25">for the prediction</mark> and '
    '<mark class="against" style="--a:.25">against it</mark>: {number}. Long texts are shortened around these words.'
)
_NUMBERS = {
    "occlusion": "the number is the change of its log-odds when the word is left out",
    "integrated-gradients": "the number is the part of its log-odds that the word accounts for (integrated gradients)",
}
_LINEAR_NOTES = (
    "TF-IDF + logistic regression counts words and word pairs of the text as it was written, as ulmkit evaluate does; "
    "its strength is chosen on held-out training documents, once for all numbers of labels.",
    "Document vectors are learned from all training text, labelled or not, without a language model; ulmkit train none "
    "DATA --method linear makes a classifier of them.",
    "A gain is paired: both models answer the same documents. The verdict is for the classifier only if the whole "
    "interval is above 0, or, if it is linear itself, unless the whole interval is below 0.",
    "The size of TF-IDF is that of its n-grams as text and its weights as float32; other sizes are those of model "
    "folders.",
)


def write_report(report: ClassifierReport, path: str | os.PathLike[str]) -> None:
    """Write the page to a file, whole or not at all.

    Args:
        report: Result of `report_on`.
        path: File to write.

    Raises:
        FolderError: If the file cannot be written.
    """
    with atomic_write(path) as file:
        file.write(report_page(report))


def report_page(report: ClassifierReport) -> str:
    """Write the page as a complete document of HTML."""
    sections = [
        ("accuracy", "Accuracy", _accuracy(report)),
        ("labels", "How many labels", _label_curve(report)),
        ("confusion", "What is confused", _confusion(report.classifier)),
        ("calibration", "Can its probabilities be trusted?", _calibration(report)),
        ("uncertain", "Documents it is least sure of", _documents(report, report.uncertain, _UNCERTAIN)),
        ("wrong", "Documents it is surely wrong about", _documents(report, report.wrong, _WRONG)),
        ("cost", "Speed and size", _cost(report)),
        ("ladder", "Rungs that were tried", _ladder(report)),
        ("method", "How this was measured", _method(report)),
    ]
    shown = [section for section in sections if section[2]]
    links = "".join(f'<li><a href="#{place}">{text(heading)}</a></li>' for place, heading, _ in shown)
    bodies = "".join(
        f'<section aria-labelledby="{place}">\n<h2 id="{place}">{text(heading)}</h2>\n{body}</section>\n'
        for place, heading, body in shown
    )
    title = text(f"Report on {report.name}")
    return (
        '<!DOCTYPE html>\n<html lang="en">\n<head>\n<meta charset="utf-8">\n'
        '<meta name="viewport" content="width=device-width, initial-scale=1">\n'
        f"<title>{title}</title>\n<style>{STYLE}</style>\n</head>\n<body>\n<main>\n<header>\n<h1>{title}</h1>\n"
        f'<p class="verdict">{text(report.verdict.sentence)}</p>\n'
        f'<p class="soft">Scored on {text(report.scored_on)}.</p>\n'
        f'<nav aria-label="Sections"><ul>{links}</ul></nav>\n</header>\n{bodies}</main>\n</body>\n</html>\n'
    )


def _models(report: ClassifierReport) -> list[ModelScores]:
    return [report.classifier, *report.linear]


def _accuracy(report: ClassifierReport) -> str:
    rows: list[tuple[object, ...]] = []
    for model in _models(report):
        gain = "–"
        if model.comparison is not None:
            low, high = (signed(100 * value) for value in model.comparison.interval)
            gain = f"{signed(100 * model.comparison.difference)} ({low} to {high})"
        scores = model.report
        f1 = "–" if scores.macro_f1 is None else percent(scores.macro_f1)
        rows.append((model.name, percent(scores.accuracy), interval(*scores.accuracy_interval), f1, gain))
    scores = report.classifier.report
    rows.append((f"always “{scores.majority_label}”", percent(scores.majority_accuracy), "–", "–", "–"))
    caption = f"On {scores.documents:,} documents"
    if report.linear:
        caption += f"; the last column is what {report.name} gains on the same ones, in points, with its 95% interval"
    header = ("model", "accuracy", "95% interval", "macro F1", "gain")
    body = f"<p>The classifier is {text(report.made_of)}.</p>\n" + table(caption, header, rows)
    if report.linear:
        body += f'<p class="soft">The linear models were fitted to the {text(report.fitted_to)}.</p>\n'
    return body


def _label_curve(report: ClassifierReport) -> str:
    if not report.curves:
        return ""
    scores = report.classifier.report
    svg = label_curve_svg(report.curves, report.name, report.labels, scores.accuracy, scores.accuracy_interval)
    draws = max(point.draws for points in report.curves.values() for point in points)
    drawn = f"mean of {draws} draws, with a band of one standard deviation between them" if draws > 1 else "one draw"
    caption = (
        f"Linear models with fewer of the labels: {drawn}; the last point has all {report.labels:,} labels, once. The "
        f"diamond is {report.name} with its 95% interval."
    )
    counts = [point.labels for point in next(iter(report.curves.values()))]
    rows = []
    for name, points in report.curves.items():
        spreads = [f" ± {100 * point.deviation:.1f}" if point.draws > 1 else "" for point in points]
        means = [f"{100 * point.mean:.1f}{spread}" for point, spread in zip(points, spreads, strict=True)]
        rows.append((name, *means))
    header = ("model", *(f"{count:,}" for count in counts))
    return (
        f"{figure(svg, caption)}{table('Accuracy in % by the number of labels', header, rows)}"
        f'<p class="soft">There is one point for {text(report.name)}: others would take a training each. Where a curve '
        "still rises, more labels help.</p>\n"
    )


def _confusion(model: ModelScores) -> str:
    names = [each.name for each in model.report.classes]
    confusion = model.report.confusion
    if len(names) <= _MATRIX_CLASSES:
        return matrix("A row for each true label, a column for each prediction", "true \\ predicted", names, confusion)
    pairs = [
        (count, truth, answer)
        for truth, row in enumerate(confusion)
        for answer, count in enumerate(row)
        if truth != answer and count
    ]
    pairs.sort(key=lambda pair: (-pair[0], pair[1], pair[2]))
    if not pairs:
        return "<p>Nothing: every document is labelled rightly.</p>\n"
    rows = [
        (f"{names[truth]} → {names[answer]}", f"{count:,}", percent(count / sum(confusion[truth])))
        for count, truth, answer in pairs[:_CONFUSED_PAIRS]
    ]
    header = ("true label → prediction", "documents", "share of the label")
    return table(f"The pairs of labels, of {len(names)} labels, that are confused most often", header, rows)


def _calibration(report: ClassifierReport) -> str:
    svg = reliability_svg({model.name: model.reliability for model in _models(report)[:2]})
    caption = (
        "Points on the dotted line are right as often as they claim; below it a model is too sure. Larger points stand "
        "for more documents."
    )
    rows = [
        (model.name, f"{100 * model.report.calibration_error:.1f}", f"{model.report.negative_log_likelihood:.3f}")
        for model in _models(report)
    ]
    measure = "Expected calibration error: mean distance of accuracy and probability, in points, over 15 bins"
    return figure(svg, caption) + table(measure, ("model", "calibration error", "log-loss"), rows)


def _documents(report: ClassifierReport, documents: Sequence[ExplainedDocument], introduction: str) -> str:
    if not documents:
        return "<p>There are none.</p>\n"
    legend = _LEGEND.format(number=_NUMBERS[report.method])
    return f'<p>{text(introduction)}</p>\n<p class="soft">{legend}</p>\n' + "".join(map(_document, documents))


def _document(document: ExplainedDocument) -> str:
    label = document.explanation.label
    if label == document.label:
        heading = f"Predicted and labelled “{label}” ({percent(document.probability, 0)})"
    else:
        of_label = percent(document.label_probability, 0)
        heading = f"Predicted “{label}” ({percent(document.probability, 0)}), labelled “{document.label}” ({of_label})"
    quoted = "".join(map(_snippet, shorten(document.text, document.explanation))) or "(no text)"
    marked = marked_words(document.explanation)
    sides = []
    for name, sign in (("For the prediction", 1.0), ("Against it", -1.0)):
        words = [f"{word.word} {signed(word.weight or 0.0, 2)}" for word in marked if (word.weight or 0.0) * sign > 0]
        if words:
            sides.append(f"{name}: {', '.join(words)}.")
    written = " ".join(sides) or "No single word moves the prediction."
    return (
        f"<article>\n<h3>{text(heading)}</h3>\n<blockquote>{quoted}</blockquote>\n"
        f'<p class="soft">{text(written)}</p>\n{_running(document)}</article>\n'
    )


def _running(document: ExplainedDocument) -> str:
    """The curve of a document's probabilities, if the classifier can read on."""
    if document.running is None or len(document.running.words) < 2:
        return ""
    predicted = document.explanation.label
    caption = f"Probability of “{predicted}” as the text is read"
    if document.label != predicted:
        caption += f"; dashed, that of its label “{document.label}”"
    return figure(running_curve_svg(document.running, predicted, document.label), caption)


def _snippet(snippet: Snippet) -> str:
    if snippet.is_gap:
        return " … "
    if snippet.weight is None:
        return text(_BREAKS.sub("\n", snippet.text))
    kind = "for" if snippet.weight > 0 else "against"
    return f'<mark class="{kind}" style="--a:{0.1 + 0.35 * abs(snippet.weight):.2f}">{text(snippet.text)}</mark>'


def _cost(report: ClassifierReport) -> str:
    rows = [(each.name, speed(each.documents_per_second), megabytes(each.size_bytes)) for each in _models(report)]
    caption = f"Documents labelled in a second, tokenization included ({report.machine}), and size on disk"
    return table(caption, ("model", "documents per second", "size"), rows)


def _ladder(report: ClassifierReport) -> str:
    if report.ladder is None:
        return ""
    rows = [
        (
            f"{row.name} (kept)" if row.is_kept else row.name,
            f"{100 * row.accuracy:.1f} ± {100 * row.standard_error:.1f}",
            f"{row.loss:.3f}",
            f"{row.minutes:.1f}",
        )
        for row in report.ladder.rows
    ]
    caption = (
        f"As they were judged in training ({report.ladder.judged_on}). The cheapest kind whose best rung is "
        "within one standard error of the best of all is chosen, and of that kind the last rung within two standard "
        "errors of its best is kept"
    )
    gain = report.ladder.language_model
    sentence = "" if gain is None else f"<p>{text(gain.describe())}</p>\n"
    return table(caption, ("rung", "accuracy in %", "log-loss", "minutes"), rows) + sentence


def _method(report: ClassifierReport) -> str:
    lines = (*report.notes, *(_LINEAR_NOTES if report.linear else ()))
    items = "".join(f"<li>{text(line)}</li>" for line in lines)
    return f"<ul>{items}</ul>\n" if items else ""
