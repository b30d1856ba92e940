"""Ways of asking again, with names."""

from __future__ import annotations

import pandas as pd


def with_ways(elicitation: pd.DataFrame) -> pd.DataFrame:
    """Adds `way`: arm, variant, dose, and whether it is a control; controls last."""
    frame = elicitation.copy()
    doses = [f" {dose:g}" if dose else "" for dose in frame["dose"]]
    control = [" (control)" if one else "" for one in frame["is_control"]]
    columns = zip(frame["arm"], frame["variant"], doses, control, strict=True)
    frame["way"] = [f"{arm}{dose} · {variant}{said}" for arm, variant, dose, said in columns]
    front = ["way", "recovered", "recovered_low", "recovered_high", "beyond_base", "is_control", "black_box"]
    ordered = frame.sort_values("is_control", kind="stable")
    return ordered[[*front, *(c for c in frame.columns if c not in front)]].reset_index(drop=True)
