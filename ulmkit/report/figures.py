"""Figures of the report on a classifier, as SVG for a page of HTML."""

from collections.abc import Mapping, Sequence
from math import nan
from typing import TYPE_CHECKING

from ulmkit.evaluation.metrics import ReliabilityBin
from ulmkit.report.drawing import TEXT, blank_figure, percent, svg_markup, tidy
from ulmkit.report.linear_models import CurvePoint
from ulmkit.report.plots import draw_label_curves

if TYPE_CHECKING:
    from matplotlib.axes import Axes

Interval = tuple[float, float]

CLASSIFIER_COLOUR = "#1f6fb4"
LINEAR_COLOURS = ("#c8500a", "#6a7f1f")

COLOURS = {
    TEXT: "--text",
    "#000000": "--text",
    "#e3e6e9": "--rule",
    CLASSIFIER_COLOUR: "--classifier",
    LINEAR_COLOURS[0]: "--linear",
    LINEAR_COLOURS[1]: "--vectors",
}
"""CSS variables of the page by the colours that they replace."""


def label_curve_svg(
    curves: Mapping[str, Sequence[CurvePoint]], name: str, labels: int, accuracy: float, interval: Interval
) -> str:
    """Draw accuracy by the number of labels: a curve for each linear model, a point for the classifier.

    Args:
        curves: Points of each linear model by its name.
        name: Name of the classifier.
        labels: Labels that it learned from.
        accuracy: Its accuracy.
        interval: Its 95% interval.
    """
    figure = blank_figure(7.2, 3.9)
    axes = figure.subplots()
    axes.errorbar(
        [labels],
        [100 * accuracy],
        yerr=[[100 * (accuracy - interval[0])], [100 * (interval[1] - accuracy)]],
        fmt="D",
        markersize=6,
        capsize=4,
        color=CLASSIFIER_COLOUR,
        label=f"{name}: {100 * accuracy:.1f}",
        zorder=3,
    )
    drawn = {
        model: [(each.labels, 100 * each.mean, 100 * each.deviation if each.draws > 1 else nan) for each in points]
        for model, points in curves.items()
    }
    draw_label_curves(axes, drawn, LINEAR_COLOURS)
    _legend_above(axes)
    axes.margins(x=0.08)
    axes.set_ylabel("accuracy in %")
    spoken = "; ".join(
        f"{model}: " + ", ".join(f"{point.mean:.1%} with {point.labels:,} labels" for point in points)
        for model, points in curves.items()
    )
    description = f"Accuracy by the number of labels. {spoken}; {name}: {accuracy:.1%} with {labels:,} labels."
    return svg_markup(figure, "labels", description, COLOURS)


def reliability_svg(bins: Mapping[str, Sequence[ReliabilityBin]]) -> str:
    """Draw a reliability diagram: accuracy over the probability of the predicted label.

    Args:
        bins: Bins of each model by its name, the classifier first.
    """
    figure = blank_figure(7.2, 4.4)
    axes = figure.subplots()
    tidy(axes, "both")
    axes.plot([0, 1], [0, 1], color=TEXT, linewidth=0.8, linestyle=":", label="perfect")
    for (name, filled), colour in zip(bins.items(), (CLASSIFIER_COLOUR, *LINEAR_COLOURS), strict=False):
        documents = sum(each.documents for each in filled)
        confidences, accuracies = [each.confidence for each in filled], [each.accuracy for each in filled]
        areas = [12 + 220 * each.documents / documents for each in filled]
        axes.plot(confidences, accuracies, color=colour, linewidth=1.3, label=name)
        axes.scatter(confidences, accuracies, s=areas, color=colour, alpha=0.6, linewidth=0)
    left = min(each.confidence for filled in bins.values() for each in filled)
    axes.set_xlim(max(0.0, left - 0.05), 1.02)
    axes.set_ylim(-0.02, 1.02)
    percent(axes.xaxis)
    percent(axes.yaxis)
    axes.set_xlabel("probability of the predicted label")
    axes.set_ylabel("share that is right")
    _legend_above(axes)
    first, filled = next(iter(bins.items()))
    spoken = ", ".join(f"{each.accuracy:.0%} right at {each.confidence:.0%}" for each in filled)
    return svg_markup(figure, "reliability", f"Reliability diagram. {first}: {spoken}.", COLOURS)


def _legend_above(axes: "Axes") -> None:
    """Put the legend where no curve can be."""
    axes.legend(
        frameon=False, loc="lower left", bbox_to_anchor=(0, 1), ncols=3, fontsize=9, labelcolor=TEXT, borderaxespad=0.3
    )
