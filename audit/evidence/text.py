"""Numbers as people read them."""

from __future__ import annotations

import math

from audit.evidence.schema.documents import Estimate


def share_text(share: float) -> str:
    """A share in percent, rounded down: only all of it prints as 100.0%."""
    return f"{math.floor(share * 1000) / 10:.1f}%"


def text_of(estimate: Estimate, form: str = ".4g") -> str:
    """`value [low, high]` in a format of `format`; a side that the data cannot bound prints as infinite."""
    low = "-inf" if estimate.low is None else format(estimate.low, form)
    high = "inf" if estimate.high is None else format(estimate.high, form)
    return f"{format(estimate.value, form)} [{low}, {high}]"


def deed(intervention: str) -> str:
    """What was done, as a noun where the name of the intervention is none that reads well."""
    deeds = {"latents": "removal", "gate": "scaling", "rewire": "addition"}
    return deeds.get(intervention, intervention)
