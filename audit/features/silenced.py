"""Latents that both models have alike, but whose effect on a behaviour training took away."""

from __future__ import annotations

import pandas as pd

KEPT = 0.8
"""Rate and mean activation in the tuned model lie between this share of the base's and its inverse."""
GONE = 0.25
"""The effect in the tuned model is at most this share of the base's."""
LEVEL = 0.05


def silenced_latents(features: pd.DataFrame, effects: pd.DataFrame) -> pd.DataFrame:
    """The rows of `latent_effects` whose latent is silenced for that behaviour.

    The same rule as `sae.features.kinds.silenced`, on the tables: the latent is shared, its rate and mean
    activation are unchanged, its effect differs (q <= .05) and is gone in the tuned model.

    Args:
        features: the table `features`.
        effects: the table `latent_effects`.
    """
    names = ["hook", "latent", "candidate", "rate_base", "rate_tuned", "mean_base", "mean_tuned"]
    both = effects.merge(features[names], on=["hook", "latent"], how="left", validate="many_to_one")
    keep = both["candidate"].eq("shared") & both["q_value"].le(LEVEL) & both["effect_base"].ne(0)
    for name in ("rate", "mean"):
        keep &= (both[f"{name}_tuned"] / both[f"{name}_base"]).between(KEPT, 1 / KEPT)
    keep &= both["effect_tuned"].abs() <= GONE * both["effect_base"].abs()
    return both.loc[keep, list(effects.columns)].reset_index(drop=True)
