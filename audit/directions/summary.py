"""What a concept's rows of the table `directions` add up to; needs nothing but the rows."""

from __future__ import annotations

from typing import Any, Literal

import numpy as np
import pandas as pd

from audit.evidence.schema.documents import Estimate
from audit.evidence.schema.results import ConceptDirections, ProbeCell
from audit.measures.bootstrap import FloatArray

Decodable = Literal["yes", "between", "no", "unknown"]
HIGH_AUC = 0.9
LOW_AUC = 0.65
"""Starting thresholds, chosen on small synthetic models; to be calibrated on others."""
LAST = "last"
PROBES = ("auc_tuned", "auc_logistic_tuned", "auc_mlp")
BASE_PROBES = ("auc_base", "auc_logistic_base", "auc_mlp_base")


def summarise(known: ConceptDirections, rows: pd.DataFrame) -> ConceptDirections:
    """The concept with everything that its rows say.

    Args:
        known: names and counts.
        rows: the concept's rows of the table.
    """
    entities = known.entities_test
    best, deep = chosen(rows), carried(rows)
    highest = float(rows[list(PROBES)].to_numpy(dtype=np.float64).max())
    null, in_base = highest_null(rows), decodable(best, "auc_base")
    beyond = rows[(rows["embedding_gain_low"] > 0) & (rows["layer"] >= 0)]
    return known.model_copy(
        update={
            "positions": list(rows["position"].unique()),
            "chosen": _cell(best, entities, known.entities_train + entities),
            "carried": None if deep is None else _cell(deep, entities, known.entities_train + entities),
            "decodable": decodable(best, "auc_tuned"),
            "base_decodable": in_base,
            "highest_auc_tuned": highest,
            "highest_auc_base": float(rows[list(BASE_PROBES)].to_numpy(dtype=np.float64).max()),
            "highest_mlp_tuned": float(rows["auc_mlp"].max()),
            "highest_null": null,
            "highest_null_all": highest_null_all(rows),
            "everywhere_at_chance": highest <= null and highest < HIGH_AUC if in_base == "yes" else None,
            "layers_beyond_words": sorted({int(layer) for layer in beyond["layer"]}),
        }
    )


def chosen(rows: pd.DataFrame) -> pd.Series:
    """The row where the base's cross-validated AUC is largest; the earliest block of equals.

    The embeddings are not chosen from: no training moves a switch into them without being seen there.
    """
    blocks = rows[rows["layer"] >= 0].sort_values(["layer", "position"], kind="stable")
    return blocks.iloc[int(blocks["auc_cv_base"].to_numpy(dtype=np.float64).argmax())]


def carried(rows: pd.DataFrame) -> pd.Series | None:
    """The row of the deepest block at the last token; None where the directions are not reliable there."""
    last = rows[(rows["position"] == LAST) & (rows["layer"] >= 0)].sort_values("layer", kind="stable")
    return last.iloc[-1] if len(last) and last.iloc[-1]["measurable"] else None


def decodable(row: pd.Series, auc: str) -> Decodable:
    """Whether held-out entities can be told apart at one layer and position."""
    low = row[f"{auc}_low"]
    if row[auc] >= HIGH_AUC and not pd.isna(low) and low > row["null_high"]:
        return "yes"
    return "no" if row[auc] <= min(LOW_AUC, row["null_high"]) else "between"


def highest_null(rows: pd.DataFrame) -> float:
    """95 % quantile over shuffles of the largest AUC of all rows (Westfall and Young 1993).

    A shuffle deals the same classes at every layer and position, so their dependence is kept.
    """
    return float(np.quantile(_nulls(rows, "null_aucs").max(axis=0), 0.95))


def highest_null_all(rows: pd.DataFrame) -> float | None:
    """The same over all three probes; None where the slower ones were fit to no shuffled classes."""
    lda, others = _nulls(rows, "null_aucs"), _nulls(rows, "null_other_aucs")
    if not others.shape[1]:
        return None
    largest = np.maximum(lda[:, : others.shape[1]], others).max(axis=0)
    return float(np.quantile(largest, 0.95))


def _nulls(rows: pd.DataFrame, name: str) -> FloatArray:
    """[rows, shuffles]."""
    return np.stack([np.asarray(values, dtype=np.float64) for values in rows[name]])


def _cell(row: pd.Series, held_out: int, entities: int) -> ProbeCell:
    return ProbeCell(
        layer=int(row["layer"]),
        position=str(row["position"]),
        auc_base=_needed(row, "auc_base", held_out),
        auc_tuned=_needed(row, "auc_tuned", held_out),
        auc_transfer_bt=float(row["auc_transfer_bt"]),
        auc_transfer_tb=float(row["auc_transfer_tb"]),
        null_mean=float(row["null_mean"]),
        null_high=float(row["null_high"]),
        embedding_gain=_estimate(row, "embedding_gain", held_out),
        cosine=_estimate(row, "cosine", entities),
        cosine_ceiling=_number(row["cosine_ceiling"]),
        cosine_corrected=_number(row["cosine_corrected"]),
        norm_ratio=_estimate(row, "norm_ratio", entities),
        norm_ratio_corrected=_number(row["norm_ratio_corrected"]),
        variance_ratio=_number(row["variance_ratio"]),
        measurable=bool(row["measurable"]),
    )


def _needed(row: pd.Series, name: str, n: int) -> Estimate:
    low, high = (_number(row[f"{name}_{end}"]) for end in ("low", "high"))
    return Estimate(value=float(row[name]), low=low, high=high, n=n)


def _estimate(row: pd.Series, name: str, n: int) -> Estimate | None:
    return None if pd.isna(row[name]) else _needed(row, name, n)


def _number(value: Any) -> float | None:
    return None if pd.isna(value) else float(value)
