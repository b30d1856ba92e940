"""Writes a bundle: a folder of HTML, tables and plotly's own script, whole or not at all."""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from importlib.metadata import version
from pathlib import Path
from typing import Any

import pandas as pd
from jinja2 import Environment, PackageLoader, StrictUndefined
from markupsafe import Markup

from audit.errors import OutputError
from audit.evidence.files import TEMPORARY, output_errors
from dashboards.export.plan import FANNED, Planned, cards_of, fanned, pages_of
from dashboards.export.snapshot import Link, Node, Snapshot, given, snapshot
from dashboards.records import RUN, opened, run_row
from dashboards.runs import given_runs
from dashboards.text import one_line
from dashboards.widgets import csv_bytes, parquet_bytes

MARKER = "unmask-bundle.json"
"""What tells a bundle of ours from somebody's folder."""
SHOWN_ROWS = 400
"""Rows of a table in the page; the files beside it have all that the dashboard shows."""


@dataclass
class Bundle:
    """A bundle while it is written."""

    folder: Path
    environment: Environment
    files: dict[Link, str] = field(default_factory=dict)
    """File of each address, for links; the run's number is part of neither, so it is kept per run."""


def write_bundle(runs: Sequence[Path], folder: Path) -> Path:
    """Writes the pages of these runs that need no server; an older bundle there is replaced.

    Args:
        runs: run folders.
        folder: where to write; it must be missing, empty, or an older bundle, and in no run.

    Raises:
        OutputError: it holds something else, lies inside a run, or cannot be written.
    """
    target = folder.resolve()
    _refuse(target, runs)
    with output_errors(target), _whole(target) as temporary, given(runs):
        bundle = Bundle(temporary, _environment())
        _assets(temporary)
        names = list(given_runs().items())
        for number, (name, path) in enumerate(names, start=1):
            _run(bundle, name, path, number)
        _front(bundle, names)
    return target


def _refuse(target: Path, runs: Sequence[Path]) -> None:
    if any(target.is_relative_to(run.resolve()) for run in runs):
        raise OutputError(
            "The bundle would lie inside a run folder.", where=str(target), fix="name another folder"
        )
    if target.exists() and not target.is_dir():
        raise OutputError("The output is a file, not a folder.", where=str(target), fix="name another folder")
    if target.is_dir() and any(target.iterdir()) and not (target / MARKER).is_file():
        raise OutputError(
            "The output folder holds something that is not a bundle of ours.",
            where=str(target),
            fix="name another folder; nothing was changed there",
        )


@contextmanager
def _whole(target: Path) -> Iterator[Path]:
    """A folder beside the target that takes its place when the block ends well, else it goes."""
    temporary = target.with_name(f".{target.name}.{os.getpid()}{TEMPORARY}")
    old = target.with_name(f".{target.name}.{os.getpid()}.old")
    shutil.rmtree(temporary, ignore_errors=True)
    temporary.mkdir(parents=True)
    try:
        yield temporary
        if target.exists():
            target.rename(old)
        temporary.rename(target)
    finally:
        shutil.rmtree(temporary, ignore_errors=True)
        shutil.rmtree(old, ignore_errors=True)


def _environment() -> Environment:
    environment = Environment(
        loader=PackageLoader("dashboards.export", "templates"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters["cell"] = _cell
    environment.filters["embedded"] = _embedded
    return environment


def _cell(value: Any) -> str:
    if value is None or value is pd.NA or value != value:
        return ""
    return f"{value:.4g}" if isinstance(value, float) else one_line(value, 300)


def _embedded(spec: str) -> Markup:
    """A figure's JSON for a script element of type JSON: no character in it can end the element."""
    checked = json.dumps(json.loads(spec), ensure_ascii=True, separators=(",", ":"))
    safe = checked.replace("<", "\\u003c").replace(">", "\\u003e").replace("&", "\\u0026")
    return Markup(safe)  # noqa: S704  (JSON, in which the three characters that HTML reads are spelled out)


def _assets(folder: Path) -> None:
    from importlib.resources import files

    assets = folder / "assets"
    assets.mkdir()
    plotly = files("plotly") / "package_data" / "plotly.min.js"
    (assets / "plotly.min.js").write_bytes(plotly.read_bytes())
    for name in ("style.css", "figures.js"):
        (assets / name).write_bytes((files("dashboards.export") / "templates" / name).read_bytes())
    about = {"made by": f"unmask {version('unmask')}"}
    (folder / MARKER).write_text(json.dumps(about) + "\n", encoding="utf-8")


def _run(bundle: Bundle, name: str, path: Path, number: int) -> None:
    """Every page of one run: first all are run, then all are written, since links have to know the files."""
    (bundle.folder / f"run-{number}" / "data").mkdir(parents=True)
    taken: list[tuple[Planned, Snapshot]] = []
    for planned in pages_of(number):
        first = snapshot(planned.page, {"run": name})
        axis = next((axis for axis in FANNED if len(first.choices.get(axis, ())) > 1), None)
        if axis is None:
            taken.append((planned, first))
            continue
        for one in fanned(planned, axis, first.choices[axis]):
            taken.append((one, snapshot(one.page, {"run": name, **dict(one.address)})))
    cards = cards_of(path, number)
    files = {planned.key: planned.file for planned in [*(p for p, _ in taken), *cards]}
    menu = pages_of(number)
    for planned, found in taken:
        _write(bundle, planned, found, files, menu, name)
    for card in cards:
        _write(bundle, card, snapshot(card.page, {"run": name, **dict(card.address)}), files, menu, name)


def _write(
    bundle: Bundle,
    planned: Planned,
    found: Snapshot,
    files: Mapping[Link, str],
    menu: list[Planned],
    run: str,
) -> None:
    tables = iter(range(1, 1000))

    def href(link: Link) -> str | None:
        return _href(link, files)

    def saved(frame: pd.DataFrame) -> str:
        stem = f"{Path(planned.file).stem}-{next(tables)}"
        folder = bundle.folder / Path(planned.file).parent / "data"
        (folder / f"{stem}.csv").write_bytes(csv_bytes(frame))
        (folder / f"{stem}.parquet").write_bytes(parquet_bytes(frame))
        return f"data/{stem}"

    text = bundle.environment.get_template("page.html").render(
        title=planned.title, run=one_line(run), nodes=found.nodes, menu=menu, here=planned, href=href,
        saved=saved if planned.page != "feature" else None, rows=SHOWN_ROWS, root="../",
        cards=_cards(planned, files), strip=_strip,
    )  # fmt: skip
    (bundle.folder / planned.file).write_text(text, encoding="utf-8")


def _href(link: Link, files: Mapping[Link, str]) -> str | None:
    """The file that shows what a link asks for, or the nearest one."""
    asked = frozenset(pair for pair in link.address if pair[0] in (*FANNED, "latent"))
    exact = files.get(Link(link.page, asked)) or files.get(Link(link.page, frozenset()))
    if exact is None and "latent" not in dict(asked):
        same = [file for key, file in files.items() if key.page == link.page]
        exact = same[0] if same and link.page != "feature" else None
    return None if exact is None else Path(exact).name


def _cards(planned: Planned, files: Mapping[Link, str]) -> str:
    """For the map: the file of each latent that has a card, as JSON."""
    if planned.page != "diff_map":
        return "{}"
    hook = dict(planned.address).get("hook")
    found = {
        dict(key.address)["latent"]: Path(file).name
        for key, file in files.items()
        if key.page == "feature" and hook in (None, dict(key.address)["hook"])
    }
    return json.dumps(found)


def _strip(node: Node) -> Markup:
    """Coloured tokens: `dashboards.tokens.token_strip` made and escaped them, and nothing else makes HTML."""
    return Markup(node.data["html"])  # noqa: S704


def _front(bundle: Bundle, names: list[tuple[str, Path]]) -> None:
    rows = [run_row(name, opened(path)) for name, path in names]
    text = bundle.environment.get_template("index.html").render(
        columns=RUN, rows=rows, first=pages_of(1)[0].file.split("/", 1)[1], root=""
    )
    (bundle.folder / "index.html").write_text(text, encoding="utf-8")
