"""The page of the text probe; what the probe itself finds is tested in tests/audit/test_probe.py."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pandas as pd
import pytest

from audit.errors import AuditError
from dashboards import asking
from dashboards.charts import probe as charts

Open = Callable[..., Any]
Copy = Callable[[str], Path]
HOOK = "blocks.2.hook_resid_post"
TOKENS = ["The", " <b>nurse</b>", "\n", " ", " said"]
ANSWER = {
    "hook": HOOK, "latents": 64, "joint": True, "tokens": TOKENS, "left_out": 1, "base": "the base",
    "tuned": "the tuned",
    "found": [{"latent": 7, "base": [0.0, 1.5, 0, 0, 0], "tuned": [0.0, 0.5, 0, 0, 2.0]}],
}  # fmt: skip


def answered(monkeypatch: pytest.MonkeyPatch, code: str) -> None:
    monkeypatch.setattr(asking, "COMMAND", (sys.executable, "-c", code))


def test_ask_gives_what_the_process_says(monkeypatch: pytest.MonkeyPatch) -> None:
    answered(monkeypatch, f"import sys, json; sys.stdin.read(); print(json.dumps({{'result': {ANSWER!r}}}))")
    assert asking.ask({"text": "x"})["tokens"] == TOKENS


@pytest.mark.parametrize(
    ("code", "wrong"),
    [
        ('print(\'{"error": {"problem": "gone", "where": null, "fix": "look"}}\')', "gone"),
        ("import sys; sys.exit('Killed')", "without an answer"),
        ("print('no json')", "without an answer"),
        ("import time; time.sleep(30)", "longer than"),
    ],
)
def test_ask_says_what_went_wrong(monkeypatch: pytest.MonkeyPatch, code: str, wrong: str) -> None:
    answered(monkeypatch, code)
    with pytest.raises(AuditError, match=wrong):
        asking.ask({"text": "x"}, limit_s=1 if "sleep" in code else 30)


@pytest.mark.parametrize("there", [True, False])
def test_relative_paths_of_a_manifest_count_from_where_one_started(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, there: bool
) -> None:
    monkeypatch.setenv("PWD", str(tmp_path if there else tmp_path / "gone"))
    answered(monkeypatch, "import os, json; print(json.dumps({'result': os.getcwd()}))")
    assert asking.ask({}) == str(tmp_path if there else Path.cwd())  # type: ignore[comparison-overlap]


def test_one_probe_at_a_time(monkeypatch: pytest.MonkeyPatch) -> None:
    answered(monkeypatch, "print('{}')")
    with asking.ONE_AT_A_TIME, pytest.raises(AuditError, match="Another probe"):
        asking.ask({})


def test_the_dashboard_s_process_never_imports_torch() -> None:
    code = "import sys, dashboards.asking, dashboards.pages.probe; print('torch' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "False"


def test_tokens_show_what_they_are() -> None:
    assert [charts.token_text(token) for token in TOKENS] == [
        "The", " &lt;b&gt;nurse&lt;/b&gt;", "⏎", "␣", " said",
    ]  # fmt: skip


def test_both_models_share_one_scale() -> None:
    figure = charts.overview(TOKENS, pd.DataFrame(ANSWER["found"]))
    assert [trace.zmax for trace in figure.data] == [2.0, 2.0]
    assert list(figure.layout.xaxis2.ticktext)[1] == " &lt;b&gt;nurse&lt;/b&gt;"
    long = charts.overview(
        ["a"] * 200, pd.DataFrame({"latent": [1], "base": [[0.0] * 200], "tuned": [[1.0] * 200]})
    )
    assert len(long.layout.xaxis2.tickvals) <= 25
    assert (
        charts.overview(TOKENS, pd.DataFrame(columns=["latent", "base", "tuned"])).layout.annotations[0].text
    )


def test_the_page(
    open_page: Open, miniature: Copy, said: Callable[[Any], str], monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[dict[str, Any]] = []
    monkeypatch.setattr("dashboards.pages.probe.ask", lambda request: asked.append(request) or ANSWER)
    run = miniature("compare")
    page = open_page("probe", run, text="The nurse", order="difference", top="5")
    assert not page.exception
    assert asked == []  # an address alone never starts models
    page = page.button[0].click().run()
    assert not page.exception
    assert asked == [{"run": str(run), "text": "The nurse", "hook": HOOK, "order": "difference", "top": 5}]
    assert "the base above, the tuned below" in said(page)
    strip = page.get("html")[0].proto.body
    assert "&lt;b&gt;nurse&lt;/b&gt;" in strip
    assert "<b>" not in strip
    assert page.dataframe[-1].value["token"].tolist() == [
        " <b>nurse</b>" if i == 1 else t for i, t in enumerate(["The", "", "⏎", " ", " said"])
    ]


def test_an_error_is_text(
    open_page: Open, miniature: Copy, said: Callable[[Any], str], monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(request: dict[str, Any]) -> None:
        raise AuditError("the model of this run is not on this machine", where="![x](y)", fix="look")

    monkeypatch.setattr("dashboards.pages.probe.ask", refuse)
    page = open_page("probe", miniature("compare"), text="The nurse").button[0].click().run()
    assert "is not on this machine" in said(page)


@pytest.mark.parametrize("query", [{"hook": "x"}, {"order": "weakest"}, {"top": "-1"}, {"top": "ten"}])
def test_a_wrong_address(open_page: Open, miniature: Copy, query: dict[str, str]) -> None:
    assert "is not there" in open_page("probe", miniature("compare"), **query).error[0].value


@pytest.mark.parametrize("kind", ["train", "attack", "selftest"])
def test_other_kinds_of_run(open_page: Open, miniature: Copy, said: Callable[[Any], str], kind: str) -> None:
    page = open_page("probe", miniature(kind))
    assert not page.exception
    assert "not measured" in said(page)
