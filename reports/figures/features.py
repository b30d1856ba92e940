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
"""Lowest rate that is drawn; latents that never fire stand at the left and lower edge."""
MOST = 400
"""Changed latents of a kind that are drawn one by one."""


def draw(latents: pd.DataFrame, hook: str) -> Figure:
    """Firing rate in the base against that in the tuned model, logarithmic; the rest as a density."""
    frame = latents[latents["hook"] == hook]
    figure, axes = canvas(height=3.1)
    low = _lowest(frame)
    base, tuned = (_logs(frame[name], low) for name in ("rate_base", "rate_tuned"))
    kind = frame["kind"].astype(str).to_numpy()
    rest = ~np.isin(kind, CHANGED)
    if rest.any():
        grid = {"gridsize": 44, "bins": "log", "cmap": "Greys", "mincnt": 1, "linewidths": 0.2}
        axes.hexbin(base[rest], tuned[rest], extent=(low, 0, low, 0), vmin=0.4, **grid)
    for name, colour, shape in zip(CHANGED, SERIES, SHAPES, strict=False):
        chosen = np.flatnonzero(kind == name)[:MOST]
        if len(chosen):
            axes.plot(base[chosen], tuned[chosen], shape, color=colour, markersize=5, label=name)
    axes.plot([low, 0], [low, 0], color=QUIET, linewidth=0.7, linestyle="--")
    axes.plot([], [], "h", color=NULL, markersize=5, label="all others, density")
    axes.set(
        title=short(hook, 60), xlabel="firing rate in the base, log10", ylabel="in the tuned model, log10"
    )
    axes.legend(loc="upper left", bbox_to_anchor=(1.0, 1.0))
    return figure


def _lowest(frame: pd.DataFrame) -> float:
    """Where the axes begin: below the rarest latent that fires, in powers of ten."""
    rates = frame[["rate_base", "rate_tuned"]].to_numpy(float)
    firing = rates[rates > FLOOR]
    return float(np.floor(np.log10(firing.min()) * 2) / 2 - 0.25) if firing.size else float(np.log10(FLOOR))


def _logs(rates: pd.Series[float], low: float) -> np.ndarray:
    return np.asarray(np.log10(rates.to_numpy(float).clip(10**low, 1)))
