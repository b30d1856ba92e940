"""Pages opened as AppTest does it, on copies of the miniature runs."""

from __future__ import annotations

import json
import re
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

RUNS = Path(__file__).parents[1] / "data" / "runs"
OpenPage = Callable[..., Any]


@pytest.fixture(autouse=True)
def no_components(monkeypatch: pytest.MonkeyPatch) -> None:
    """AppTest reads the metadata of every installed package before each run; no page uses a component."""
    from streamlit.components.v2 import manifest_scanner

    monkeypatch.setattr(manifest_scanner, "scan_component_manifests", lambda *_, **__: [])


@pytest.fixture
def miniature(tmp_path: Path) -> Callable[[str], Path]:
    """Maker of copies: `miniature("compare")` is a run folder that a test may change."""

    def copy(kind: str) -> Path:
        return Path(shutil.copytree(RUNS / kind, tmp_path / kind))

    return copy


@pytest.fixture
def open_page(monkeypatch: pytest.MonkeyPatch) -> OpenPage:
    """Opens one page: `open_page("drift", run, hook="...")` is an `AppTest` that has run once."""

    def open_(name: str, *runs: Path, **query: str | list[str]) -> Any:
        from streamlit.testing.v1 import AppTest

        monkeypatch.setenv("UNMASK_DASHBOARD_RUNS", json.dumps([str(run) for run in runs]))

        def body(name: str) -> None:
            from importlib import import_module

            from audit.errors import AuditError
            from dashboards.state import say_error

            try:
                import_module(f"dashboards.pages.{name}").page()
            except AuditError as error:
                say_error(error)

        test = AppTest.from_function(body, args=(name,), default_timeout=60)
        for key, value in query.items():
            test.query_params[key] = value
        return test.run()

    return open_


@pytest.fixture
def open_app(monkeypatch: pytest.MonkeyPatch) -> OpenPage:
    """Opens the whole application at a page, menu and links included: `open_app("feature", run, ...)`."""

    def open_(name: str, *runs: Path, **query: str | list[str]) -> Any:
        from streamlit.testing.v1 import AppTest

        from dashboards.launch import SCRIPT
        from dashboards.runs import LANDING_VARIABLE, RUNS_VARIABLE

        monkeypatch.setenv(RUNS_VARIABLE, json.dumps([str(run) for run in runs]))
        monkeypatch.setenv(LANDING_VARIABLE, name)
        test = AppTest.from_file(SCRIPT, default_timeout=60)
        for key, value in query.items():
            test.query_params[key] = value
        return test.run()

    return open_


@pytest.fixture
def skip_stage() -> Callable[..., None]:
    """Makes a stage of a run skipped: `skip_stage(run, "drift", "it was not asked for")`."""

    def skip(run: Path, stage: str, reason: str) -> None:
        manifest = json.loads((run / "manifest.json").read_text(encoding="utf-8"))
        manifest["stages"][stage] = {"status": "skipped", "reason": reason}
        (run / "manifest.json").write_text(json.dumps(manifest), encoding="utf-8")
        shutil.rmtree(run / "stages" / stage)

    return skip


@pytest.fixture
def said() -> Callable[[Any], str]:
    """Everything that a page says, as one text, without the escapes of Markdown."""

    def words(test: Any) -> str:
        kinds = (
            "title",
            "subheader",
            "markdown",
            "caption",
            "text",
            "info",
            "warning",
            "error",
            "success",
            "code",
        )
        found = [str(element.value) for kind in kinds for element in getattr(test, kind)]
        found += [f"{m.label} {m.value} {m.delta}" for m in test.metric]
        return re.sub(r"\\(?=\W)", "", "\n".join(found))

    return words
