"""The frame and the pages home, overview, map, feature and comparison, opened as a reader opens them."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pandas as pd
import pyarrow.parquet as pq
import pytest

from audit.evidence.schema import TABLES

RUNS = Path(__file__).parents[1] / "data" / "runs"
KINDS = ("compare", "train", "attack", "selftest")
PAGES = ("home", "overview", "diff_map", "feature", "compare")
HOOK = "blocks.2.hook_resid_post"
HOSTILE = "<script>alert(1)</script> [x](javascript:alert(1)) **b** \u202e\x1b[31m"
Open = Callable[..., Any]
Copy = Callable[[str], Path]
Said = Callable[[Any], str]


def no_exception(test: Any) -> None:
    assert [element.value for element in test.exception] == []


@pytest.mark.parametrize("page", PAGES)
@pytest.mark.parametrize("kind", KINDS)
def test_each_page_opens_on_each_kind_of_run(page: str, kind: str, open_app: Open, said: Said) -> None:
    test = open_app(page, RUNS / kind)
    no_exception(test)
    assert len(test.title) == 1
    assert "MINIATURE" in said(test) or page == "compare"
    assert not test.error


@pytest.mark.parametrize("page", PAGES)
def test_each_page_opens_without_the_stages_that_may_be_left_out(
    page: str, open_app: Open, miniature: Copy, skip_stage: Callable[..., None], said: Said
) -> None:
    run = miniature("compare")
    for stage in ("elicit", "directions", "features", "switches", "bypass"):
        skip_stage(run, stage, f"{stage} was not asked for")
    test = open_app(page, run)
    no_exception(test)
    if page in ("diff_map", "feature"):
        assert "Latents: not measured" in said(test)
        assert "features was not asked for" in said(test)
    if page == "overview":
        matrix = test.dataframe[0].value.set_index("evidence").iloc[:, 0]
        assert "elicit was not asked for" in matrix["brought back by prompting"]
        assert "Dictionary health: not measured" in said(test)


@pytest.mark.parametrize(
    ("page", "query", "asked"),
    [
        ("overview", {"run": "../../etc"}, "../../etc"),
        ("diff_map", {"hook": "<b>nowhere</b>"}, "<b>nowhere</b>"),
        ("diff_map", {"x": "no axis"}, "no axis"),
        ("diff_map", {"kind": ["shared", "no kind"]}, "no kind"),
        ("diff_map", {"q": "NaN"}, "NaN"),
        ("diff_map", {"q": "x"}, "x"),
        ("feature", {"latent": "-1"}, "-1"),
        ("feature", {"latent": "1e9"}, "1e9"),
        ("feature", {"latent": "99999999999999999999"}, "9" * 20),
        ("feature", {"hook": "other"}, "other"),
        ("compare", {"other": "compare"}, "compare"),
    ],
)
def test_a_wrong_address_says_what_is_valid(
    page: str, query: dict[str, Any], asked: str, open_app: Open, said: Said
) -> None:
    test = open_app(page, RUNS / "compare", RUNS / "train", **query)
    no_exception(test)
    assert len(test.error) == 1
    assert f"asked for: {asked}" in said(test)
    assert "valid: " in said(test)


def test_without_runs_the_page_says_how_to_start(open_app: Open) -> None:
    test = open_app("overview")
    assert "audit dashboard RUN" in test.error[0].value


def test_the_address_chooses_the_run(open_app: Open, said: Said) -> None:
    test = open_app("overview", RUNS / "compare", RUNS / "train", run="train")
    assert "run: train (train)" in said(test)
    test = open_app("overview", RUNS / "compare", RUNS / "train")
    test.selectbox("run").select("train").run()
    assert "run: train (train)" in said(test)


def test_a_run_that_cannot_be_opened_says_why(open_app: Open, miniature: Copy, said: Said) -> None:
    run = miniature("compare")
    manifest = json.loads((run / "manifest.json").read_text())
    (run / "manifest.json").write_text(json.dumps({**manifest, "format": 99}))
    test = open_app("overview", run)
    no_exception(test)
    assert "format 99" in said(test)
    home = open_app("home", run, RUNS / "train")
    no_exception(home)
    assert "cannot be opened" in home.dataframe[0].value["health"].iloc[0]


def test_home_lists_stages_and_verifies_on_demand(open_app: Open) -> None:
    test = open_app("home", RUNS / "compare")
    no_exception(test)
    assert test.dataframe[1].value["status"].eq("done").all()
    test.button[0].click().run()
    assert "are as they were written" in test.success[0].value


def test_home_shows_what_verification_found(open_app: Open, miniature: Copy) -> None:
    run = miniature("compare")
    (run / "stages/drift/result.json").unlink()
    test = open_app("home", run)
    no_exception(test)
    test.button[0].click().run()
    assert "Not verified" in test.error[0].value
    assert "drift" in " ".join(test.dataframe[-1].value["problem"])


def test_overview_puts_every_verdict_in_capitals_with_its_ladder(open_app: Open, said: Said) -> None:
    test = open_app("overview", RUNS / "compare")
    words = said(test)
    assert ":gray-badge[INCONCLUSIVE]" in words
    assert ":green-badge[UNCHANGED]" in words
    matrix = test.dataframe[0].value
    assert list(matrix.columns) == ["evidence", "gender-occupation", "partisan-lean"]
    assert matrix["gender-occupation"].iloc[0].startswith("-1.50 [-1.60, -1.40]")
    charts = test.get("plotly_chart")
    assert len(charts) == 2
    assert all(chart.proto.alt for chart in charts)


def test_every_table_and_chart_says_what_it_shows(open_app: Open) -> None:
    for page in PAGES:
        test = open_app(page, RUNS / "compare", RUNS / "attack", latent="3", hook=HOOK)
        assert all(frame.proto.alt for frame in test.dataframe), page
        assert all(chart.proto.alt for chart in test.get("plotly_chart")), page


def test_the_map_filters_and_lists(open_app: Open, said: Said) -> None:
    test = open_app("diff_map", RUNS / "compare", hook=HOOK, kind="shared", x="score", y="cosine")
    no_exception(test)
    assert set(test.dataframe[0].value["kind"]) == {"shared"}
    spec = json.loads(test.get("plotly_chart")[0].proto.spec)
    assert spec["data"][0]["type"] == "scattergl"
    assert set(spec["data"][0]["x"]) == {"dtype", "bdata"}
    middle = float(test.dataframe[0].value["score"].median())
    test.number_input("across-from").set_value(middle).run()
    assert test.dataframe[0].value["score"].min() >= middle
    test.number_input("across-from").set_value(5.0).run()
    assert "0 strongest of 0 latents" in said(test)


def test_a_box_on_the_map_fills_the_table_and_a_row_links_to_its_card(open_app: Open, said: Said) -> None:
    test = open_app("diff_map", RUNS / "compare", hook=HOOK)
    key = test.get("plotly_chart")[0].proto.id.split("-", 6)[-1]
    test.session_state[key] = {
        "selection": {"point_indices": [0, 2, 999], "points": [], "box": [], "lasso": []}
    }
    test.session_state["latents"] = {"selection": {"rows": [1], "columns": [], "cells": []}}
    test.run()
    no_exception(test)
    assert "2 latents in the box" in said(test)
    links = [link.proto for link in test.get("page_link")]
    latent = int(test.dataframe[0].value["latent"].iloc[1])
    assert any(f"latent={latent}" in link.query_string and link.page == "feature" for link in links)


def test_the_card_shows_numbers_beside_thresholds(open_app: Open, said: Said) -> None:
    frame = pd.read_parquet(RUNS / "compare/stages/features/features.parquet")
    row = frame[frame["hook"] == HOOK].iloc[0]
    test = open_app("feature", RUNS / "compare", hook=HOOK, latent=str(row["latent"]))
    no_exception(test)
    numbers = test.dataframe[0].value.set_index("number")
    assert numbers.loc["cosine of the decoder rows", "value"] == f"{row['decoder_cosine']:.4g}"
    assert numbers["threshold"].str.len().gt(0).all()
    assert "Neighbours: not measured" in said(test)
    assert f"latent: {HOOK}/{row['latent']}" in said(test)


def test_a_latent_without_row_is_not_measured(open_app: Open, said: Said) -> None:
    frame = pd.read_parquet(RUNS / "compare/stages/features/features.parquet")
    here = set(frame.loc[frame["hook"] == HOOK, "latent"])
    absent = next(n for n in range(max(here)) if n not in here)
    test = open_app("feature", RUNS / "compare", hook=HOOK, latent=str(absent))
    assert "the table has no such row" in said(test)


def test_the_card_searches_its_texts(open_app: Open, said: Said) -> None:
    examples = pd.read_parquet(RUNS / "compare/stages/features/examples.parquet")
    features = pd.read_parquet(RUNS / "compare/stages/features/features.parquet")
    both = examples.merge(features, on=["hook", "latent"])
    row = both.iloc[0]
    test = open_app("feature", RUNS / "compare", hook=row["hook"], latent=str(row["latent"]))
    assert len(test.get("html")) >= 1
    test.text_input("search").set_value("no such text").run()
    assert "None of the stored texts holds this" in test.info[-1].value or "holds this" in said(test)
    test.text_input("search").set_value("NURSE").run()
    assert len(test.get("html")) >= 1


def test_a_note_goes_into_the_findings_log(open_app: Open, miniature: Copy) -> None:
    run = miniature("compare")
    frame = pd.read_parquet(run / "stages/features/features.parquet")
    latent = str(frame.loc[frame["hook"] == HOOK, "latent"].iloc[0])
    test = open_app("feature", run, hook=HOOK, latent=latent)
    next(box for box in test.text_input if box.label == "Reviewer").set_value("Ada")
    next(box for box in test.text_input if box.label == "Title").set_value("<b>odd</b>")
    next(b for b in test.button if b.label == "Add to the log").click().run()
    no_exception(test)
    assert test.success[0].value == "Added as F1."
    line = json.loads((run / "findings.jsonl").read_text())
    assert line["evidence"] == [f"{HOOK}/{latent}"]
    again = open_app("feature", run, hook=HOOK, latent=latent)
    assert "<b>odd</b>" in again.dataframe[-1].value["title"].tolist()


def test_a_note_without_reviewer_is_refused(open_app: Open, miniature: Copy) -> None:
    run = miniature("compare")
    frame = pd.read_parquet(run / "stages/features/features.parquet")
    test = open_app("feature", run, hook=HOOK, latent=str(frame.loc[frame["hook"] == HOOK, "latent"].iloc[0]))
    next(b for b in test.button if b.label == "Add to the log").click().run()
    no_exception(test)
    assert len(test.error) == 1
    assert not (run / "findings.jsonl").exists()


def test_two_runs_beside_each_other(open_app: Open, miniature: Copy) -> None:
    other = miniature("compare")
    ledger = json.loads((other / "claims.json").read_text())
    named = next(c for c in ledger["claims"] if c["low"] is not None)
    named |= {"value": 1e3, "low": 9e2, "high": 2e3}
    (other / "claims.json").write_text(json.dumps(ledger))
    manifest = json.loads((other / "manifest.json").read_text())
    (other / "manifest.json").write_text(json.dumps({**manifest, "seed": 7}))
    test = open_app("compare", RUNS / "compare", other)
    no_exception(test)
    frames = {next(iter(frame.value.columns)): frame.value for frame in test.dataframe}
    claims = frames["id"].set_index("id")
    assert claims.loc[named["id"], "agreement"] == "apart"
    assert claims.drop(named["id"])["agreement"].isin(["overlap", "same"]).all()
    assert frames["setting"].set_index("setting").loc["seed"].tolist() == ["0", "7"]


def test_hostile_text_is_never_markup(open_app: Open, miniature: Copy, said: Said) -> None:
    """Texts of a run reach the page escaped, as plain text, or in tables; never as Markdown or HTML."""
    run = miniature("compare")
    _poison(run)
    for page in PAGES:
        test = open_app(page, run, RUNS / "compare", latent="0")
        no_exception(test)
        read_as_markdown = [*test.markdown, *test.caption, *test.title, *test.subheader, *test.warning]
        for element in [*read_as_markdown, *test.info, *test.error]:
            assert "<script" not in element.value.replace("\\<script", ""), page
            assert "[x](javascript" not in element.value, page
        for strip in test.get("html"):
            assert "<script" not in strip.proto.body
        for chart in test.get("plotly_chart"):
            assert "<script" not in chart.proto.spec
        assert "\u202e" not in said(test)


def _poison(run: Path) -> None:
    """Puts hostile text wherever a run keeps free text."""
    verdict = json.loads((run / "stages/verdict/result.json").read_text())
    for one in verdict["behaviours"]:
        one |= {"reasons": [HOSTILE], "missing": [HOSTILE]}
    (run / "stages/verdict/result.json").write_text(json.dumps({**verdict, "calibration": HOSTILE}))
    manifest = json.loads((run / "manifest.json").read_text())
    manifest["base"]["reference"] = HOSTILE
    (run / "manifest.json").write_text(json.dumps(manifest))
    for name, columns in {"features": ["label", "hook"], "examples": ["source", "role", "hook"]}.items():
        path = run / f"stages/features/{name}.parquet"
        frame = pd.read_parquet(path)
        for column in columns:
            frame[column] = HOSTILE
        if name == "examples":
            frame["tokens"] = [[HOSTILE, "</span><script>"] for _ in frame.index]
            frame["activation_base"] = frame["activation_tuned"] = [[1.0, 2.0] for _ in frame.index]
        frame["latent"] = range(len(frame))
        pq.write_table(TABLES[name].to_arrow(frame), path)
