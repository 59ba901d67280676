"""Plot of `frontier.py`: accuracy against documents a second, a panel for each number of labels of each data set."""

import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from ulmkit.report.drawing import TEXT, new_figure, save_figure, tidy

Point = tuple[float, float]
"""Documents a second, and accuracy in percent."""

COLUMNS = 3
PANEL_INCHES = (4.6, 3.4)
OURS = "#c8500a"
OTHERS = "#1f6fb4"
LEADER = "#aeb6bd"
LINE_HEIGHT = 0.075
"""Height of a line of text, as a share of a panel's."""


def plot_frontier(panels: Mapping[str, Mapping[str, Point]], path: str | Path) -> None:
    """Draw a panel for each title; names stand at its right, in the order of accuracy, with a line to their point."""
    columns = min(COLUMNS, len(panels))
    lines = math.ceil(len(panels) / columns)
    figure = new_figure(path, PANEL_INCHES[0] * columns, PANEL_INCHES[1] * lines)
    grid = figure.subplots(lines, columns, squeeze=False).ravel()
    for axes, (title, points) in zip(grid, panels.items(), strict=False):
        _draw(axes, title, points)
    for axes in grid[len(panels) :]:
        axes.set_visible(False)
    save_figure(figure, path)


def _draw(axes: Any, title: str, points: Mapping[str, Point]) -> None:
    from matplotlib.ticker import FuncFormatter, LogLocator, NullFormatter

    tidy(axes, "both")
    axes.set_title(title, fontsize=10, color=TEXT, loc="left")
    axes.set_xscale("log")
    speeds = [speed for speed, _ in points.values()]
    axes.xaxis.set_major_locator(LogLocator(subs=(1.0, 2.0, 5.0) if max(speeds) < 100 * min(speeds) else (1.0,)))
    axes.xaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:,.10g}"))
    axes.xaxis.set_minor_formatter(NullFormatter())
    axes.set_xlabel("documents a second")
    axes.set_ylabel("accuracy, %")
    for name, (speed, accuracy) in points.items():
        axes.plot(speed, accuracy, "o", markersize=6, color=_color(name))
    axes.margins(0.08)
    axes.set_xlim(min(speeds) / 2, max(speeds) * 2)
    low, high = axes.get_ylim()
    names = sorted(points, key=lambda name: points[name][1])
    heights = spread([(points[name][1] - low) / (high - low) for name in names], LINE_HEIGHT)
    for name, height in zip(names, heights, strict=True):
        axes.annotate(
            name,
            points[name],
            xytext=(1.04, height),
            textcoords="axes fraction",
            verticalalignment="center",
            fontsize=8.5,
            color=_color(name),
            annotation_clip=False,
            arrowprops={"arrowstyle": "-", "color": LEADER, "linewidth": 0.7, "shrinkA": 2, "shrinkB": 4},
        )


def _color(name: str) -> str:
    return OURS if name.startswith("ulmkit") else OTHERS


def spread(heights: Sequence[float], gap: float) -> list[float]:
    """Move ascending heights apart to at least `gap`, within 0 to 1 where they fit, each as little as is simple."""
    placed: list[float] = []
    for height in heights:
        placed.append(max(height, placed[-1] + gap) if placed else height)
    limit = max(1.0, gap * (len(heights) - 1))
    for index in reversed(range(len(placed))):
        placed[index] = min(placed[index], limit)
        limit = placed[index] - gap
    return placed
