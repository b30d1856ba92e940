"""Claims on CISPO."""

from __future__ import annotations

from training.claims.bench import Bench, efficiency, superior
from training.claims.tokens import kept
from training.claims.types import Claim, Finding, decide


def keeps_rare_tokens(bench: Bench) -> Finding:
    """A rare token that rose fifty-fold."""
    ours, theirs = kept("cispo", 1e-3, 0.05, 1.0), kept("dapo", 1e-3, 0.05, 1.0)
    fates = {name: "trains" if trains else "is cut" for name, trains in (("cispo", ours), ("dapo", theirs))}
    said = f".001 to .05 {fates['cispo']} under cispo, {fates['dapo']} under dapo"
    return Finding(decide(ours and not theirs), said, {"cispo": float(ours), "dapo": float(theirs)})


def faster(bench: Bench) -> Finding:
    """What a run earns."""
    return superior(bench, "cispo", "dapo", efficiency, "mean reward of a run")


CLAIMS = (
    Claim(
        "cispo",
        "paper",
        "keeps the gradient of rare tokens that a clip drops",
        "whether a token that rose from .001 to .05 still trains",
        keeps_rare_tokens,
    ),
    Claim(
        "cispo",
        "paper",
        "learns faster than DAPO (half of its steps)",
        "exact reward over a run, against DAPO",
        faster,
    ),
)
