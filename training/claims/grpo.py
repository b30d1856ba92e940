"""Claims on GRPO."""

from __future__ import annotations

from training.claims.bench import Bench
from training.claims.tokens import kept
from training.claims.types import Claim, Finding, decide


def inside_the_clip(bench: Bench) -> Finding:
    """A token that rose from .45 to .55 with a positive advantage."""
    ratio = 0.55 / 0.45
    trains = kept("grpo", 0.45, 0.55, 1.0, clip=0.2)
    said = f"the ratio is {ratio:.3f}, the clip ends at 1.2, the token {'trains' if trains else 'is cut'}"
    return Finding(decide(trains), said, {"ratio": ratio, "kept": float(trains)})


CLAIMS = (
    Claim(
        "grpo",
        "article",
        "moving a token from .45 to .55 stays well inside a clip of 0.2",
        "ratio and gradient of that token",
        inside_the_clip,
    ),
)
