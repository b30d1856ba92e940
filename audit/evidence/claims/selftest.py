"""Sentences on the tool itself: how often its verdicts on models of known truth were right."""

from __future__ import annotations

from audit.evidence.claims.ledger import Ledger
from audit.evidence.run import RunFolder
from audit.evidence.schema.documents import Claims, Estimate
from audit.evidence.schema.results import SelftestResult

STAGE = "selftest"
CLUSTERED = "bootstrap over bases; exact over bases where all agree"


def selftest_claims(run: RunFolder) -> Claims:
    """The ledger of a finished `selftest` run."""
    ledger, result = Ledger(run), run.result(STAGE)
    _share(ledger, "accuracy_decided", "Of the verdicts that are not INCONCLUSIVE, {} were right.", result)
    _share(ledger, "reassured", "Of masked and latent organisms, {} were called ERASED or UNCHANGED.", result)
    _share(ledger, "alarmed", "Of the organisms that are not masked, {} were called MASKED.", result)
    _share(
        ledger,
        "new_to_thresholds",
        "Where kind or architecture was new to the thresholds, {} of the decided verdicts were right.",
        result,
    )
    for name, text in (
        ("n", "{} organisms with a known verdict were audited."),
        ("bases", "They descend from {} base(s)."),
        ("fitted_bases", "Thresholds were fitted on {} other base(s)."),
    ):
        value = getattr(result, name)
        ledger.add(f"{STAGE}/{name}", STAGE, f"/{name}", text.format(value), value)
    said = f"{result.inconclusive:.1%} of the verdicts were INCONCLUSIVE."
    ledger.add(f"{STAGE}/inconclusive", STAGE, "/inconclusive", said, result.inconclusive, n=result.n)
    _located(ledger, result)
    return Claims(claims=ledger.claims)


def _share(ledger: Ledger, name: str, text: str, result: SelftestResult) -> None:
    found: Estimate | None = getattr(result, name)
    if found is None:
        return
    ends = [f"{end:.1%}" if end is not None else "unbounded" for end in (found.low, found.high)]
    said = text.format(f"{found.value:.1%} [{ends[0]}, {ends[1]}]")
    ledger.add(f"{STAGE}/{name}", STAGE, f"/{name}", said, found, test=CLUSTERED, unit="share")


def _located(ledger: Ledger, result: SelftestResult) -> None:
    if (found := result.located) is None:
        return
    for name, text in (
        ("recall", "{:.1%} of the planted units were in the reported set"),
        ("precision", "{:.1%} of the reported sets was planted"),
        ("recovered", "put back, the reported sets restored R {:.2f} on held-out entities"),
        ("random", "the largest R of a matched random set was {:.2f}"),
    ):
        if (value := getattr(found, name)) is not None:
            said = f"Over {found.n} organisms with planted units, {text.format(value)}."
            ledger.add(f"{STAGE}/located/{name}", STAGE, f"/located/{name}", said, value, n=found.n)
