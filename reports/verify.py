"""`audit verify report.pdf`: do the pages say what the ledger says, and the ledger what the run says?

Without the run it is checked that pages, attached report, ledger and manifest agree; with the run, that they
are this run's, that every hash of it holds, and that the report made again from it is the same.
"""

from __future__ import annotations

import hashlib
import json
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from audit.errors import RunFolderError
from audit.evidence.run import CLAIMS, MANIFEST
from audit.evidence.schema.documents import Claim, Claims, Manifest
from reports.attached import SECTIONS
from reports.numbers import claimed, provisos
from reports.opened import OpenedPDF, UnreadablePDFError, open_pdf
from reports.printed import differences
from reports.text import clean

CANNOT_SHOW = (
    "Pages, ledger and manifest can be forged together: keep the manifest's SHA-256 elsewhere, and compare.",
    "Figures are drawings and are not read back; given the run, they are drawn again.",
    "That the numbers were measured as the run says, on the models that it names.",
)
"""What no such check can tell."""


@dataclass(frozen=True)
class ReportVerification:
    """What `audit verify report.pdf` found."""

    pages: int
    numbers: int
    """Values and sentences that the report prints with the number of a claim."""
    claims: int
    problems: tuple[str, ...]
    manifest: str
    """SHA-256 of the attached manifest: to be compared with one that was kept elsewhere."""
    run: str | None = None
    """The run folder that it was held against."""
    identical: bool | None = None
    """Whether the report made again from the run has the same bytes; None: not tried, or other versions."""
    notes: tuple[str, ...] = CANNOT_SHOW

    @property
    def passed(self) -> bool:
        """Whether nothing was wrong."""
        return not self.problems


def verify_report(pdf: Path, run: Path | None = None) -> ReportVerification:
    """Checks a report against itself, and against its run where that is given.

    Raises:
        RunFolderError: the file is no PDF of `audit report`, or cannot be read.
    """
    opened = _opened(pdf)
    report, claims, manifest = (_attached(opened, pdf, name) for name in (SECTIONS, CLAIMS, MANIFEST))
    problems = _documents(opened, report, claims, manifest)
    ledger = _ledger(claims)
    keyed = list(_keyed(report))
    problems += _slots(keyed, ledger)
    pages, said = _pages(opened, report)
    found = ReportVerification(
        pages, len(keyed), 0 if ledger is None else len(ledger.claims), tuple(problems + said),
        hashlib.sha256(opened.attached[MANIFEST]).hexdigest(),
    )  # fmt: skip
    if run is None:
        return found
    from reports.rebuilt import against_run

    more, identical = against_run(pdf, opened, report, run)
    return replace(found, problems=(*found.problems, *more), run=str(run), identical=identical)


def _opened(pdf: Path) -> OpenedPDF:
    try:
        opened = open_pdf(pdf)
    except UnreadablePDFError as error:
        raise RunFolderError(
            f"The file is no PDF that can be read: {error}.", where=str(pdf), fix=AGAIN
        ) from error
    except OSError as error:
        raise RunFolderError(
            f"The file cannot be read: {error.strerror}.", where=str(pdf), fix=AGAIN
        ) from error
    if SECTIONS not in opened.attached or MANIFEST not in opened.attached:
        raise RunFolderError(
            "The PDF is no report of this tool: it carries neither report.json nor manifest.json.",
            where=str(pdf),
            fix=AGAIN,
        )
    return opened


AGAIN = "name a PDF that `audit report` wrote, or write it again"


def _attached(opened: OpenedPDF, pdf: Path, name: str) -> Any:
    if name not in opened.attached:
        return None
    try:
        return json.loads(opened.attached[name])
    except (ValueError, RecursionError) as error:
        raise RunFolderError(f"The attached {name} is broken.", where=str(pdf), fix=AGAIN) from error


def _documents(opened: OpenedPDF, report: Any, claims: Any, manifest: Any) -> list[str]:
    """The attachments fit together, by their hashes."""
    found = []
    sha256 = hashlib.sha256(opened.attached[MANIFEST]).hexdigest()
    if not isinstance(report, dict) or report.get("manifest") != sha256:
        found.append("the attached manifest is not the one that the report names")
    if f"manifest {sha256}" not in opened.keywords:
        found.append("the attached manifest is not the one that the PDF's keywords name")
    try:
        named = Manifest.model_validate(manifest).claims
    except ValidationError:
        return [*found, "the attached manifest does not fit this version's format"]
    if named is None:
        return found if claims is None else [*found, "the run has no ledger, the report carries one"]
    if CLAIMS not in opened.attached:
        return [*found, "the ledger claims.json is missing from the report"]
    if hashlib.sha256(opened.attached[CLAIMS]).hexdigest() != named:
        found.append("the attached ledger claims.json is not the one that the manifest names")
    return found


def _ledger(claims: Any) -> Claims | None:
    try:
        return None if claims is None else Claims.model_validate(claims)
    except ValidationError:
        return None


def _keyed(value: Any) -> Any:
    """Every (text, number of the claim) of the report's data."""
    if isinstance(value, list):
        for one in value:
            yield from _keyed(one)
    elif isinstance(value, dict):
        text = value.get("text", value.get("word"))
        if isinstance(value.get("key"), int) and isinstance(text, str):
            yield text, value["key"]
        for inner in value.values():
            yield from _keyed(inner)


def _slots(keyed: list[tuple[str, int]], ledger: Claims | None) -> list[str]:
    """Each text is its claim's value, its sentence, or a piece of that sentence."""
    if ledger is None:
        return ["the report prints numbers, and carries no ledger that can be read"] if keyed else []
    found = []
    for text, key in keyed:
        if not 0 < key <= len(ledger.claims):
            found.append(f"“{text[:80]}” names claim {key}, which the ledger has not")
            continue
        claim = ledger.claims[key - 1]
        if not says(claim, text):
            found.append(f"claim {claim.id}: the report says “{text[:80]}”, the ledger {claimed(claim)[:80]}")
    return found


def says(claim: Claim, text: str) -> bool:
    """Whether the words are the claim's value, sentence or conditions, or a reason of a verdict."""
    if text in (clean(claimed(claim)), clean(claim.statement), clean(f" {provisos(claim)}")):
        return True
    return claim.id.startswith("verdict/") and bool(text.strip()) and text in clean(claim.statement)


def _pages(opened: OpenedPDF, report: Any) -> tuple[int, list[str]]:
    try:
        pages = opened.pages()
        return len(pages), differences(report, pages)
    except UnreadablePDFError as error:
        return 0, [f"the pages cannot be read: {error}"]
    except (KeyError, TypeError, AttributeError, ValueError):
        return 0, ["the attached report.json does not fit this version's format"]
