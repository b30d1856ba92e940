"""All latents of one dictionary: how often each fires in either model; those that changed stand out."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from reports.figures.style import NULL, QUIET, SERIES, SHAPES, canvas, short

if TYPE_CHECKING:
    import pandas as pd
    from matplotlib.figure import Figure

COLUMNS = ("hook", "latent", "rate_base", "rate_tuned", "kind")
CHANGED = ("base only", "tuned only", "rotated", "silenced")
FLOOR = 1e-6
"""Rates below it, and 0, are drawn here."""
MOST = 400
"""Changed latents of a kind that are drawn one by one."""


def draw(latents: pd.DataFrame, hook: str) -> Figure:
    """Firing rate in the base against that in the tuned model, logarithmic; the rest as a density."""
    frame = latents[latents["hook"] == hook]
    figure, axes = canvas(height=3.1)
    base, tuned = (
        np.log10(frame[f"rate_{side}"].to_numpy(float).clip(FLOOR, 1)) for side in ("base", "tuned")
    )
    kind = frame["kind"].astype(str).to_numpy()
    rest = ~np.isin(kind, CHANGED)
    if rest.any():
        axes.hexbin(
            base[rest],
            tuned[rest],
            gridsize=44,
            bins="log",
            cmap="Greys",
            mincnt=1,
            linewidths=0.2,
            alpha=0.85,
        )
    for name, colour, shape in zip(CHANGED, SERIES, SHAPES, strict=False):
        chosen = np.flatnonzero(kind == name)[:MOST]
        if len(chosen):
            axes.plot(
                base[chosen], tuned[chosen], shape, color=colour, markersize=4, label=name, markeredgewidth=0
            )
    low = np.log10(FLOOR)
    axes.plot([low, 0], [low, 0], color=QUIET, linewidth=0.7, linestyle="--")
    axes.plot([], [], "h", color=NULL, markersize=5, label="all others, density")
    axes.set(
        title=short(hook, 60), xlabel="firing rate in the base, log10", ylabel="in the tuned model, log10"
    )
    axes.legend(loc="upper left", bbox_to_anchor=(1.0, 1.0))
    return figure
