"""One line of the findings log, and what a reviewer gives to make one."""

from __future__ import annotations

import unicodedata
from datetime import datetime, timedelta
from typing import Annotated, Literal, Self, get_args

from pydantic import AfterValidator, Field, model_validator

from audit.evidence.schema.documents import Document

Action = Literal["opened", "noted", "signed off", "withdrawn"]
Severity = Literal["info", "low", "medium", "high", "critical"]
Status = Literal["open", "signed off", "withdrawn"]
SEVERITIES: tuple[Severity, ...] = get_args(Severity)
"""From the least to the worst."""


def _plain(text: str) -> str:
    """One line of text that neither steers a terminal nor changes the direction of what stands beside it."""
    return _clean(text, allowed="")


def _plain_lines(text: str) -> str:
    return _clean(text, allowed="\n\t")


def _clean(text: str, allowed: str) -> str:
    for character in text:
        if character not in allowed and unicodedata.category(character) in ("Cc", "Cf", "Cs", "Zl", "Zp"):
            if character in "\u200c\u200d":  # joiners, which several scripts and emoji need
                continue
            raise ValueError(f"holds the character U+{ord(character):04X}, which does not print")
    return text


def _not_blank(text: str) -> str:
    if not text.strip():
        raise ValueError("is empty")
    return text


def _utc(text: str) -> str:
    if datetime.fromisoformat(text).utcoffset() != timedelta(0):
        raise ValueError("is not a time in UTC")
    return text


Name = Annotated[str, Field(max_length=100), AfterValidator(_plain), AfterValidator(_not_blank)]
Title = Annotated[str, Field(max_length=200), AfterValidator(_plain), AfterValidator(_not_blank)]
Note = Annotated[str, Field(max_length=10_000), AfterValidator(_plain_lines)]
Address = Annotated[str, Field(max_length=300), AfterValidator(_plain), AfterValidator(_not_blank)]
FindingId = Annotated[str, Field(pattern=r"^F[1-9][0-9]{0,5}$")]
Addresses = Annotated[list[Address], Field(max_length=50)]


class Entry(Document):
    """What a reviewer adds to the log; `append_finding` gives it its ids, its time and its place."""

    action: Action
    reviewer: Name
    finding: FindingId | None = None
    """What it is about; None for `opened`, which makes a new one."""
    severity: Severity | None = None
    """Required for `opened`; None leaves it as it was."""
    title: Title | None = None
    """Likewise."""
    note: Note = ""
    evidence: Addresses = Field(default_factory=list)
    """Ids of claims, or addresses HOOK/LATENT of features."""

    @model_validator(mode="after")
    def _complete(self) -> Self:
        if self.action == "opened" and (self.severity is None or self.title is None):
            raise ValueError("a finding is opened with a severity and a title")
        if (self.action == "opened") != (self.finding is None):
            raise ValueError("every action but `opened` names the finding that it is about")
        return self


class Finding(Document):
    """One line of the log."""

    id: Annotated[str, Field(pattern=r"^E[1-9][0-9]{0,5}$")]
    at: Annotated[str, Field(max_length=40), AfterValidator(_utc)]
    """Time in UTC, ISO 8601, by the clock of the machine that wrote it."""
    action: Action
    finding: FindingId
    severity: Severity
    title: Title
    note: Note
    evidence: Addresses
    reviewer: Name
    previous: Annotated[str, Field(pattern=r"^[0-9a-f]{64}$")]
    """SHA-256 of the line before, without its line break."""
