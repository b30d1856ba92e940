"""Numbers as a report prints them; the one place that formats any."""

from __future__ import annotations

import math

from audit.evidence.schema.documents import Claim, Estimate

NOT_MEASURED = "not measured"
DASH = "\N{EN DASH}"
MINUS = "\N{MINUS SIGN}"
WHOLE = 1e15
"""Floats below it that are whole print as counts."""


def number(value: float | int | None) -> str:
    """Four significant digits; whole numbers whole, in groups of three; a true minus sign."""
    if value is None:
        return NOT_MEASURED
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, float) and not math.isfinite(value):
        return NOT_MEASURED
    whole = isinstance(value, int) or (value.is_integer() and abs(value) < WHOLE)
    said = f"{int(value):,}" if whole else format(value, ".4g")
    return said.replace("-", MINUS)


def share(value: float | None) -> str:
    """A share as a percentage."""
    return NOT_MEASURED if value is None else f"{value * 100:.1f} %".replace("-", MINUS)


def interval(low: float | None, high: float | None) -> str:
    """The 95 % interval; an end that the data cannot bound is infinite."""
    return f"[{f'{MINUS}∞' if low is None else number(low)}, {'∞' if high is None else number(high)}]"


def estimate(found: Estimate | None) -> str:
    """Value and interval."""
    return NOT_MEASURED if found is None else f"{number(found.value)} {interval(found.low, found.high)}"


def claimed(claim: Claim) -> str:
    """The value of a claim as it stands in a table or a sentence, with its interval if it has one."""
    value = claim.value
    if isinstance(value, str):
        return value
    if claim.low is None and claim.high is None:
        return number(value)
    return f"{number(value)} {interval(claim.low, claim.high)}"


def provisos(claim: Claim) -> str:
    """What a claim was held against, by which test, and under which conditions it is to be read."""
    said = [f"Held against: {claim.null}."] if claim.null else []
    said += [f"By {claim.test}."] if claim.test else []
    return " ".join([*said, *(f"Condition: {one}." for one in claim.preconditions)])


def size(count: int) -> str:
    """Bytes as people read them."""
    return f"{count / 2**20:.1f} MiB" if count >= 2**20 else f"{count / 2**10:.1f} KiB"
