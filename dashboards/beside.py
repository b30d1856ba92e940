"""Two runs beside each other: verdicts, claims by id, settings, kinds of latents."""

from __future__ import annotations

from typing import Any, Literal

import pandas as pd

from audit.evidence.schema.documents import Claim
from dashboards import ladder
from dashboards.records import settings
from dashboards.store import Store

Overlap = Literal["overlap", "apart", "same", "different", "no interval", "only left", "only right"]
CLAIM = ["id", "left", "left interval", "right", "right interval", "agreement", "statement"]
SETTING = ["setting", "left", "right"]


def verdicts(left: Store, right: Store) -> pd.DataFrame:
    """One row per behaviour of either run: both verdicts."""
    words = [_words(store) for store in (left, right)]
    names = dict.fromkeys([*words[0], *words[1]])
    rows = [[name, words[0].get(name), words[1].get(name)] for name in names]
    return pd.DataFrame(rows, columns=["behaviour", "left", "right"])


def _words(store: Store) -> dict[str, str]:
    result = store.result("verdict")
    return {one.name: str(one.verdict) for one in result.behaviours} if result else {}


def evidence(left: Store, right: Store) -> pd.DataFrame:
    """One row per behaviour and rung that either run has, both cells as text."""
    found = [{(r.behaviour, r.evidence): r.text for r in ladder.rungs(store)} for store in (left, right)]
    keys = dict.fromkeys([*found[0], *found[1]])
    rows = [[*key, *(side.get(key, ladder.NOT_MEASURED) for side in found)] for key in keys]
    return pd.DataFrame(rows, columns=["behaviour", "evidence", "left", "right"])


def claims(left: Store, right: Store) -> pd.DataFrame:
    """One row per claim of either run by its id: both numbers, and whether their intervals overlap."""
    sides = [{claim.id: claim for claim in store.claims} for store in (left, right)]
    rows = [
        _claim(name, *(side.get(name) for side in sides)) for name in dict.fromkeys([*sides[0], *sides[1]])
    ]
    return pd.DataFrame(rows, columns=CLAIM)


def _claim(name: str, left: Claim | None, right: Claim | None) -> list[Any]:
    said = next(claim.statement for claim in (left, right) if claim is not None)
    cells = [cell for claim in (left, right) for cell in (_value(claim), _interval(claim))]
    return [name, *cells, agreement(left, right), said]


def _value(claim: Claim | None) -> str | None:
    if claim is None or claim.value is None:
        return None
    return f"{claim.value:.4g}" if isinstance(claim.value, float) else str(claim.value)


def _interval(claim: Claim | None) -> str | None:
    if claim is None or (claim.low is None and claim.high is None):
        return None
    low = "-inf" if claim.low is None else f"{claim.low:.4g}"
    high = "inf" if claim.high is None else f"{claim.high:.4g}"
    return f"[{low}, {high}]"


def agreement(left: Claim | None, right: Claim | None) -> Overlap:
    """Whether two claims agree: by their intervals where both have one, else by their words."""
    if left is None or right is None:
        return "only right" if left is None else "only left"
    bounded = [claim.low is not None or claim.high is not None for claim in (left, right)]
    if not all(bounded):
        both_numbers = all(isinstance(c.value, float) for c in (left, right))
        if left.value == right.value:
            return "same"
        return "no interval" if both_numbers else "different"
    return "overlap" if _meet(left, right) and _meet(right, left) else "apart"


def _meet(one: Claim, other: Claim) -> bool:
    return one.low is None or other.high is None or one.low <= other.high


def differing(left: Store, right: Store) -> pd.DataFrame:
    """The settings that differ."""
    a, b = settings(left), settings(right)
    rows = [
        [name, a.get(name), b.get(name)] for name in dict.fromkeys([*a, *b]) if a.get(name) != b.get(name)
    ]
    return pd.DataFrame(rows, columns=SETTING)


def kinds(left: Store, right: Store) -> pd.DataFrame:
    """One row per hook point and kind of latent: how many in each run."""
    counts = [_kinds(store) for store in (left, right)]
    keys = dict.fromkeys([*counts[0], *counts[1]])
    rows = [[*key, counts[0].get(key), counts[1].get(key)] for key in keys]
    return pd.DataFrame(rows, columns=["hook", "kind", "left", "right"])


def _kinds(store: Store) -> dict[tuple[str, str], int]:
    result = store.result("features")
    hooks = result.hooks if result else []
    return {(hook.hook, kind): count for hook in hooks for kind, count in hook.kinds.items()}
