"""What every figure has in common: a plain frame, faint lines, notes, and a file that is whole or not there.

Drawn on `matplotlib.figure.Figure` without pyplot: no window, no global state, safe in any thread and on a server.
"""

import os
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from ulmkit.config import check_choice
from ulmkit.files import atomic_write

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.axis import Axis
    from matplotlib.figure import Figure

TEXT = "#333333"
_FORMATS = ("png", "svg", "pdf")
_DOTS_PER_INCH = 150
_FAINT = "#e3e6e9"


def note(
    axes: "Axes",
    text: str,
    place: tuple[float, float],
    shift: tuple[float, float],
    *,
    top: bool = False,
    horizontal: Literal["left", "right"] = "left",
) -> None:
    """Text beside a place, `shift` points away. place: in data coordinates; with `top`, y is 1 at the frame's top."""
    axes.annotate(
        text,
        place,
        xycoords=("data", "axes fraction") if top else "data",
        xytext=shift,
        textcoords="offset points",
        horizontalalignment=horizontal,
        fontsize=9,
        color=TEXT,
        bbox={"facecolor": "white", "edgecolor": "none", "pad": 0.5, "alpha": 0.8},
    )


def percent(axis: "Axis") -> None:
    from matplotlib.ticker import PercentFormatter

    axis.set_major_formatter(PercentFormatter(1.0, decimals=0))


def perplexity_axis(axes: "Axes") -> None:
    """A logarithmic axis with whole numbers at 1, 1.5, 2, 3, 5 and 7 times each power of ten."""
    from matplotlib.ticker import LogLocator, NullFormatter, StrMethodFormatter

    axes.set_yscale("log")
    axes.yaxis.set_major_locator(LogLocator(subs=(1.0, 1.5, 2.0, 3.0, 5.0, 7.0)))
    axes.yaxis.set_major_formatter(StrMethodFormatter("{x:,.0f}"))
    axes.yaxis.set_minor_formatter(NullFormatter())


def tidy(axes: "Axes", grid: Literal["x", "y", "both"]) -> None:
    """A plain frame with faint lines behind the drawing."""
    axes.spines[["top", "right"]].set_visible(False)
    axes.set_axisbelow(True)
    axes.grid(axis=grid, color=_FAINT, linewidth=0.8)
    axes.tick_params(colors=TEXT, labelsize=9)
    axes.xaxis.label.set(color=TEXT, fontsize=10)
    axes.yaxis.label.set(color=TEXT, fontsize=10)


def check_plot_path(path: str | os.PathLike[str]) -> None:
    """Raise ConfigError unless the file's suffix names a format that figures can have."""
    check_choice("format", _format(path), _FORMATS)


def new_figure(path: str | os.PathLike[str], width: float, height: float) -> "Figure":
    """An empty figure, sizes in inches. The path is checked here, before anything is drawn."""
    from matplotlib.figure import Figure

    check_plot_path(path)
    return Figure(figsize=(width, height), layout="constrained", facecolor="white")


def _format(path: str | os.PathLike[str]) -> str:
    return Path(path).suffix.removeprefix(".").lower()


def save_figure(figure: "Figure", path: str | os.PathLike[str]) -> None:
    with atomic_write(path, "wb") as file:
        figure.savefig(file, format=_format(path), dpi=_DOTS_PER_INCH)
