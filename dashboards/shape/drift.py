"""Curves, tokens and weights of the drift in the shape that charts take."""

from __future__ import annotations

import re

import numpy as np
import pandas as pd

from audit.evidence.schema.results import DirectionDrift, DriftResult

FORWARD, REVERSE = (
    "KL(base || tuned), prefixes from the base",
    "KL(tuned || base), prefixes from the tuned model",
)
BLOCK = re.compile(r"(^|\.)(?:layers|h|blocks)\.\d+\.")
MOST_TOKENS = 20_000
"""Tokens drawn on a chart: every outlier, and a sample of the others."""


def curves(result: DriftResult) -> pd.DataFrame:
    """Cumulative KL of both directions: `direction`, `step`, `value`, `low`, `high`, `n`."""
    both = ((FORWARD, result.forward), (REVERSE, result.reverse))
    return pd.concat([_curve(name, drift) for name, drift in both], ignore_index=True)


def token_kl(drift: pd.DataFrame) -> pd.DataFrame:
    """Adds `kl`, of the direction that belongs to who sampled the prefix; the largest first."""
    frame = drift.copy()
    frame["kl"] = np.where(frame["source"] == "base", frame["kl_forward"], frame["kl_reverse"])
    return frame.sort_values("kl", ascending=False, kind="stable").reset_index(drop=True)


def sampled(tokens: pd.DataFrame, most: int = MOST_TOKENS) -> pd.DataFrame:
    """Every outlier and as many others as fit, drawn evenly; always the same ones."""
    if len(tokens) <= most:
        return tokens
    far, near = tokens[tokens["outlier"]], tokens[~tokens["outlier"]]
    room = max(0, most - len(far))
    return pd.concat([far.head(most), near.iloc[:: max(1, -(-len(near) // max(1, room)))]])


def weight_rows(weights: pd.DataFrame) -> pd.DataFrame:
    """Adds `row`, the parameter's name inside its block, and fills `layer` with -1 outside of blocks."""
    frame = weights.copy()
    frame["layer"] = frame["layer"].fillna(-1).astype(int)
    frame["row"] = [row_of(name) for name in frame["module"].astype(str)]
    return frame


def row_of(module: str) -> str:
    """A parameter's name without the number of its block: rows of a map."""
    return (
        BLOCK.sub(r"\1", module).removeprefix("model.").removeprefix("transformer.").removesuffix(".weight")
    )


def _curve(name: str, drift: DirectionDrift) -> pd.DataFrame:
    rows = [estimate.model_dump() for estimate in drift.prefix_curve]
    frame = pd.DataFrame(rows, columns=["value", "low", "high", "n"])
    frame.insert(0, "step", np.arange(1, len(rows) + 1))
    frame.insert(0, "direction", name)
    return frame
