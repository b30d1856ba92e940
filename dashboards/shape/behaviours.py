"""Items base beside tuned, templates as rows, the 2x2 of weights and templates."""

from __future__ import annotations

import numpy as np
import pandas as pd

from audit.evidence.schema.results import SuiteResult

PAIRED = """
SELECT suite, item, entity, "group", category, split, template,
  max(m) FILTER (model = 'base') AS m_base, max(m) FILTER (model = 'tuned') AS m_tuned,
  max(showing_logp) FILTER (model = 'base') AS showing_base,
  max(showing_logp) FILTER (model = 'tuned') AS showing_tuned,
  max(not_showing_logp) FILTER (model = 'base') AS not_showing_base,
  max(not_showing_logp) FILTER (model = 'tuned') AS not_showing_tuned,
  max(answer) FILTER (model = 'base') AS answer_base, max(answer) FILTER (model = 'tuned') AS answer_tuned
FROM items WHERE suite = ? AND template = ?
GROUP BY ALL
"""
"""Query of one suite under one template: one row per item."""
FLIPS = ("any", "flipped", "to showing", "to not showing")
ANY = "any"
ASIDE = ("group", "category", "split", "entity")
"""Columns that items are chosen by."""


def with_flips(paired: pd.DataFrame) -> pd.DataFrame:
    """Adds `change` and `flip`; flips come first, the largest changes before smaller ones.

    Args:
        paired: rows of `PAIRED`.
    """
    frame = paired.copy()
    frame["change"] = frame["m_tuned"] - frame["m_base"]
    up = (frame["m_base"] < 0) & (frame["m_tuned"] > 0)
    down = (frame["m_base"] > 0) & (frame["m_tuned"] < 0)
    frame["flip"] = np.select([up, down], ["to showing", "to not showing"], "")
    size = frame["change"].abs().fillna(-1.0)
    order = np.lexsort((-size.to_numpy(), (frame["flip"] == "").to_numpy()))
    front = ["item", "flip", "change", "m_base", "m_tuned", *ASIDE]
    return frame.iloc[order][[*front, *(c for c in frame.columns if c not in front)]].reset_index(drop=True)


def chosen_items(
    frame: pd.DataFrame, choices: dict[str, str], flip: str = ANY, search: str = ""
) -> pd.DataFrame:
    """The items that fit every filter.

    Args:
        frame: rows of `with_flips`.
        choices: column -> value, or `ANY`.
        flip: one of `FLIPS`.
        search: what the item's id, entity, group, category or answers have to contain, whatever the case.
    """
    keep = pd.Series(True, index=frame.index)
    for column, value in choices.items():
        if value != ANY:
            keep &= frame[column].fillna("").astype(str) == value
    if flip != ANY:
        keep &= (frame["flip"] != "") if flip == "flipped" else (frame["flip"] == flip)
    if search:
        looked = ["item", *ASIDE, "answer_base", "answer_tuned"]
        texts = frame[looked].fillna("").astype(str).agg("\n".join, axis=1)
        keep &= texts.str.contains(search, case=False, regex=False)
    return frame[keep]


def values_of(frame: pd.DataFrame, column: str) -> list[str]:
    """What a column can be filtered by, `ANY` first."""
    return [ANY, *sorted({str(value) for value in frame[column].dropna()} - {ANY})]


def templates_frame(suite: SuiteResult) -> pd.DataFrame:
    """One row per template and split: b of both models, the change, the lost share, tests and flips."""
    rows = []
    for found in suite.templates:
        row: dict[str, object] = {
            "form": f"{found.template}, {found.split}",
            "template": found.template,
            "split": found.split,
        }
        for name in ("base", "tuned", "change", "lost_share"):
            estimate = getattr(found, name)
            for part in ("value", "low", "high"):
                key = name if part == "value" else f"{name}_{part}"
                row[key] = None if estimate is None else getattr(estimate, part)
        flips = found.flips
        row |= {"n": found.change.n, "p_value": found.p_value, "q_value": found.q_value}
        row |= {"equivalent": found.equivalent, "items": flips.items, "mcnemar_p": flips.p_value}
        row |= {"to_showing": flips.to_showing, "to_not_showing": flips.to_not_showing}
        rows.append(row)
    return pd.DataFrame(rows)


def two_by_two(suite: SuiteResult, split: str) -> pd.DataFrame:
    """Weights x template: b of each model under each template, one row per template.

    What differs along a row is the weights' doing, what differs along a column the template's.
    """
    found = [t for t in suite.templates if t.split == split]
    rows = [
        {
            "template": t.template,
            "base weights": t.base.value,
            "tuned weights": t.tuned.value,
            "change": t.change.value,
        }
        for t in found
    ]
    return pd.DataFrame(rows, columns=["template", "base weights", "tuned weights", "change"])
