"""Behaviours item by item."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

from audit.evidence.files import write_table
from audit.evidence.invent import invented_rows
from audit.evidence.schema import TABLES
from dashboards.charts import behaviours as charts
from dashboards.shape import behaviours as shape
from dashboards.store import open_store

Open = Callable[..., Any]
Copy = Callable[[str], Path]


@pytest.fixture
def paired_run(miniature: Copy) -> Path:
    """A run in which every item was scored in both models: item 3 falls, item 5 rises, both flip."""
    run = miniature("compare")
    rows = invented_rows(TABLES["items"], np.random.default_rng(0), 24)
    rows["item"] = [f"item-{i // 2}" for i in range(24)]
    rows["model"] = ["base", "tuned"] * 12
    rows["suite"], rows["template"] = "gender-occupation", "plain"
    for column in ("entity", "group", "category", "split"):
        rows[column] = rows[column].to_numpy()[np.arange(24) // 2 * 2]
    rows["m"] = [1.0, 1.1] * 12
    rows.loc[[6, 7], "m"] = [2.0, -2.0]
    rows.loc[[10, 11], "m"] = [-1.0, 0.5]
    rows.loc[[2, 3], "answer"] = ["a <script>alert(1)</script>", "needle *here*"]
    write_table(run / "stages" / "behaviour" / "items.parquet", TABLES["items"], rows)
    return run


def items(run: Path) -> pd.DataFrame:
    store = open_store(run)
    return shape.with_flips(store.query(shape.PAIRED, ["gender-occupation", "plain"]))


def test_flips_come_first_then_the_largest_changes(paired_run: Path) -> None:
    frame = items(paired_run)
    assert len(frame) == 12
    assert frame["item"].head(2).tolist() == ["item-3", "item-5"]
    assert frame["flip"].head(3).tolist() == ["to not showing", "to showing", ""]
    assert frame["change"].head(2).tolist() == [-4.0, 1.5]


@pytest.mark.parametrize(
    ("flip", "search", "count"),
    [
        ("any", "", 12),
        ("flipped", "", 2),
        ("to showing", "", 1),
        ("any", "NEEDLE", 1),
        ("any", "item-1", 3),
        ("any", ".*", 0),
    ],
)
def test_filters(paired_run: Path, flip: str, search: str, count: int) -> None:
    assert len(shape.chosen_items(items(paired_run), {}, flip, search)) == count


def test_filters_by_column(paired_run: Path) -> None:
    frame = items(paired_run)
    found = shape.chosen_items(frame, {"group": "male-typed", "split": shape.ANY})
    assert 0 < len(found) < len(frame)
    assert set(found["group"]) == {"male-typed"}
    assert shape.values_of(frame, "group") == ["any", "female-typed", "male-typed"]


def test_an_item_of_one_model_only_has_no_change(miniature: Copy) -> None:
    frame = items(miniature("compare"))
    assert len(frame)
    assert frame["change"].isna().all()
    assert charts.items(frame.dropna(subset=["change"]).assign(name=""), 0.0).layout.annotations[0].text


def test_the_chart_of_items_marks_flips(paired_run: Path) -> None:
    frame = items(paired_run)
    figure = charts.items(frame.assign(name="<b>" + frame["item"]), 0.5)
    assert [len(trace.x) for trace in figure.data] == [2, 10, 2]
    assert figure.data[2].text[0].startswith("&lt;b&gt;")


def test_templates_as_rows(miniature: Copy) -> None:
    suite = open_store(miniature("compare")).result("behaviour").suites[0]
    frame = shape.templates_frame(suite)
    assert frame["form"].tolist() == ["plain, test", "plain, all", "chat, test", "chat, all"]
    assert frame[["base", "tuned", "change", "change_low"]].iloc[0].tolist() == [2.0, 0.5, -1.5, -1.6]
    square = shape.two_by_two(suite, "test")
    assert square["template"].tolist() == ["plain", "chat"]
    assert charts.changes(frame, 0.3).layout.shapes[0].x1 == 0.3
    assert [trace.name for trace in charts.forest(frame, 0.0).data] == ["base", "tuned"]


def test_a_share_that_is_not_defined_is_null(miniature: Copy) -> None:
    suite = open_store(miniature("compare")).result("behaviour").suites[0]
    without = [t.model_copy(update={"lost_share": None}) for t in suite.templates]
    frame = shape.templates_frame(suite.model_copy(update={"templates": without}))
    assert frame["lost_share"].isna().all()


@pytest.mark.parametrize("draw", [charts.forest, charts.changes])
def test_an_empty_chart_says_why(draw: Callable[..., Any]) -> None:
    assert draw(pd.DataFrame(), 0.0).layout.annotations[0].text


def test_the_page_shows_an_item_as_text(
    open_page: Open, paired_run: Path, said: Callable[[Any], str]
) -> None:
    page = open_page("behaviours", paired_run, search="needle")
    assert not page.exception
    assert "1 of 12 items" in said(page)
    page.session_state["items"] = {"selection": {"rows": [0], "columns": [], "cells": []}}
    page.run()
    assert not page.exception
    assert any(text.value == "a <script>alert(1)</script>" for text in page.text)
    assert "<script>" not in "".join(element.value for element in page.markdown)


def test_the_address_chooses(open_page: Open, paired_run: Path, said: Callable[[Any], str]) -> None:
    page = open_page(
        "behaviours", paired_run, flip="flipped", template="plain", behaviour="gender-occupation"
    )
    assert "2 of 12 items; 2 flipped" in said(page)


@pytest.mark.parametrize(
    "query", [{"behaviour": "other"}, {"flip": "perhaps"}, {"template": "<i>"}, {"group": "nobody"}]
)
def test_a_wrong_address(open_page: Open, paired_run: Path, query: dict[str, str]) -> None:
    page = open_page("behaviours", paired_run, **query)
    assert "is not there" in page.error[0].value


def test_a_skipped_stage_and_a_lost_table_say_why(
    open_page: Open, miniature: Copy, said: Callable[[Any], str], skip_stage: Callable[..., None]
) -> None:
    run = miniature("compare")
    (run / "stages" / "behaviour" / "items.parquet").unlink()
    assert "Single items: not measured" in said(open_page("behaviours", run))
    skip_stage(run, "behaviour", "nobody asked for it")
    assert "nobody asked for it" in said(open_page("behaviours", run))


@pytest.mark.parametrize("kind", ["train", "attack", "selftest"])
def test_other_kinds_of_run(open_page: Open, miniature: Copy, said: Callable[[Any], str], kind: str) -> None:
    page = open_page("behaviours", miniature(kind))
    assert not page.exception
    assert "not measured" in said(page)
