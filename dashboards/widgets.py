"""What every page is made of: tables with downloads, charts with alt text, text that stays text, links."""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Callable, Iterable, Mapping, Sequence
from functools import partial
from typing import TYPE_CHECKING, Any, Literal

import pandas as pd
import streamlit as st

from dashboards import theme
from dashboards.state import chosen_run
from dashboards.text import one_line, plain, printable

if TYPE_CHECKING:
    import plotly.graph_objects as go

    from dashboards.store import Store

SHOWN_ROWS = 5000
"""Rows on the screen; downloads have all that the table was given."""
LONGEST_CELL = 300
RISKY = ("=", "+", "-", "@", "\t", "\r")
"""Beginnings of a cell that a spreadsheet would take for a formula (OWASP, CSV injection)."""
PAGES = "_pages"
"""Key of the session's pages by name, which `dashboards.app` registers."""


def table(
    frame: pd.DataFrame,
    key: str,
    *,
    alt: str,
    select: Literal["single-row", "multi-row"] | None = None,
    columns: Mapping[str, Any] | None = None,
    height: int | Literal["auto", "content"] = "auto",
    name: str | None = None,
) -> list[int]:
    """A table with its downloads; returns the positions of the selected rows in `frame`.

    Args:
        frame: all rows; the screen shows the first `SHOWN_ROWS`, the downloads all.
        key: of the widget, unique on its page.
        alt: what the table shows, for who cannot see it.
        select: whether rows can be chosen.
        columns: Streamlit's column configuration.
        height: in pixels; auto is ten rows, content all.
        name: of the downloaded file; the key without.
    """
    shown = screen(frame.head(SHOWN_ROWS))
    behaviour: dict[str, Any] = {"on_select": "rerun", "selection_mode": select} if select else {}
    event = st.dataframe(
        shown,
        key=key,
        hide_index=True,
        height=height,
        column_config=dict(columns or {}),
        alt=alt,
        **behaviour,
    )
    if len(frame) > SHOWN_ROWS:
        st.caption(f"The first {SHOWN_ROWS:,} of {len(frame):,} rows; the downloads have all.")
    downloads(frame, key, name or key)
    return selected_rows(event) if select else []


def downloads(frame: pd.DataFrame | Callable[[], pd.DataFrame], key: str, name: str, label: str = "") -> None:
    """Buttons that save a table as CSV and as Parquet; the files are made when they are asked for.

    Args:
        frame: the table, or what reads it then.
        key: of the buttons, unique on the page.
        name: of the files.
        label: what stands before the kind on the buttons.
    """
    with st.container(horizontal=True, gap="small"):
        for shown, kind, mime, make in (
            ("CSV", "csv", "text/csv", csv_bytes),
            ("Parquet", "parquet", "application/vnd.apache.parquet", parquet_bytes),
        ):
            st.download_button(
                f"{label} {shown}".strip(),
                partial(_made, make, frame),
                file_name=f"{file_name(name)}.{kind}",
                mime=mime,
                key=f"{key}-{kind}",
                on_click="ignore",
                type="tertiary",
                icon=":material/download:",
                help=f"The whole table as {shown}",
            )


def _made(make: Callable[[pd.DataFrame], bytes], frame: pd.DataFrame | Callable[[], pd.DataFrame]) -> bytes:
    return make(frame() if callable(frame) else frame)


def selected_rows(event: Any) -> list[int]:
    """Positions of the rows chosen in a table; read as a mapping, which is what tests seed."""
    selection = event["selection"] if event else {}
    return [int(row) for row in selection.get("rows", [])]


def selected_points(event: Any) -> list[int]:
    """Positions of the points chosen in a chart."""
    selection = event["selection"] if event else {}
    return [int(point) for point in selection.get("point_indices", [])]


def screen(frame: pd.DataFrame) -> pd.DataFrame:
    """The frame as the screen shows it: texts cut and without control characters, lists as text."""
    shown = frame.copy()
    for name in shown.columns:
        if is_text(shown[name]):
            shown[name] = [cell(value) for value in shown[name]]
    return shown


def is_text(column: pd.Series[Any]) -> bool:
    """Whether a column holds strings, lists or a mixture, rather than numbers, bools or dates."""
    return bool(pd.api.types.is_object_dtype(column) or pd.api.types.is_string_dtype(column))


def cell(value: Any) -> str | None:
    """One value as a cell of text; nothing for what is missing."""
    if isinstance(value, Iterable) and not isinstance(value, str):
        return one_line(" ".join(str(part) for part in value), LONGEST_CELL)
    return None if value is None or value is pd.NA or value != value else one_line(value, LONGEST_CELL)


def csv_bytes(frame: pd.DataFrame) -> bytes:
    """The frame as CSV in UTF-8: text in quotes, and with one more in front where it begins like a formula.

    A lone carriage return, which spreadsheets take for a new row, stays inside its cell by the quotes.
    """
    safe = frame.copy()
    for name in safe.columns:
        if is_text(safe[name]):
            safe[name] = [unrisky(as_written(value)) for value in safe[name]]
    safe.columns = pd.Index([unrisky(str(name)) for name in safe.columns])
    return bytes(safe.to_csv(index=False, quoting=csv.QUOTE_NONNUMERIC).encode())


def parquet_bytes(frame: pd.DataFrame) -> bytes:
    """The frame as Parquet, values as they are."""
    stream = io.BytesIO()
    frame.to_parquet(stream, index=False)
    return stream.getvalue()


def as_written(value: Any) -> str | None:
    """A value for a CSV cell: lists as JSON, texts as they are."""
    if isinstance(value, Iterable) and not isinstance(value, str):
        return json.dumps(list(value), ensure_ascii=False, default=float)
    return None if value is None or value is pd.NA or value != value else str(value)


def unrisky(text: str | None) -> str | None:
    """The text with a quote in front if a spreadsheet would run it."""
    return f"'{text}" if text is not None and text.startswith(RISKY) else text


def file_name(text: str) -> str:
    """A harmless file name: letters, digits, dots, dashes."""
    return "".join(c if c.isascii() and (c.isalnum() or c in "-_.") else "-" for c in text)[:80].lstrip(".")


def chart(
    figure: go.Figure,
    *,
    alt: str,
    key: str,
    height: int = 360,
    select: Sequence[Literal["points", "box", "lasso"]] = (),
) -> list[int]:
    """A chart with alt text; returns the positions of the selected points, if it can be selected in.

    Args:
        figure: drawn by a function of `dashboards.charts`.
        alt: what it shows, in a sentence or two, with its main number.
        key: of the widget, unique on its page.
        height: in pixels.
        select: how points can be chosen.
    """
    behaviour: dict[str, Any] = {"on_select": "rerun", "selection_mode": tuple(select)} if select else {}
    event = st.plotly_chart(
        theme.dressed(figure, mode(), height),
        key=key,
        alt=printable(alt, 1000),
        theme="streamlit",
        config={"displaylogo": False, "scrollZoom": False, "topojsonURL": ""},
        **behaviour,
    )
    return selected_points(event) if select else []


def mode() -> theme.Mode:
    """Whether the reader looks at light or dark."""
    return "dark" if st.context.theme.type == "dark" else "light"


def text(value: object, most: int = 4000) -> None:
    """Text of a model or file: shown as it is, never as markup."""
    st.text(printable(value, most))


def sentences(found: Sequence[str], most: int = 60) -> None:
    """Sentences of a run as a list."""
    said = [f"• {one_line(sentence, 1000)}" for sentence in found[:most]]
    more = [f"… and {len(found) - most} more"] if len(found) > most else []
    st.text("\n".join([*said, *more]))


def heading(title: str, about: str = "") -> None:
    """Title of a page and one line on the question that it answers."""
    st.title(plain(title), anchor=False)
    if about:
        st.caption(plain(about))


def section(title: str, about: str = "") -> None:
    """Heading of a part of a page."""
    st.subheader(plain(title), anchor=False)
    if about:
        st.caption(plain(about, 1000))


def not_measured(what: str, why: str) -> None:
    """Says that something was not measured, and why: as important as a number."""
    st.info(f"{plain(what)}: not measured", icon=":material/do_not_disturb_on:")
    st.caption(plain(why, 1000))


def banner(store: Store) -> None:
    """What a reader has to know before any number: invented, unfinished, broken."""
    if store.manifest.miniature:
        st.warning("**MINIATURE**: every number in this run is invented", icon=":material/science:")
    if store.unfinished:
        st.warning(
            "This run is not finished: it is being written, or was stopped.", icon=":material/pending:"
        )
        text("still to do: " + ", ".join(store.unfinished))
    if store.problems:
        with st.expander(f"{len(store.problems)} problem(s) with this run folder", icon=":material/warning:"):
            text("\n".join(store.problems))


def link(page: str, label: str, *, help: str | None = None, **address: object) -> None:
    """A link to another page of the same run, with its query parameters.

    Args:
        page: name of the page in `dashboards.app.PAGES`.
        label: what the link says; may be text of a model.
        help: shown on hovering.
        address: query parameters besides `run`; None leaves one out.
    """
    pages = st.session_state.get(PAGES, {})
    parameters = {"run": one_line(chosen_run()), **address}
    query = {name: str(value) for name, value in parameters.items() if value is not None}
    if page in pages:
        st.page_link(pages[page], label=plain(label), query_params=query, help=help)


def estimate(value: Any, form: str = ".3g") -> str:
    """`value [low, high]` of an estimate; 'not measured' of none."""
    from audit.evidence.text import text_of

    return "not measured" if value is None else text_of(value, form)


def number(value: float | None, form: str = ".3g") -> str:
    """A number; 'not measured' of none."""
    return "not measured" if value is None or value != value else format(value, form)
