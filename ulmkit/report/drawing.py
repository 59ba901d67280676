"""Elements that all plots share: frame, grid, notes, and an atomically written file.

Plots are drawn on `matplotlib.figure.Figure` without pyplot: no window, no global state, safe in any thread.
"""

import html
import io
import os
import re
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from ulmkit.cache_folder import default_cache, is_writable
from ulmkit.config import check_choice
from ulmkit.files import expand_user
from ulmkit.safe_writes import atomic_write

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
    """Write text beside a place.

    Args:
        axes: Axes to draw on.
        text: The text.
        place: Place in data coordinates; with `top`, y is relative to the frame, 1 at its top.
        shift: Distance of the text from the place, in points.
        top: Take y relative to the frame.
        horizontal: Alignment of the text.
    """
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
    """Label an axis of shares in percent."""
    from matplotlib.ticker import PercentFormatter

    axis.set_major_formatter(PercentFormatter(1.0, decimals=0))


def perplexity_axis(axes: "Axes") -> None:
    """Make the y axis logarithmic, with labels at 1, 1.5, 2, 3, 5 and 7 times each power of ten."""
    from matplotlib.ticker import LogLocator, NullFormatter, StrMethodFormatter

    axes.set_yscale("log")
    axes.yaxis.set_major_locator(LogLocator(subs=(1.0, 1.5, 2.0, 3.0, 5.0, 7.0)))
    axes.yaxis.set_major_formatter(StrMethodFormatter("{x:,.0f}"))
    axes.yaxis.set_minor_formatter(NullFormatter())


def tidy(axes: "Axes", grid: Literal["x", "y", "both"]) -> None:
    """Draw a plain frame with a faint grid behind the curves."""
    axes.spines[["top", "right"]].set_visible(False)
    axes.spines[["bottom", "left"]].set_color(TEXT)
    axes.set_axisbelow(True)
    axes.grid(axis=grid, color=_FAINT, linewidth=0.8)
    axes.tick_params(colors=TEXT, labelsize=9)
    axes.xaxis.label.set(color=TEXT, fontsize=10)
    axes.yaxis.label.set(color=TEXT, fontsize=10)


def check_plot_path(path: str | os.PathLike[str]) -> None:
    """Check that a file's suffix names a format of plots.

    Raises:
        ConfigError: If it does not.
    """
    check_choice("format", _format(path), _FORMATS)


def new_figure(path: str | os.PathLike[str], width: float, height: float) -> "Figure":
    """Make an empty figure with sizes in inches, and check the path before anything is drawn."""
    check_plot_path(path)
    return blank_figure(width, height)


def blank_figure(width: float, height: float) -> "Figure":
    """Make an empty figure with sizes in inches."""
    _choose_matplotlib_folder()
    from matplotlib.figure import Figure

    return Figure(figsize=(width, height), layout="constrained", facecolor="white")


def _choose_matplotlib_folder() -> None:
    """Let matplotlib keep its files in ulmkit's cache where the user's own folder cannot be written."""
    usual = expand_user(os.environ.get("XDG_CONFIG_HOME") or "~/.config") / "matplotlib"
    if "MPLCONFIGDIR" not in os.environ and "matplotlib" not in sys.modules and not is_writable(usual):
        os.environ["MPLCONFIGDIR"] = str(default_cache() / "matplotlib")


def _format(path: str | os.PathLike[str]) -> str:
    return Path(path).suffix.removeprefix(".").lower()


def save_figure(figure: "Figure", path: str | os.PathLike[str]) -> None:
    """Write a figure to a file, whole or not at all."""
    with atomic_write(path, "wb") as file:
        figure.savefig(file, format=_format(path), dpi=_DOTS_PER_INCH)


def svg_markup(figure: "Figure", name: str, description: str, colours: Mapping[str, str]) -> str:
    """Write a figure as an SVG element for a page of HTML, with text that takes the page's font.

    Args:
        figure: The figure.
        name: Prefix of the identifiers, another one for each figure of a page.
        description: What the figure shows, for those who do not see it.
        colours: Names of the page's CSS variables by the colours that they replace, such as "#333333".
    """
    from matplotlib import rc_context

    buffer = io.StringIO()
    with rc_context({"svg.fonttype": "none", "svg.hashsalt": name}):
        figure.savefig(
            buffer, format="svg", transparent=True, metadata=dict.fromkeys(("Date", "Creator", "Format", "Type"))
        )
    markup = buffer.getvalue()
    markup = markup[markup.index("<svg") :]
    markup = re.sub(r"<!--.*?-->\s*|<style.*?</style>\s*", "", markup, flags=re.DOTALL)  # a page has its own style
    markup = re.sub(r' xmlns(:\w+)?="[^"]*"| version="[^"]*"', "", markup)
    markup = re.sub(r'(\bid="|href="#|url\(#)', rf"\g<1>{name}-", markup)
    markup = re.sub(r"(font: [^;\"]*?\dpx) [^;\"]*", r"\1 sans-serif", markup)
    for colour, variable in colours.items():
        markup = markup.replace(colour, f"var({variable}, {colour})")
    width, height = (72.0 * inches for inches in figure.get_size_inches())
    opening = f'<svg role="img" viewBox="0 0 {width:g} {height:g}"><title>{html.escape(description)}</title>'
    return re.sub(r"<svg[^>]*>", lambda _: opening, markup, count=1).strip()
