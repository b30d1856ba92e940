"""One look for all figures, and their way to SVG: the same bytes for the same numbers."""

from __future__ import annotations

import io
import re
from collections.abc import Iterator
from contextlib import contextmanager
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

import matplotlib as mpl

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

FONTS = Path(__file__).parents[1] / "fonts"
FAMILIES = ["Unmask Sans", "Unmask Maths", "Unmask Shapes", "Unmask CJK"]
INK, QUIET, RULE = "#1d2733", "#66727f", "#d5dae0"
BASE, TUNED, NULL, ACCENT = "#2f6690", "#c8553d", "#9aa5b1", "#5b4b8a"
MARKS = {"base": "o", "tuned": "s", "null": "D"}
"""Colours are told apart by shape too, so that a black-and-white print says the same."""
SERIES = (BASE, TUNED, ACCENT, "#4c956c", "#b07d2b", "#66727f")
SHAPES = ("o", "s", "^", "D", "v", "P")
COMMENT = re.compile(r"\s*<!--.*?-->", re.DOTALL)
WIDTH = 6.7
"""Inches: the text column of the page."""
SETTINGS: dict[str, Any] = {
    "svg.hashsalt": "unmask",
    "svg.fonttype": "path",
    "text.parse_math": False,  # names with $ in them are names
    "font.family": FAMILIES,
    "font.size": 8,
    "axes.edgecolor": QUIET,
    "axes.labelcolor": INK,
    "axes.linewidth": 0.6,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.titlesize": 8.5,
    "axes.titleweight": 400,
    "axes.titlelocation": "left",
    "axes.unicode_minus": True,
    "axes.grid": True,
    "axes.axisbelow": True,
    "grid.color": RULE,
    "grid.linewidth": 0.4,
    "xtick.color": QUIET,
    "ytick.color": QUIET,
    "xtick.labelcolor": INK,
    "ytick.labelcolor": INK,
    "xtick.major.size": 2.5,
    "ytick.major.size": 2.5,
    "legend.frameon": False,
    "legend.fontsize": 7.5,
    "lines.linewidth": 1.3,
    "figure.constrained_layout.use": True,
}


@contextmanager
def look() -> Iterator[None]:
    """The settings, and the shipped fonts."""
    _register_fonts()
    with mpl.rc_context(SETTINGS):  # type: ignore[arg-type]  # its type names every setting
        yield


@cache
def _register_fonts() -> None:
    from matplotlib.font_manager import fontManager

    for path in sorted(FONTS.glob("Unmask*.[ot]tf")):
        fontManager.addfont(path)


def canvas(rows: int = 1, columns: int = 1, height: float = 2.5, **options: Any) -> tuple[Figure, Any]:
    """An empty figure of the page's width and its axes, as of `plt.subplots`, without global state."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(WIDTH, height))
    return figure, figure.subplots(rows, columns, **options)


def svg_of(figure: Figure) -> str:
    """The figure as SVG; no date, letters as outlines, and no comments: those would hold the texts again."""
    from matplotlib.backends.backend_svg import FigureCanvasSVG

    FigureCanvasSVG(figure)
    target = io.StringIO()
    figure.savefig(target, format="svg", metadata={"Date": None, "Creator": None})
    return COMMENT.sub("", target.getvalue())


def short(text: str, longest: int = 34) -> str:
    """A name that fits beside an axis: its middle goes."""
    from reports.text import clean

    said = clean(text)
    half = (longest - 1) // 2
    return said if len(said) <= longest else f"{said[:half]}…{said[-half:]}"


def zero_line(axes: Axes, *, vertical: bool = False) -> None:
    """A quiet line where nothing happened."""
    draw = axes.axvline if vertical else axes.axhline
    draw(0, color=QUIET, linewidth=0.7, zorder=1)
