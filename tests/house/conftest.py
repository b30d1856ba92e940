"""A run folder made to do harm: every text that the schema allows is hostile, and files lead elsewhere."""

from __future__ import annotations

import json
import shutil
import types
from collections.abc import Callable
from pathlib import Path
from typing import Any, Literal, NamedTuple, Union, get_args, get_origin

import pandas as pd
import pytest

from audit.evidence.files import sha256_file, sha256_json, write_json, write_table
from audit.evidence.run import CLAIMS, CONFIG, MANIFEST, RunFolder
from audit.evidence.schema import TABLES, documents, results
from audit.evidence.schema.tables import TEXT, TEXTS
from audit.evidence.stage import stage_files

RUNS = Path(__file__).parents[1] / "data" / "runs"
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
