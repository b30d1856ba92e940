"""One page of the dashboard as it stands at one address, as a tree that a template can write.

The page runs in Streamlit's own headless runner, so that the copy shows what the page shows. What asks the
reader for something (boxes, buttons, forms) is left out, but for what was chosen.
"""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from urllib.parse import parse_qsl

from dashboards.export.markdown import spans
from dashboards.runs import LANDING_VARIABLE, RUNS_VARIABLE

SCRIPT = Path(__file__).resolve().parents[1] / "script" / "unmask.py"
PATIENCE = 120.0
"""Seconds that one page may take."""
NOTICES = {"error": "error", "warning": "warning", "info": "info", "success": "success"}
PROSE = {
    "title": "title",
    "subheader": "heading",
    "header": "heading",
    "caption": "caption",
    "markdown": "prose",
}


@dataclass(frozen=True)
class Node:
    """A piece of a page; `kind` chooses how the template writes it."""

    kind: str
    data: Mapping[str, Any] = field(default_factory=dict)
    children: tuple[Node, ...] = ()


@dataclass(frozen=True)
class Link:
    """Where a link leads: a page of the dashboard and its address."""

    page: str
    address: frozenset[tuple[str, str]]


@dataclass(frozen=True)
class Snapshot:
    """A page as it stood."""

    nodes: tuple[Node, ...]
    choices: Mapping[str, Sequence[str]]
    """What there was to choose, by query parameter."""


@contextmanager
def given(runs: Sequence[Path]) -> Iterator[None]:
    """The application sees these runs meanwhile."""
    before = {name: os.environ.get(name) for name in (RUNS_VARIABLE, LANDING_VARIABLE)}
    from streamlit.logger import set_log_level

    set_log_level("ERROR")  # the headless runner warns that it is no server
    os.environ[RUNS_VARIABLE] = json.dumps([str(path) for path in runs])
    try:
        with _without_components():
            yield
    finally:
        for name, value in before.items():
            os.environ.pop(name, None)
            if value is not None:
                os.environ[name] = value


@contextmanager
def _without_components() -> Iterator[None]:
    """No search for components meanwhile.

    The headless runner reads the metadata of every installed package before each run, which takes ten times
    as long as a page, and this application uses no component.
    """
    from streamlit.components.v2 import manifest_scanner

    before = manifest_scanner.scan_component_manifests
    manifest_scanner.scan_component_manifests = lambda *_, **__: []
    try:
        yield
    finally:
        manifest_scanner.scan_component_manifests = before


def snapshot(page: str, address: Mapping[str, str]) -> Snapshot:
    """Runs one page at one address; call inside `given`."""
    from streamlit.testing.v1 import AppTest

    os.environ[LANDING_VARIABLE] = page
    test = AppTest.from_file(SCRIPT, default_timeout=PATIENCE)
    for name, value in address.items():
        test.query_params[name] = value
    test.run()
    choices = {box.key: list(box.options) for box in [*test.main.selectbox] if box.key}
    return Snapshot(tuple(_nodes(test.main, page)), choices)


def _nodes(block: Any, page: str) -> Iterator[Node]:
    for child in block.children.values():
        found = _block(child, page) if hasattr(child, "children") else _element(child, page)
        if found is not None:
            yield found


def _block(block: Any, page: str) -> Node | None:
    children = tuple(_nodes(block, page))
    if not children:
        return None
    kind = str(block.type)
    if kind in ("expander", "tab"):
        return Node("box", {"title": spans(block.label)}, children)
    if kind == "flex_container":
        container = block.proto.flex_container
        across = container.direction == container.Direction.HORIZONTAL
        return Node("row" if across else "stack", {"border": container.border}, children)
    return Node("column" if kind == "column" else "stack", {"border": False}, children)


def _element(element: Any, page: str) -> Node | None:
    make = ELEMENTS.get(str(element.type))
    return make(element, page) if make is not None else None


def _prose(element: Any, _page: str) -> Node:
    return Node(PROSE[element.type], {"spans": spans(element.value)})


def _notice(element: Any, _page: str) -> Node:
    return Node("notice", {"level": NOTICES[element.type], "spans": spans(element.value)})


def _exception(_element: Any, _page: str) -> Node:
    return Node("notice", {"level": "error", "spans": spans("This part could not be drawn.")})


def _text(element: Any, _page: str) -> Node:
    return Node("text", {"text": str(element.value)})


def _html(element: Any, _page: str) -> Node:
    return Node("strip", {"html": str(element.proto.body)})


def _table(element: Any, _page: str) -> Node:
    return Node("table", {"frame": element.value, "alt": element.proto.alt})


def _chart(element: Any, _page: str) -> Node:
    return Node("chart", {"spec": element.proto.spec, "alt": element.proto.alt})


def _metric(element: Any, _page: str) -> Node:
    proto = element.proto
    data = {name: spans(getattr(proto, name)) for name in ("label", "body", "delta")}
    return Node("metric", data)


def _link(element: Any, page: str) -> Node:
    target = element.proto.page or page
    link = Link(target, frozenset(parse_qsl(element.proto.query_string)))
    return Node("link", {"label": spans(element.proto.label), "to": link})


def _choice(element: Any, _page: str) -> Node:
    return Node("choice", {"label": spans(element.label), "value": str(element.value)})


Make = Callable[[Any, str], Node]
ELEMENTS: dict[str, Make] = {
    **dict.fromkeys(PROSE, _prose),
    **dict.fromkeys(NOTICES, _notice),
    "exception": _exception,
    "text": _text,
    "code": _text,
    "html": _html,
    "arrow_data_frame": _table,
    "dataframe": _table,
    "plotly_chart": _chart,
    "metric": _metric,
    "page_link": _link,
    "selectbox": _choice,
}
"""How each element of a page is copied; what is not here is left out."""
