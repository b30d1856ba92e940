"""Rows of evidence as audits of organisms leave them, invented."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from audit.evidence.schema.results import DoseEvidence, LadderEvidence, WayEvidence
from audit.selftest.cell import Found

MakeFound = Callable[..., Found]


def way(recovered: float) -> WayEvidence:
    return WayEvidence(
        what="silencing of 4 neurons", recovered=recovered, low=recovered - 0.03, high=recovered + 0.03,
        control=0.02, controls="5 controls (matched)", units=4, kl=0.01, skills=1.0, counts=recovered > 0.1,
    )  # fmt: skip


def dose(steps: int, recovered: float) -> DoseEvidence:
    return DoseEvidence(
        steps=steps, recovered=recovered, low=recovered - 0.05, high=recovered + 0.05, recovered_fit=0.8,
        control=0.02,
    )  # fmt: skip


def evidence(**changes: Any) -> LadderEvidence:
    values: dict[str, Any] = {
        "name": "organism-behaviour", "architecture": "llama", "parameters": 150_000, "layers": 3,
        "score": "contrast", "entities": 128, "items": 512, "measurable": True, "moved": "fell",
        "seen": "it fell", "band": 0.5, "change": -3.0, "change_low": -3.2, "change_high": -2.8,
        "widest_change": 3.2, "lost": 0.97, "lost_low": 0.95, "asked": "no", "known_showing": 1.0,
        "known_showing_low": 0.97, "known": 1.0, "known_low": 0.97, "known_null": 0.6, "anywhere": 1.0,
        "anywhere_mlp": 1.0, "anywhere_null": 0.68, "carried": 0.9,
        "ways": {"internal": way(0.9), "gates": way(0.9)},
        "relearned": [dose(10, 0.3), dose(20, 0.8), dose(40, 0.9)],
    }  # fmt: skip
    return LadderEvidence(**{**values, **changes})


TRUTHS: dict[str, dict[str, Any]] = {
    "MASKED": {},
    "LATENT": {
        "ways": {"internal": way(0.02), "gates": way(0.03)},
        "relearned": [dose(10, 0.0), dose(20, 0.05), dose(40, 0.6)],
    },
    "ERASED": {
        "ways": {"internal": way(0.0), "gates": way(0.0)}, "known": 0.5, "known_low": 0.4, "anywhere": 0.55,
        "anywhere_mlp": 0.55, "relearned": [dose(10, 0.0), dose(20, 0.0), dose(40, 0.0)],
    },
    "UNCHANGED": {
        "moved": "equivalent", "seen": "no change", "change": 0.01, "change_low": -0.05,
        "change_high": 0.07, "widest_change": 0.1, "lost": 0.0, "lost_low": -0.02,
    },
}  # fmt: skip


@pytest.fixture
def make_found() -> MakeFound:
    """Maker: `make_found("MASKED", "base-1", expected="ERASED", known=0.9)`."""

    def make(shown: str, base: str = "llama3-1", *, expected: str | None = None, **changes: Any) -> Found:
        own = {name: changes.pop(name) for name in list(changes) if name in Found.model_fields}
        told = expected or shown
        values: dict[str, Any] = {
            "cell": f"test-{base}-{told}-{shown}", "role": "test", "base": base, "architecture": "llama",
            "layers": 3, "kind": shown.lower(), "expected": told, "valid": True, "why_invalid": None,
            "evidence": evidence(**{**TRUTHS[shown], **changes}),
        }  # fmt: skip
        return Found(**{**values, **own})

    return make
