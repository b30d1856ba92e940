"""Where a change sits: attribution of units, writes before and after, grafts of modules."""

from __future__ import annotations

import re
from collections.abc import Iterable
from typing import Any

import pandas as pd
import plotly.graph_objects as go

from dashboards.charts.marks import empty, names, reference
from dashboards.theme import ACCENT, BASE, NULL, TUNED

BLOCK = re.compile(r"^(?:model|transformer)\.(?:layers|h)\.(\d+)\.")
SHOWN = 24
"""Units or modules on one chart: the strongest."""
KIND_SYMBOLS = {"neuron": "circle", "head": "square", "row": "diamond", "component": "triangle-up"}


def attribution(units: pd.DataFrame) -> go.Figure:
    """The units with the largest weight attribution: that of their weights as bars, of their writes as marks.

    Args:
        units: rows of the table `units` of one behaviour, with a column `unit` that names each.
    """
    shown = strongest(units, "weight_attribution")
    if shown.empty:
        return empty("no unit has a weight attribution")
    figure = go.Figure()
    for member, label, colour in ((True, "in the reported set", ACCENT), (False, "other candidates", NULL)):
        part = shown[shown["in_set"] == member]
        figure.add_bar(
            x=part["weight_attribution"], y=_short(part["unit"]), orientation="h", name=label,
            marker={"color": colour}, hovertemplate="%{y}<br>weights: %{x:.4g} nats<extra></extra>",
        )  # fmt: skip
    figure.add_scatter(
        x=shown["write_attribution"], y=_short(shown["unit"]), mode="markers", name="its writes",
        marker={"color": TUNED, "symbol": "line-ns-open", "size": 12, "line": {"width": 2}},
        hovertemplate="%{y}<br>writes: %{x:.4g} nats<extra></extra>",
    )  # fmt: skip
    reference(figure, x=0.0)
    figure.update_yaxes(categoryorder="array", categoryarray=_short(shown["unit"])[::-1], dtick=1)
    figure.update_layout(barmode="overlay")
    figure.update_xaxes(title="part of the change of b, nats")
    return figure


def writes(units: pd.DataFrame) -> go.Figure:
    """What each unit writes towards the behaviour, base against tuned; on the diagonal nothing changed.

    Args:
        units: rows of the table `units` of one behaviour, with a column `unit`.
    """
    known = units.dropna(subset=["write_base", "write_tuned"])
    if known.empty:
        return empty("no unit's writes were measured")
    figure = go.Figure()
    ends = [
        float(known[["write_base", "write_tuned"]].min().min()),
        float(known[["write_base", "write_tuned"]].max().max()),
    ]
    figure.add_scatter(
        x=ends, y=ends, mode="lines", line={"color": NULL, "dash": "dot"}, name="unchanged", hoverinfo="skip"
    )
    for kind, part in known.groupby("kind", sort=True):
        figure.add_scatter(
            x=part["write_base"], y=part["write_tuned"], mode="markers", name=names([kind])[0],
            text=_short(part["unit"]), marker=_marker(str(kind), part),
            hovertemplate="%{text}<br>base %{x:.4g}, tuned %{y:.4g} nats<extra></extra>",
        )  # fmt: skip
    figure.update_xaxes(title="write in the base, nats")
    figure.update_yaxes(title="write in the tuned model, nats")
    return figure


def grafts(frame: pd.DataFrame) -> go.Figure:
    """What a module's weights alone carry, both ways round.

    Args:
        frame: rows of the table `grafts` of one behaviour.
    """
    if frame.empty:
        return empty("no module was grafted")
    order = frame.groupby("module")["recovered"].max().nlargest(SHOWN).index
    figure = go.Figure()
    for direction, colour in (("base into tuned", BASE), ("tuned into base", TUNED)):
        part = frame[(frame["direction"] == direction) & frame["module"].isin(order)]
        if len(part):
            figure.add_bar(
                x=part["recovered"], y=_short(part["module"]), orientation="h", name=direction,
                marker={"color": colour}, customdata=part["attribution"],
                hovertemplate="%{y}<br>share %{x:.3g}, attributed %{customdata:.4g} nats<extra></extra>",
            )  # fmt: skip
    reference(figure, x=0.0)
    reference(figure, x=1.0, text="all of it")
    figure.update_yaxes(categoryorder="array", categoryarray=_short(order)[::-1])
    figure.update_xaxes(title="share of the change that the module's weights carry")
    return figure


def strongest(units: pd.DataFrame, column: str) -> pd.DataFrame:
    """The rows with the largest values in size, the largest first."""
    known = units.dropna(subset=[column])
    return known.reindex(known[column].abs().sort_values(ascending=False, kind="stable").index).head(SHOWN)


def _short(units: Iterable[Any]) -> list[str]:
    """Names of modules and units with the block in front, as short as an axis needs."""
    return names(BLOCK.sub(r"\1 ", str(unit)) for unit in units)


def _marker(kind: str, part: pd.DataFrame) -> dict[str, Any]:
    return {
        "symbol": KIND_SYMBOLS.get(kind, "circle"),
        "size": [12 if member else 8 for member in part["in_set"]],
        "color": [ACCENT if member else NULL for member in part["in_set"]],
        "line": {"width": 1, "color": "rgba(255,255,255,0.6)"},
    }
