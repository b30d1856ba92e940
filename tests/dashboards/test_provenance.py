"""Provenance."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from audit.evidence.schema.documents import AdapterRecord
from dashboards.shape import provenance as shape
from dashboards.store import open_store

Open = Callable[..., Any]
Copy = Callable[[str], Path]


@pytest.mark.parametrize("kind", ["compare", "train", "attack", "selftest"])
def test_the_page(open_page: Open, miniature: Copy, said: Callable[[Any], str], kind: str) -> None:
    page = open_page("provenance", miniature(kind))
    assert not page.exception
    text = said(page)
    assert "MINIATURE" in text
    assert f"audit {kind}" in text
    assert "Not verified in this session." in text
    page = page.button(key="verify").click().run()
    assert "claims are as they were written" in said(page)


def test_verify_says_what_was_changed(open_page: Open, miniature: Copy, said: Callable[[Any], str]) -> None:
    run = miniature("compare")
    (run / "stages" / "drift" / "drift.parquet").write_bytes(b"PAR1")
    page = open_page("provenance", run).button(key="verify").click().run()
    assert not page.exception
    assert "stages/drift/drift.parquet was changed after it was written" in said(page)


def test_artefacts_stay_inside_the_run(miniature: Copy) -> None:
    run = miniature("compare")
    path = run / "stages" / "drift" / "DONE"
    done = json.loads(path.read_text())
    done["files"] |= {"../../../../../etc/passwd": "0", "/etc/passwd": "0", "gone.json": "1"}
    path.write_text(json.dumps(done))
    (run / "stages" / "weights" / "DONE").write_text("[]")
    (run / "stages" / "elicit" / "DONE").unlink()
    frame = shape.artefacts(open_store(run)).set_index("file")
    for name in ("../../../../../etc/passwd", "/etc/passwd", "gone.json"):
        assert frame.loc[f"stages/drift/{name}", "bytes"] != frame.loc[f"stages/drift/{name}", "bytes"]
    assert frame.loc["stages/drift/drift.parquet", "bytes"] > 0
    assert not frame["written by"].isin(["weights", "elicit"]).any()


def test_what_a_model_was_made_of(miniature: Copy) -> None:
    record = open_store(miniature("compare")).manifest.base
    assert shape.model_facts(record)["adapter"] == "none"
    adapter = AdapterRecord(reference="some/folder", binds_to=None)
    changed = record.model_copy(update={"adapter": adapter, "quantisation": "Q4_1", "pickled": True})
    found = shape.model_facts(changed)
    assert found["adapter says it was made for"] == "does not say"
    assert found["stored in"].endswith("quantised as Q4_1")
    assert found["pickled weights"].startswith("yes")


def test_the_command_is_quoted(miniature: Copy) -> None:
    manifest = open_store(miniature("compare")).manifest
    dangerous = manifest.model_copy(update={"command": ["audit", "x; rm -rf ~", "$(id)"]})
    assert shape.command_text(dangerous) == "audit 'x; rm -rf ~' '$(id)'"


def test_settings_outside_the_run_are_not_read(
    open_page: Open, miniature: Copy, said: Callable[[Any], str], tmp_path: Path
) -> None:
    run = miniature("compare")
    (tmp_path / "secret.toml").write_text("secret = 1")
    (run / "config.toml").unlink()
    (run / "config.toml").symlink_to(tmp_path / "secret.toml")
    page = open_page("provenance", run)
    assert not page.exception
    assert "secret = 1" not in said(page)
    assert "leads out of the run folder" in said(page)
