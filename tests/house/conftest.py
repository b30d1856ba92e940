"""What tests of the whole house share: a run folder made to do harm, a served dashboard, a browser.

In the run every text that the schema allows is hostile, and files lead elsewhere.
"""

from __future__ import annotations

import json
import shutil
import socket
import subprocess
import sys
import threading
import time
import types
import urllib.request
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, Literal, NamedTuple, Union, get_args, get_origin
from urllib.parse import urlsplit

import pandas as pd
import pytest

from audit.evidence.files import sha256_file, sha256_json, write_json, write_table
from audit.evidence.run import CLAIMS, CONFIG, MANIFEST, RunFolder
from audit.evidence.schema import TABLES, documents, results
from audit.evidence.schema.tables import TEXT, TEXTS
from audit.evidence.stage import stage_files

ROOT = Path(__file__).parents[2]
RUNS = ROOT / "tests" / "data" / "runs"
FLAG = "window.pwned=1"
ELSEWHERE = "http://elsewhere.invalid"
"""Nobody may ask for it."""
MARK = "the-text-outside-of-the-run"
NASTY = (
    f"<script>{FLAG}</script>",
    f'<img src=x onerror="{FLAG}">',
    f"</script><svg onload={FLAG}>",
    f"[click](javascript:{FLAG})",
    f"![x]({ELSEWHERE}/x.png)",
    f"<a href='javascript:{FLAG}'>x</a><b>bold</b>",
    rf"$\href{{javascript:{FLAG}}}{{x}}$ $$\frac{{1}}{{2}}$$",
    ":red[boo] :material/skull: :blue-background[x] :streamlit:",
    '#read("/etc/passwd") #eval("1") #import "x.typ" @ref <label> $ 1/2 $',
    "**bold** __x__ `code` ~~gone~~ # heading\n\n- list\n\n```\nfence\n```",
    "\x00\x07\x08\x1b[31mred\x1b]0;title\x07\x7f\x9b",
    "\u202egnp.exe\u202c \u2066x\u2069 \ufeff\u200b",
    "../../../../../../etc/passwd",
    f'=HYPERLINK("{ELSEWHERE}")',
    "{{7*7}} ${7*7} <%= 7*7 %> %{x} %{customdata}",
    "漢字 \U0001f600 \U000e0041 \ue000 \ufffe",
    "a'; DROP TABLE items; --\" OR 1=1",
)
KEPT_FIELDS = {"created", "sha256", "identity", "code", "done", "claims", "config", "file", "format"}
KEPT_COLUMNS = {"model", "split", "source", "stratum", "sign", "direction", "kind", "candidate", "role"}
"""Words that decide where a row belongs: with other ones a page would be empty instead of hostile."""


class Hostile(NamedTuple):
    """A hostile run, and what lies outside of it."""

    run: Path
    outside: Path
    """A file that nobody may read; it holds `MARK`."""


@pytest.fixture
def hostile_run(tmp_path: Path) -> Callable[..., Hostile]:
    """Maker: `hostile_run("compare")` is such a run, of any kind; `long=True` adds texts of 10 MB."""

    def make(kind: str, *, long: bool = False) -> Hostile:
        outside = tmp_path / "outside.parquet"
        outside.write_text(MARK)
        run = RunFolder(Path(shutil.copytree(RUNS / kind, tmp_path / f"hostile-{kind}")))
        for stage in run.manifest().stages:
            _poison_stage(run, stage, long=long)
        _poison_settings(run)
        _poison_manifest(run, long=long)
        _poison_claims(run, long=long)
        return Hostile(run.path, outside)

    return make


class Watched(NamedTuple):
    """A page of a browser, and everything that must not happen in it."""

    page: Any
    trouble: list[str]
    """Requests to elsewhere, dialogs, errors on the console."""


@pytest.fixture
def served() -> Iterator[Callable[..., str]]:
    """Starts a dashboard of some runs in a process of its own; gives its address."""
    started: list[subprocess.Popen[bytes]] = []

    def serve(*runs: Path) -> str:
        with socket.create_server(("127.0.0.1", 0)) as free:
            port = free.getsockname()[1]
        code = (
            "import sys; from pathlib import Path; from dashboards.launch import serve;"
            f"serve([Path(run) for run in sys.argv[1:]], port={port}, headless=True)"
        )
        started.append(subprocess.Popen([sys.executable, "-c", code, *map(str, runs)], cwd=ROOT))
        address = f"http://127.0.0.1:{port}"
        _wait(f"{address}/_stcore/health", started[-1])
        return address

    yield serve
    for process in started:
        process.terminate()
        process.wait(timeout=20)


@pytest.fixture
def watched() -> Iterator[Watched]:
    """A page in headless Chromium; without Chromium the test is skipped and says so."""
    executable = shutil.which("chromium")
    if executable is None:
        pytest.skip("there is no Chromium on this machine: run `make browser` first")
    from playwright.sync_api import sync_playwright

    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=executable, args=["--no-sandbox"])
        page = browser.new_page(viewport={"width": 1400, "height": 1000}, accept_downloads=True)
        page.set_default_timeout(60_000)
        trouble: list[str] = []
        page.on("request", lambda request: _watch_request(request.url, trouble))
        page.on("dialog", lambda dialog: (trouble.append(f"dialog {dialog.message}"), dialog.dismiss()))
        page.on("pageerror", lambda error: trouble.append(f"page error {error}"))
        page.on("console", lambda message: _watch_console(message, trouble))
        yield Watched(page, trouble)
        browser.close()


def _watch_request(url: str, trouble: list[str]) -> None:
    local = urlsplit(url).hostname in ("127.0.0.1", "localhost")
    if not local and not url.startswith(("data:", "blob:")):
        trouble.append(f"request {url}")


def _watch_console(message: Any, trouble: list[str]) -> None:
    probing = "_stcore/" in str(message.location.get("url"))  # Streamlit looks for its root by trying
    if message.type == "error" and not probing:
        trouble.append(f"console {message.text}")


def _wait(url: str, process: subprocess.Popen[bytes], seconds: float = 60) -> None:
    """Until the server answers."""
    end, pause = time.monotonic() + seconds, threading.Event()
    while time.monotonic() < end and process.poll() is None:
        try:
            with urllib.request.urlopen(url, timeout=5):  # noqa: S310  (our own address)
                return
        except OSError:
            pause.wait(0.05)
    pytest.fail(f"the dashboard does not answer at {url}")


def nasty(text: str) -> str:
    """A name as the run's author would like it to be: the same for the same name, everywhere in the run."""
    return f"{text} {NASTY[sum(text.encode()) % len(NASTY)]}"


def _poison_stage(run: RunFolder, stage: str, *, long: bool) -> None:
    folder = run.stage_path(stage)
    for path in sorted(folder.glob("*.parquet")):
        table = TABLES[path.stem]
        frame = pd.read_parquet(path)
        for column in table.columns:
            if column.name in KEPT_COLUMNS:
                continue
            if column.type == TEXT:
                frame[column.name] = [
                    nasty(value) if value is not None else None for value in frame[column.name]
                ]
            if column.type == TEXTS:
                frame[column.name] = [list(NASTY)] * len(frame)
        if long and "entity" in frame:
            frame.loc[0, "entity"] = "<b>" * 3_500_000
        write_table(path, table, frame)
    result = _poisoned(json.loads((folder / "result.json").read_text()), results.RESULTS[stage], "")
    write_json(folder / "result.json", result)
    results.RESULTS[stage].model_validate(result)
    files = {name: sha256_file(folder / name) for name in stage_files(folder)}
    files |= {"../../../../../../etc/passwd": "0" * 64, f"<script>{FLAG}</script>": "0" * 64}
    done = documents.Done(key=sha256_json(files), files=files, seconds=1.0)
    write_json(folder / "DONE", done.model_dump(mode="json"))


def _poison_settings(run: RunFolder) -> None:
    (run.path / CONFIG).write_text(f"# {NASTY[0]}\nname = '''\n{NASTY[4]}\n'''\n", encoding="utf-8")


def _poison_manifest(run: RunFolder, *, long: bool) -> None:
    manifest = json.loads((run.path / MANIFEST).read_text())
    for stage, state in manifest["stages"].items():
        state["done"] = sha256_file(run.stage_path(stage) / "DONE")
    manifest["config"] = sha256_file(run.path / CONFIG)
    for side in ("base", "tuned"):
        if manifest[side]:
            record = _poisoned(manifest[side], documents.ModelRecord, "")
            manifest[side] = record | {
                "files": {"../../../../../../etc/passwd": "0" * 64, NASTY[0]: "0" * 64}
            }
    manifest |= {"command": ["audit", *NASTY], "data": dict.fromkeys(NASTY, "0" * 64)}
    manifest |= {"versions": {text: text for text in NASTY}, "dtype": NASTY[1], "device": NASTY[5]}
    manifest |= {"version": NASTY[0] + ("<i>" * 3_500_000 if long else "")}
    manifest["stages"]["relearn " + NASTY[0]] = {"status": "skipped", "reason": NASTY[4]}
    write_json(run.path / MANIFEST, manifest)


def _poison_claims(run: RunFolder, *, long: bool) -> None:
    claims = json.loads((run.path / CLAIMS).read_text())
    for number, claim in enumerate(claims["claims"]):
        text = NASTY[number % len(NASTY)]
        claim |= {
            "statement": f"{claim['statement']} {text}",
            "preconditions": [text],
            "test": text,
            "null": text,
        }
        claim["id"] = f"{claim['id']} {text}"
    escapes = ("../../outside.parquet", "/etc/passwd", "stages/../../outside.parquet", "stages/link.json")
    for claim, file in zip(claims["claims"], escapes, strict=False):
        claim["evidence"]["file"] = file
    if long:
        claims["claims"][-1]["statement"] = "![x](y)" * 1_500_000
    (run.path / "stages" / "link.json").symlink_to(run.path.parent / "outside.parquet")
    write_json(run.path / CLAIMS, claims)
    manifest = json.loads((run.path / MANIFEST).read_text()) | {"claims": sha256_file(run.path / CLAIMS)}
    write_json(run.path / MANIFEST, manifest)


def _poisoned(value: Any, kind: Any, name: str) -> Any:
    """The value with every text that is free to be anything replaced by a hostile one."""
    origin, parts = get_origin(kind), get_args(kind)
    if value is None or origin is Literal or name in KEPT_FIELDS:
        return value
    if origin in (Union, types.UnionType):
        inner = next(part for part in parts if part is not type(None))
        return _poisoned(value, str if isinstance(value, str) and str in parts else inner, name)
    if origin is list:
        return [_poisoned(entry, parts[0], name) for entry in value]
    if origin is dict:
        return {nasty(key): _poisoned(entry, parts[1], name) for key, entry in value.items()}
    if isinstance(kind, type) and issubclass(kind, documents.Document):
        fields = kind.model_fields
        return {key: _poisoned(entry, fields[key].annotation, key) for key, entry in value.items()}
    return nasty(value) if kind is str and isinstance(value, str) else value
