"""What a claim is and how a measurement decides it."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Literal

if TYPE_CHECKING:
    from training.claims.bench import Bench

Verdict = Literal["supported", "not supported", "not testable here"]


@dataclass(frozen=True)
class Finding:
    """What was measured, and what follows."""

    verdict: Verdict
    said: str
    """The measurement in one sentence."""
    numbers: Mapping[str, float] = field(default_factory=dict)
    """Every number behind it, by name."""


@dataclass(frozen=True)
class Claim:
    """Something that an article or a paper says of a method, and how it is tested here."""

    method: str
    """Name of the objective."""
    source: Literal["article", "paper"]
    """Who says so."""
    text: str
    """What is claimed."""
    how: str
    """What is measured."""
    test: Callable[[Bench], Finding]
    """The measurement; the bench provides the runs."""


def decide(holds: bool) -> Verdict:
    """The verdict of a measurement that can come out either way."""
    return "supported" if holds else "not supported"
