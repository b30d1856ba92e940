"""A report as data: `audit report --format json`, and what the PDF template reads.

The document is `{"format": 1, "run", "title", "kind", "subject", "created", "manifest", "miniature",
"made_with", "sections"}`; a section is `{"name", "title", "question", "blocks"}`; a block has a `type`
(paragraph, bullets, heading, facts, table, picture, card, notice) and the fields of that class in
`reports.model`. A line is a list of spans `{"text", "style", "key"}`; `key` is the number of the claim in
claims.json (from 1) that the text says, or null.
"""

from __future__ import annotations

import json
from dataclasses import fields, is_dataclass
from typing import Any

from reports.model import Picture, Report

FORMAT = 1


def report_json(report: Report, *, figures: bool = True) -> str:
    """The whole report as JSON text; without figures, each is named by the SHA-256 of its SVG alone."""
    return json.dumps(
        {"format": FORMAT, **as_data(report, figures)}, indent=1, ensure_ascii=False, allow_nan=False
    )


def as_data(value: Any, figures: bool = True) -> Any:
    """Dataclasses to objects with a `type`, tuples to lists."""
    if isinstance(value, Picture):
        return _picture(value, figures)
    if is_dataclass(value) and not isinstance(value, type):
        found = {field.name: as_data(getattr(value, field.name), figures) for field in fields(value)}
        return found if type(value).__name__ in PLAIN else {"type": type(value).__name__.lower(), **found}
    if isinstance(value, tuple | list):
        return [as_data(one, figures) for one in value]
    return value


PLAIN = {"Report", "Section", "Span", "Column", "Source"}
"""Classes that stand in one place only, so that their `type` would say nothing."""


def _picture(value: Picture, figures: bool) -> dict[str, Any]:
    import hashlib

    sha256 = hashlib.sha256(value.svg.encode()).hexdigest()
    found = {
        "type": "picture", "name": value.name, "title": value.title, "alt": value.alt,
        "source": as_data(value.source), "svg_sha256": sha256,
    }  # fmt: skip
    return {**found, "svg": value.svg} if figures else found
