"""Item by item: the base's score against the tuned model's; flips are the items that changed sign."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from reports.figures.style import ACCENT, NULL, QUIET, canvas, short

if TYPE_CHECKING:
    import pandas as pd
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

COLUMNS = ("suite", "item", "entity", "split", "template", "model", "m")
MOST_SUITES, MOST_ITEMS = 4, 1500


def pairs(items: pd.DataFrame, suite: str, template: str) -> pd.DataFrame:
    """Columns base and tuned: m of every held-out item that both models were asked."""
    chosen = items[(items["suite"] == suite) & (items["template"] == template) & (items["split"] == "test")]
    keys = ["item", "entity"]
    sides = {
        side: chosen[chosen["model"] == side].groupby(keys, observed=True)["m"].mean()
        for side in ("base", "tuned")
    }
    found = sides["base"].to_frame("base").join(sides["tuned"].to_frame("tuned"), how="inner")
    kept: pd.DataFrame = found.loc[np.isfinite(found.to_numpy()).all(axis=1)]
    return kept


def draw(panels: list[tuple[str, pd.DataFrame]]) -> Figure:
    """One panel per suite."""
    shown = panels[:MOST_SUITES]
    columns = min(2, len(shown))
    rows = -(-len(shown) // columns)
    figure, grid = canvas(rows, columns, height=2.9 * rows, squeeze=False)
    for axes, (name, frame) in zip(grid.flat, shown, strict=False):
        _panel(axes, name, frame)
    for axes in list(grid.flat)[len(shown) :]:
        axes.set_visible(False)
    return figure


def _panel(axes: Axes, name: str, frame: pd.DataFrame) -> None:
    if len(frame) > MOST_ITEMS:
        frame = frame.iloc[np.linspace(0, len(frame) - 1, MOST_ITEMS).astype(int)]
    base, tuned = frame["base"].to_numpy(), frame["tuned"].to_numpy()
    flipped = (base > 0) != (tuned > 0)
    edge = max(1e-9, float(np.abs(np.concatenate([base, tuned, [0.0]])).max())) * 1.05
    axes.plot([-edge, edge], [-edge, edge], color=QUIET, linewidth=0.7, linestyle="--")
    axes.axhline(0, color=QUIET, linewidth=0.6)
    axes.axvline(0, color=QUIET, linewidth=0.6)
    axes.plot(base[~flipped], tuned[~flipped], "o", color=NULL, markersize=2.6, label="same sign", alpha=0.8)
    axes.plot(base[flipped], tuned[flipped], "^", color=ACCENT, markersize=3.4, label="flipped")
    axes.set(
        xlim=(-edge, edge), ylim=(-edge, edge), title=short(name), xlabel="m of the base", ylabel="m, tuned"
    )
    axes.set_box_aspect(0.8)
    axes.legend(loc="upper left")
