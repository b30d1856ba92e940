"""What brings a behaviour back: dose-response of interventions against matched controls, and their cost."""

from __future__ import annotations

import pandas as pd
import plotly.graph_objects as go

from dashboards.charts.marks import INKS, empty, interval, interval_text, names, reference
from dashboards.theme import ACCENT, FLOOR, NULL

HALF = 0.5
"""R from which an internal bypass counts for a verdict."""


def dose_response(frame: pd.DataFrame) -> go.Figure:
    """R by dose, one line per intervention and set; the reported one thick, its controls as crosses.

    Args:
        frame: rows of the table `doses` of one behaviour, split and family, with a column `trial`.
    """
    known = frame.dropna(subset=["recovered"])
    if known.empty:
        return empty("no intervention of this kind was read here")
    figure = go.Figure()
    trials = known[~known["is_null"]]
    reported = set(trials.loc[trials["chosen"], "trial"])
    for place, (trial, part) in enumerate(trials.groupby("trial", sort=False)):
        chosen = trial in reported
        figure.add_scatter(**_line(part.sort_values("dose"), str(trial), chosen, INKS[place % len(INKS)]))
    best = trials[trials["chosen"]]
    if len(best):
        figure.add_scatter(
            x=best["dose"], y=best["recovered"], mode="markers", name="reported dose", hoverinfo="skip",
            marker={"symbol": "circle-open", "size": 18, "color": ACCENT, "line": {"width": 2}},
        )  # fmt: skip
    controls = known[known["is_null"]]
    if len(controls):
        figure.add_scatter(
            x=apart(controls["dose"]), y=controls["recovered"], mode="markers", name="matched controls",
            error_y=interval(controls["recovered"], controls["low"], controls["high"], color=NULL),
            marker={"symbol": "x", "size": 8, "color": NULL}, text=_hover(controls),
            hovertemplate="%{text}<extra></extra>",
        )  # fmt: skip
    reference(figure, y=0.0, text="tuned model")
    reference(figure, y=HALF, text="half")
    reference(figure, y=1.0, text="base")
    figure.update_xaxes(title="dose")
    figure.update_yaxes(title="recovered share R")
    return figure


def side_effects(frame: pd.DataFrame, kl_budget: float, skills_budget: float) -> go.Figure:
    """What interventions cost: KL on unrelated text and skills kept; the shaded corner is the budget.

    Args:
        frame: rows of the table `doses` with `off_target_kl` and `skills`, and a column `trial`.
        kl_budget: most KL, nats per token.
        skills_budget: least share of next tokens predicted right.
    """
    known = frame.dropna(subset=["off_target_kl", "skills"])
    if known.empty:
        return empty("no side effect was measured")
    figure = go.Figure()
    most = max(1.0, float(known["skills"].max())) + 0.02
    figure.add_shape(
        type="rect", x0=0, x1=kl_budget, y0=skills_budget, y1=most,
        line={"width": 1, "color": FLOOR, "dash": "dot"}, fillcolor="rgba(58,166,160,0.12)", layer="below",
    )  # fmt: skip
    for null, label, colour, symbol in (
        (False, "interventions", ACCENT, "circle"),
        (True, "controls", NULL, "x"),
    ):
        part = known[known["is_null"] == null]
        if len(part):
            figure.add_scatter(
                x=part["off_target_kl"], y=part["skills"], mode="markers", name=label, text=_hover(part),
                error_x=interval(*(part[f"off_target_{end}"] for end in ("kl", "low", "high")), color=colour),
                marker={"color": colour, "symbol": symbol, "size": 10},
                hovertemplate="%{text}<br>KL %{x:.3g} nats/token, skills %{y:.3g}<extra></extra>",
            )  # fmt: skip
    figure.add_annotation(
        x=0, y=most, text="inside both budgets", showarrow=False, xanchor="left", yanchor="bottom",
        font={"size": 11, "color": FLOOR},
    )  # fmt: skip
    figure.update_xaxes(title="KL on unrelated text, nats per token", rangemode="tozero")
    figure.update_yaxes(title="skills kept, share of the tuned model's")
    return figure


def apart(doses: pd.Series[float]) -> pd.Series[float]:
    """Equal doses moved a little apart, so that marks do not hide each other."""
    place = doses.groupby(doses).cumcount() - (doses.groupby(doses).transform("size") - 1) / 2
    width = max(float(doses.abs().max()), 1.0)
    return doses + place.clip(-4, 4) * width * 0.012


def _line(part: pd.DataFrame, trial: str, chosen: bool, colour: str) -> dict[str, object]:
    ink = ACCENT if chosen else colour
    return {
        "x": part["dose"],
        "y": part["recovered"],
        "mode": "lines+markers",
        "name": names([trial])[0],
        "line": {"color": ink, "width": 3 if chosen else 1.5, "dash": "solid" if chosen else "dot"},
        "marker": {"size": 8, "color": ink},
        "error_y": interval(part["recovered"], part["low"], part["high"], color=ink),
        "text": _hover(part),
        "hovertemplate": "%{text}<extra></extra>",
    }


def _hover(part: pd.DataFrame) -> list[str]:
    texts = names(part["trial"])
    numbers = zip(part["recovered"], part["low"], part["high"], part["dose"], part["size"], strict=True)
    return [
        f"{text}<br>dose {dose:g}, {size} unit(s)<br>R = {interval_text(value, low, high)}"
        for text, (value, low, high, dose, size) in zip(texts, numbers, strict=True)
    ]
