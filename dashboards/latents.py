"""What the map and the card read of the latents, as SQL over the run's tables."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
import pandas as pd

from dashboards.store import Store
from dashboards.theme import KINDS


class Axis(NamedTuple):
    """One number of a latent that can be an axis."""

    column: str
    title: str
    log: bool = False


AXES = {
    "rate base": Axis("rate_base", "firing rate, base", log=True),
    "rate tuned": Axis("rate_tuned", "firing rate, tuned", log=True),
    "norm difference": Axis("delta_norm", "relative decoder norm (0 base only, 1 tuned only)"),
    "cosine": Axis("decoder_cosine", "cosine of the decoder rows"),
    "latent scaling, tuned": Axis("nu_error_tuned", "latent scaling, tuned row (near 0: tuned only)"),
    "latent scaling, base": Axis("nu_error_base", "latent scaling, base row (near 0: base only)"),
    "score": Axis("score", "how switched it looks (0 to 1)"),
    "write attribution": Axis("write_attribution", "change of its write's effect on the behaviour"),
    "q value": Axis("q_value", "q-value against the nulls"),
    "seed recurrence": Axis("seed_recurrence", "share of other seeds in which it reappears"),
}
SHOWN = [
    "latent", "kind", "label", "score", "q_value", "rate_base", "rate_tuned", "delta_norm", "decoder_cosine",
    "nu_error_base", "nu_error_tuned", "write_attribution", "seed_recurrence", "candidate", "hook",
]  # fmt: skip
"""Columns of the table beside the map, in the order of reading."""


STRONGEST = "score DESC, latent"


@dataclass(frozen=True)
class Chosen:
    """Which latents the map shows."""

    hook: str
    kinds: tuple[str, ...] = tuple(KINDS)
    most_q: float = 1.0
    x: tuple[float, float] | None = None
    """Range of the first axis; None: all of it."""
    y: tuple[float, float] | None = None


def hooks(store: Store) -> list[str]:
    """Hook points that have latents, in the order of the result."""
    result = store.result("features")
    named = [hook.hook for hook in result.hooks] if result else []
    stored = store.query("SELECT DISTINCT hook FROM features ORDER BY hook")["hook"].tolist()
    return [hook for hook in named if hook in stored] + [hook for hook in stored if hook not in named]


def points(store: Store, chosen: Chosen, x: Axis, y: Axis) -> pd.DataFrame:
    """The chosen latents that have both numbers: columns latent, x, y, kind as its place in `KINDS`.

    The last kinds come first, so that what changed is drawn on top of what did not.
    """
    where, parameters = _condition(chosen, x, y)
    sql = (
        f'SELECT latent::INT AS latent, "{x.column}"::FLOAT AS x, "{y.column}"::FLOAT AS y, '  # noqa: S608
        "(list_position(?, kind) - 1)::UTINYINT AS kind "
        f"FROM features WHERE {where} ORDER BY kind DESC, latent"
    )
    return store.query(sql, [list(KINDS), *parameters])


def _condition(chosen: Chosen, x: Axis, y: Axis) -> tuple[str, list[Any]]:
    parts = ["hook = ?", "kind IN (SELECT unnest(?))"]
    values: list[Any] = [chosen.hook, list(chosen.kinds)]
    for axis, bounds in ((x, chosen.x), (y, chosen.y)):
        parts.append(f'isfinite("{axis.column}")')
        if axis.log:
            parts.append(f'"{axis.column}" > 0')
        if bounds is not None:
            parts.append(f'"{axis.column}" BETWEEN ? AND ?')
            values += list(bounds)
    if chosen.most_q < 1:
        parts.append("q_value <= ?")
        values.append(chosen.most_q)
    return " AND ".join(parts), values


def rows(store: Store, hook: str, latents: Sequence[int]) -> pd.DataFrame:
    """The latents' rows, strongest change first."""
    where = "hook = ? AND latent IN (SELECT unnest(?))"
    return store.frame("features", SHOWN, where, [hook, [int(n) for n in latents]], order=STRONGEST)


def strongest(store: Store, chosen: Chosen, x: Axis, y: Axis, limit: int | None = None) -> pd.DataFrame:
    """Rows of the latents that the map shows, strongest change first."""
    where, parameters = _condition(chosen, x, y)
    return store.frame("features", SHOWN, where, parameters, order=STRONGEST, limit=limit)


def null_score(store: Store, hook: str) -> float | None:
    """Score that 95 % of the latents of benign fine-tunes stay below; None without such a null."""
    sql = "SELECT min(score) AS bar FROM features WHERE hook = ? AND p_benign <= 0.05"
    bar = store.query(sql, [hook])["bar"].iloc[0]
    return None if bar is None or pd.isna(bar) else float(bar)


def described(store: Store, hook: str) -> list[int]:
    """Latents that have examples, by number."""
    if not store.has("examples"):
        return []
    sql = "SELECT DISTINCT latent FROM examples WHERE hook = ? ORDER BY latent"
    return [int(latent) for latent in store.query(sql, [hook])["latent"]]


def card(store: Store, hook: str, latent: int) -> dict[str, Any] | None:
    """The latent's row of the table `features`; missing numbers as None."""
    frame = store.frame("features", None, "hook = ? AND latent = ?", [hook, latent], limit=1)
    if frame.empty:
        return None
    return {str(name): _known(value) for name, value in frame.iloc[0].items()}


def _known(value: Any) -> Any:
    if (
        value is None
        or value is pd.NA
        or (isinstance(value, float | np.floating) and not math.isfinite(value))
    ):
        return None
    return value.item() if isinstance(value, np.generic) else value


def last_latent(store: Store, hook: str) -> int:
    """Highest number of a latent of the hook point."""
    return int(store.query("SELECT max(latent) AS last FROM features WHERE hook = ?", [hook])["last"].iloc[0])


def of_latent(store: Store, table: str, hook: str, latent: int, order: str = "") -> pd.DataFrame:
    """The latent's rows of another table; none where the run has no such table."""
    if not store.has(table):
        return pd.DataFrame()
    return store.frame(table, None, "hook = ? AND latent = ?", [hook, latent], order=order, limit=5000)


def wilson(share: float, n: int, z: float = 1.959964) -> tuple[float, float]:
    """95 % interval of a share (Wilson 1927): never outside 0 to 1, and sound for rare events."""
    if n <= 0:
        return 0.0, 1.0
    middle = (share + z * z / (2 * n)) / (1 + z * z / n)
    half = z * math.sqrt(share * (1 - share) / n + z * z / (4 * n * n)) / (1 + z * z / n)
    return max(0.0, middle - half), min(1.0, middle + half)


def rank_among(store: Store, behaviour: str, difference: float) -> float:
    """Share of all latents with an effect on the behaviour whose change is smaller in size."""
    sql = "SELECT avg((abs(difference) < ?)::INT) AS share FROM latent_effects WHERE behaviour = ?"
    share = store.query(sql, [abs(difference), behaviour])["share"].iloc[0]
    return 0.0 if share is None or pd.isna(share) else float(share)
