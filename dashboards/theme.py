"""Colours and the plotly template, shared by every chart, light and dark, page and export."""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal

if TYPE_CHECKING:
    import plotly.graph_objects as go

Mode = Literal["light", "dark"]
BASE, TUNED = "#2f7fd1", "#e0702f"
"""The two models, everywhere: blue is the base, orange the tuned one; told apart by colour-blind readers."""
NULL, ACCENT, FLOOR = "#8a8f98", "#8c5bd6", "#6b7280"
"""Controls and nulls; what is chosen; noise floors."""
KINDS = {
    "base only": "#2f7fd1",
    "tuned only": "#e0702f",
    "rotated": "#b5479b",
    "silenced": "#c69214",
    "unsure": "#3aa6a0",
    "shared": "#9aa3ad",
    "dead": "#5f6670",
}
"""Kinds of latents, in the order of the legend."""
VERDICTS: dict[str, Literal["red", "orange", "green", "blue", "violet", "gray"]] = {
    "UNCHANGED": "green",
    "MASKED": "red",
    "LATENT": "orange",
    "ERASED": "blue",
    "INDUCED": "violet",
    "INCONCLUSIVE": "gray",
}
SURFACES = {
    "light": {"paper": "#ffffff", "text": "#1f2430", "grid": "#e3e6eb", "muted": "#5b6472"},
    "dark": {"paper": "#11151c", "text": "#e6e9ef", "grid": "#2a303b", "muted": "#9aa4b2"},
}
FONT = "Source Sans, Source Sans 3, Segoe UI, Helvetica, Arial, sans-serif"
STREAMLIT: dict[str, str | int] = {
    "theme.light.primaryColor": "#2563b0",
    "theme.light.backgroundColor": "#ffffff",
    "theme.light.secondaryBackgroundColor": "#f3f5f8",
    "theme.light.textColor": "#1f2430",
    "theme.dark.primaryColor": "#7db4f0",
    "theme.dark.backgroundColor": "#11151c",
    "theme.dark.secondaryBackgroundColor": "#1a202a",
    "theme.dark.textColor": "#e6e9ef",
    "theme.baseRadius": "small",
    "theme.headingFontSizes": "1.7rem,1.25rem,1.05rem",
}
"""Options that `launch` hands to Streamlit; the reader's own setting chooses between light and dark."""


def template(mode: Mode = "light") -> go.layout.Template:
    """The plotly template of all charts; Streamlit lays its own surface colours over it."""
    import plotly.graph_objects as go

    surface = SURFACES[mode]
    axis = {
        "gridcolor": surface["grid"],
        "zerolinecolor": surface["grid"],
        "linecolor": surface["muted"],
        "automargin": True,
        "title": {"standoff": 8},
    }
    layout = go.Layout(
        colorway=[BASE, TUNED, ACCENT, "#3aa6a0", "#c69214", "#b5479b", NULL],
        font={"family": FONT, "size": 13, "color": surface["text"]},
        paper_bgcolor=surface["paper"],
        plot_bgcolor=surface["paper"],
        xaxis=axis,
        yaxis=axis,
        margin={"l": 8, "r": 8, "t": 28, "b": 8},
        legend={"orientation": "h", "y": 1.02, "yanchor": "bottom", "x": 0, "title": {"text": ""}},
        hoverlabel={"font": {"family": FONT}},
    )
    return go.layout.Template(layout=layout)


def dressed(figure: go.Figure, mode: Mode = "light", height: int = 360) -> go.Figure:
    """The figure with the shared template and height."""
    figure.update_layout(template=template(mode), height=height)
    return figure
