"""Plots of training curves, of scores, and of the search for a learning rate.

Each function writes one file, whole or not at all; its suffix names the format (.png, .svg or .pdf).
"""

import os
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

import numpy as np

from ulmkit.errors import DataError, did_you_mean
from ulmkit.report.curves import Histories, Panel, Point, StageCurves, panels
from ulmkit.report.drawing import TEXT, new_figure, note, percent, perplexity_axis, save_figure, tidy

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure, SubFigure
    from matplotlib.lines import Line2D

Interval = tuple[float, float]

_TRAINING, _VALIDATION, _FIRST, _OTHERS = "#7fa8d1", "#c8500a", "#1f6fb4", "#aeb6bd"
_WIDE, _BAR_INCHES = 7.2, 0.45


def plot_training(histories: Histories, path: str | os.PathLike[str]) -> None:
    """Plot training and validation curves of consecutive stages over minutes.

    Args:
        histories: Rows of the training log of each stage (see `curves.panels`).
        path: File to write.

    Raises:
        DataError: If there is nothing to show.
        ConfigError: If the format is unknown.
        FolderError: If the file cannot be written.
    """
    curve_panels = panels(histories)
    figure = new_figure(path, width=max(_WIDE, 4.2 * len(curve_panels)), height=3.8)
    _draw_panels(figure, curve_panels)
    save_figure(figure, path)


def plot_runs(runs: Mapping[str, Sequence[Point]], path: str | os.PathLike[str]) -> None:
    """Plot validation perplexity over minutes of several runs on the same axes.

    Args:
        runs: (minutes since the start, perplexity) of each run by name, in order of time.
        path: File to write.

    Raises:
        DataError: If there are no runs, or one has no points.
        ConfigError: If the format is unknown.
        FolderError: If the file cannot be written.
    """
    if not runs:
        raise DataError("runs: expected at least one, got none")
    for name, points in runs.items():
        if not points:
            raise DataError(f"runs: expected validations of {name!r}, got none; let it train until its first")
    figure = new_figure(path, width=_WIDE, height=4.2)
    axes = figure.subplots()
    tidy(axes, "both")
    perplexity_axis(axes)
    for name, points in runs.items():
        axes.plot(*zip(*points, strict=True), "o-", markersize=3, linewidth=1.5, label=f"{name}: {points[-1][1]:.1f}")
    axes.set_xlim(left=0)
    axes.set_xlabel("minutes since the start")
    axes.set_ylabel("validation perplexity")
    axes.legend(frameon=False, loc="upper right", fontsize=9, labelcolor=TEXT, title="last value", title_fontsize=9)
    save_figure(figure, path)


def plot_comparison(
    scores: Mapping[str, float],
    path: str | os.PathLike[str],
    *,
    intervals: Mapping[str, Interval] | None = None,
    measure: str = "accuracy",
    title: str = "",
) -> None:
    """Plot scores between 0 and 1 as bars with their 95% intervals; the first bar is highlighted.

    Args:
        scores: Scores by name, from top to bottom.
        path: File to write.
        intervals: (low, high) for some or all of the names.
        measure: Name of the scores.
        title: Line above the bars, such as the numbers of labels and documents.

    Raises:
        DataError: If there are no scores, a score is outside 0..1, or an interval has no bar or does not contain its
            score.
        ConfigError: If the format is unknown.
        FolderError: If the file cannot be written.
    """
    _check_scores(scores, intervals or {})
    figure = new_figure(path, width=_WIDE, height=1.1 + _BAR_INCHES * len(scores))
    _draw_bars(figure.subplots(), scores, intervals or {}, measure, title)
    save_figure(figure, path)


def plot_quickstart(
    histories: Histories,
    scores: Mapping[str, Mapping[str, float]],
    path: str | os.PathLike[str],
    *,
    intervals: Mapping[str, Mapping[str, Interval]] | None = None,
    title: str = "",
) -> None:
    """Plot training curves above comparisons of accuracy.

    Args:
        histories: Rows of the training log of each stage (see `curves.panels`).
        scores: Accuracies by name for each comparison, which has a name such as "100 labels".
        path: File to write.
        intervals: (low, high) by name for each comparison.
        title: Line above everything.

    Raises:
        DataError: If there is nothing to show, or scores or intervals are not valid.
        ConfigError: If the format is unknown.
        FolderError: If the file cannot be written.
    """
    curve_panels = panels(histories)
    intervals = intervals or {}
    if not scores:
        raise DataError("scores: expected at least one comparison, got none")
    for name in intervals:
        if name not in scores:
            raise DataError(f"intervals: no comparison is named {name!r}; {did_you_mean(name, scores)}")
    for name, bars in scores.items():
        _check_scores(bars, intervals.get(name, {}))
    heights = [3.8, 1.1 + _BAR_INCHES * max(map(len, scores.values()))]
    figure = new_figure(path, width=max(10.0, 4.2 * len(curve_panels), 5.0 * len(scores)), height=sum(heights) + 0.3)
    upper, lower = figure.subfigures(2, 1, height_ratios=heights, hspace=0.03, squeeze=False)[:, 0]
    _draw_panels(upper, curve_panels)
    for axes, (name, bars) in zip(lower.subplots(1, len(scores), squeeze=False)[0], scores.items(), strict=True):
        _draw_bars(axes, bars, intervals.get(name, {}), "accuracy on held-out documents", name)
    if title:
        figure.suptitle(title, fontsize=12, color=TEXT)
    save_figure(figure, path)


def plot_label_curves(
    curves: Mapping[str, Sequence[tuple[int, float, float]]],
    path: str | os.PathLike[str],
    *,
    measure: str = "accuracy in %,\nmean over the draws and their standard deviation",
) -> None:
    """Plot a score by the number of labels, with a band of one standard deviation.

    Args:
        curves: (labels, mean, standard deviation) of each curve by name, fewest labels first.
        path: File to write.
        measure: Label of the axis.

    Raises:
        DataError: If there are no curves, or one has no points.
        ConfigError: If the format is unknown.
        FolderError: If the file cannot be written.
    """
    if not curves or not all(curves.values()):
        raise DataError("curves: expected at least one point of each, got none")
    figure = new_figure(path, width=_WIDE, height=4.2)
    axes = figure.subplots()
    draw_label_curves(axes, curves)
    axes.set_ylabel(measure)
    save_figure(figure, path)


def draw_label_curves(
    axes: "Axes", curves: Mapping[str, Sequence[tuple[int, float, float]]], colours: Sequence[str] = ()
) -> None:
    """Draw a score by the number of labels; see `plot_label_curves`.

    Args:
        axes: Axes to draw on.
        curves: (labels, mean, standard deviation) of each curve by name, fewest labels first.
        colours: Colours of the first curves; the others take matplotlib's.
    """
    tidy(axes, "both")
    axes.set_xscale("log")
    for number, (name, points) in enumerate(curves.items()):
        labels, means, deviations = (np.array(column) for column in zip(*points, strict=True))
        colour = colours[number] if number < len(colours) else None
        (line,) = axes.plot(
            labels, means, "o-", markersize=3, linewidth=1.5, color=colour, label=f"{name}: {means[-1]:.1f}"
        )
        axes.fill_between(
            labels, means - deviations, means + deviations, color=line.get_color(), alpha=0.15, linewidth=0
        )
    counts = sorted({count for points in curves.values() for count, _, _ in points})
    axes.set_xticks(counts, [f"{count:,}" for count in counts])
    axes.minorticks_off()
    axes.set_xlabel("labels")
    axes.legend(frameon=False, loc="lower right", fontsize=9, labelcolor=TEXT, title="last value", title_fontsize=9)


def plot_lr_find(
    rates: Sequence[float],
    losses: Sequence[float],
    suggestions: Mapping[str, float],
    path: str | os.PathLike[str],
    *,
    smoothed: Sequence[float] | None = None,
) -> None:
    """Plot the loss over a rising learning rate, with suggested rates marked.

    Args:
        rates: Rising learning rates above 0.
        losses: Loss at each rate.
        suggestions: Suggested rates by name.
        path: File to write.
        smoothed: Running means of the losses.

    Raises:
        DataError: If there are no rates, or not one loss for each.
        ConfigError: If the format is unknown.
        FolderError: If the file cannot be written.
    """
    for name, values in (("losses", losses), ("smoothed", losses if smoothed is None else smoothed)):
        if not rates or len(values) != len(rates):
            raise DataError(
                f"{name}: expected one for each of the rates, at least one; got {len(values)}, {len(rates)}"
            )
    figure = new_figure(path, width=_WIDE, height=4.0)
    axes = figure.subplots()
    tidy(axes, "both")
    axes.plot(rates, losses, color=_TRAINING, linewidth=1, label="each step")
    if smoothed is not None:
        axes.plot(rates, smoothed, color=_VALIDATION, linewidth=2, label="running mean")
        axes.legend(frameon=False, loc="lower left", fontsize=9, labelcolor=TEXT)
    axes.set_xscale("log")
    axes.set_xlabel("learning rate")
    axes.set_ylabel("training loss")
    axes.set_ylim(*_range_without_divergence(losses if smoothed is None else smoothed))
    for number, (name, rate) in enumerate(sorted(suggestions.items(), key=lambda item: item[1])):
        axes.axvline(rate, color=TEXT, linewidth=1, linestyle="--")
        note(axes, f"{name}: {rate:.1e}", (rate, 1), (4, -13 - 15 * number), top=True)
    save_figure(figure, path)


def _range_without_divergence(losses: Sequence[float]) -> Interval:
    """Limits of the loss that show its fall large; a loss far above its start leaves the frame."""
    lowest = min(losses)
    start = losses[0]
    fall = max(start - lowest, 0.05 * abs(start), 1e-9)
    return lowest - 0.2 * fall, start + 0.6 * fall


def _check_scores(scores: Mapping[str, float], intervals: Mapping[str, Interval]) -> None:
    if not scores:
        raise DataError("scores: expected at least one, got none")
    for name, score in scores.items():
        if not 0.0 <= score <= 1.0:
            raise DataError(f"scores: expected {name!r} between 0 and 1, got {score!r}")
    for name, (low, high) in intervals.items():
        if name not in scores:
            raise DataError(f"intervals: no score is named {name!r}; {did_you_mean(name, scores)}")
        if not low <= scores[name] <= high:
            raise DataError(
                f"intervals: expected that of {name!r} to contain {scores[name]!r}, got ({low!r}, {high!r})"
            )


def _draw_panels(figure: "Figure | SubFigure", curve_panels: Sequence[Panel]) -> None:
    for axes, panel in zip(figure.subplots(1, len(curve_panels), squeeze=False)[0], curve_panels, strict=True):
        _draw_panel(axes, panel)


def _draw_panel(axes: "Axes", panel: Panel) -> None:
    """Draw curves of consecutive stages over the minutes of the whole run; names mark the stages' starts."""
    tidy(axes, "y")
    if panel.logarithmic:
        perplexity_axis(axes)
    curves: dict[str, Line2D] = {}
    for number, stage in enumerate(panel.stages):
        curves |= _draw_stage(axes, stage, panel.is_share)
        # Alternate names between two rows: those of short stages would overlap.
        note(axes, stage.name, (stage.start, 1), (3, 4 + 12 * (number % 2)), top=True)
        if number:
            axes.axvline(stage.start, color=TEXT, linewidth=0.8, linestyle=":")
    if panel.stages[-1].stop > panel.stages[0].start:
        axes.set_xlim(panel.stages[0].start, panel.stages[-1].stop)
    if panel.is_share:
        percent(axes.yaxis)
        axes.set_ylim(0, 1)
    axes.set_xlabel("minutes since the start")
    axes.set_ylabel(panel.axis)
    axes.legend(list(curves.values()), list(curves), frameon=False, loc="upper right", fontsize=9, labelcolor=TEXT)


def _draw_stage(axes: "Axes", stage: StageCurves, is_share: bool) -> "dict[str, Line2D]":
    """Draw a stage's curves and the value of its last validation, and return the curves by name."""
    curves: dict[str, Line2D] = {}
    if stage.training:
        (curves["training"],) = axes.plot(*zip(*stage.training, strict=True), color=_TRAINING, linewidth=1.3)
    if stage.validation:
        points = zip(*stage.validation, strict=True)
        (curves["validation"],) = axes.plot(*points, "o-", color=_VALIDATION, markersize=4, linewidth=1.6)
        last = stage.validation[-1][1]
        value = f"{last:.1%}" if is_share else f"{last:,.0f}" if last >= 100 else f"{last:.3g}"
        note(axes, value, stage.validation[-1], (-4, 6), horizontal="right")
    return curves


def _draw_bars(
    axes: "Axes", scores: Mapping[str, float], intervals: Mapping[str, Interval], measure: str, title: str
) -> None:
    """Draw horizontal bars, the first score on top, each with its value, and its interval as a thin line."""
    tidy(axes, "x")
    names = list(scores)
    places = range(len(names))
    axes.barh(places, list(scores.values()), height=0.62, color=[_FIRST] + [_OTHERS] * (len(names) - 1))
    for place, name in enumerate(names):
        score = scores[name]
        low, high = intervals.get(name, (score, score))
        if name in intervals:
            axes.plot([low, high], [place, place], color=TEXT, linewidth=1.4, marker="|", markersize=7)
        inside = high > 0.85
        axes.text(
            min(low, score) - 0.015 if inside else high + 0.015,
            place,
            f"{score:.1%}",
            va="center",
            ha="right" if inside else "left",
            fontsize=10,
            color="white" if inside and place == 0 else TEXT,
        )
    axes.set_yticks(places, names)
    axes.set_ylim(len(names) - 0.5, -0.5)
    axes.set_xlim(0, 1)
    percent(axes.xaxis)
    axes.set_xlabel(f"{measure} (line: 95% interval)" if intervals else measure)
    axes.set_title(title, fontsize=10, color=TEXT, loc="left")
