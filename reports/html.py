"""A report as one web page: no script, nothing fetched, every text escaped, figures inside."""

from __future__ import annotations

import re
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING

from reports.model import Picture, Report
from reports.ours import HTML_MARK
from reports.text import MARK

if TYPE_CHECKING:
    from jinja2 import Template
    from markupsafe import Markup

TEMPLATES = Path(__file__).parent / "template"
VERDICTS = {
    "UNCHANGED": "=", "MASKED": "■", "LATENT": "▲", "ERASED": "○", "INDUCED": "◆", "INCONCLUSIVE": "?",
}  # fmt: skip
"""Signs beside the words, as in the PDF: the verdict shows without colour."""
IDS = re.compile(r'\b(id="|href="#|url\(#)')


def html_of(report: Report) -> str:
    """The page as text."""
    from markupsafe import Markup

    css = (TEMPLATES / "report.css").read_text(encoding="utf-8")
    ours = {"css": Markup(css), "html_mark": Markup(HTML_MARK)}  # noqa: S704  # of this package, not of a run
    return _template().render(report=report, figure=_figure, mark=MARK, verdicts=VERDICTS, **ours)


@cache
def _template() -> Template:
    from jinja2 import Environment, FileSystemLoader, StrictUndefined

    environment = Environment(
        loader=FileSystemLoader(TEMPLATES), autoescape=True, undefined=StrictUndefined, trim_blocks=True
    )
    return environment.get_template("report.html.j2")


def _figure(picture: Picture) -> Markup:
    """The SVG with a title and a description of its own, its ids apart from those of the other figures."""
    from markupsafe import Markup

    body = picture.svg[picture.svg.index("<svg") :]
    start = body.index(">") + 1
    head = re.sub(r'\s(?:width|height)="[^"]*"', "", body[:start])
    inner = re.sub(r"<metadata>.*?</metadata>", "", body[start:], count=1, flags=re.DOTALL)
    inner = IDS.sub(lambda found: f"{found[1]}{picture.name}-", inner)
    title, said = (Markup("<{0}>{1}</{0}>").format(tag, text) for tag, text in _names(picture))
    label = Markup(' role="img" aria-label="{}">').format(picture.title)
    # Markup: the drawing is matplotlib's, with letters as outlines, so no text of the run is in it.
    return Markup(head[:-1]) + label + title + said + Markup(inner)  # noqa: S704


def _names(picture: Picture) -> tuple[tuple[str, str], tuple[str, str]]:
    return ("title", picture.title), ("desc", picture.alt)
