"""What was asked, with which access, and what nobody asked."""

from __future__ import annotations

from typing import Any

from reports.content.parts import section, strong, texts
from reports.ledger import Evidence
from reports.model import Block, Bullets, Heading, Paragraph, Section, line


def scope_section(evidence: Evidence) -> Section:
    """The text of scope.toml with the suites of the run; it carries no numbers."""
    said = texts("scope")
    blocks: list[Block] = [
        Paragraph(line(strong("Access used. "), said["access"][evidence.manifest.kind])),
        Paragraph(line(strong("Suites. "), _suites(evidence))),
        Heading("Who could bring a behaviour back"),
        _list(said["actor"]),
        Heading("What was not tested"),
        _list(said["outside"]),
    ]
    question = "What does this report speak of, and against whom?"
    return section("scope", "Scope and threat model", question, blocks)


def _list(entries: list[dict[str, Any]]) -> Bullets:
    return Bullets(tuple(line(strong(one["head"]), one["rest"]) for one in entries))


def _suites(evidence: Evidence) -> str:
    result = evidence.result("behaviour")
    if result is None:
        return "none was scored in this run."
    return "; ".join(f"{suite.title} ({suite.name})" for suite in result.suites) + "."
