"""Where a change sits and what brings it back."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pandas as pd
import pytest

from dashboards.charts import doses as dose_charts
from dashboards.charts import switches as charts
from dashboards.shape.switches import FAMILIES, with_trials, with_units

Open = Callable[..., Any]
Copy = Callable[[str], Path]


def units(**columns: Any) -> pd.DataFrame:
    rows = {
        "behaviour": ["b"] * 3, "kind": ["head", "row", "head"],
        "module": ["model.layers.3.o", "lm_head", "x<b>"], "index": [2, 7, 1],
        "weight_attribution": [0.1, -0.9, 0.4], "write_attribution": [0.1, None, 0.2],
        "write_base": [1.0, None, 0.5], "write_tuned": [0.2, None, 0.5], "in_set": [True, False, False],
    }  # fmt: skip
    return pd.DataFrame({**rows, **columns})


def doses(**columns: Any) -> pd.DataFrame:
    rows = {
        "behaviour": ["b"] * 4, "intervention": ["ablate"] * 3 + ["revert"], "set": ["s", "s", "c", "s"],
        "split": ["test"] * 4, "size": [2] * 4, "dose": [1.0, 2.0, 2.0, 1.0],
        "recovered": [0.2, 0.6, 0.0, None], "low": [0.1, None, -0.1, None], "high": [0.3, 0.9, 0.1, None],
        "is_null": [False, False, True, False], "chosen": [False, True, False, False],
        "reads_base": [False, False, False, False], "imports_base": [False, False, False, True],
        "off_target_kl": [None, 0.05, 0.01, None], "off_target_low": [None, 0.04, 0.0, None],
        "off_target_high": [None, 0.06, None, None], "skills": [None, 0.99, 1.0, None],
    }  # fmt: skip
    return pd.DataFrame({**rows, **columns})


def test_members_of_the_set_come_first_then_the_largest() -> None:
    assert with_units(units())["unit"].tolist() == ["model.layers.3.o:2", "lm_head:7", "x<b>:1"]


def test_what_reads_the_base_is_never_internal() -> None:
    frame = with_trials(doses(reads_base=[False, True, False, True]))
    assert frame["family"].tolist() == ["internal", "reading base", "internal", "reading base"]
    assert with_trials(doses())["family"].tolist() == ["internal"] * 3 + ["revert"]


def test_attribution_escapes_names_and_puts_the_strongest_on_top() -> None:
    figure = charts.attribution(with_units(units()))
    assert list(figure.layout.yaxis.categoryarray) == ["3 o:2", "x&lt;b&gt;:1", "lm_head:7"]
    assert figure.data[2].name == "its writes"
    assert [len(trace.x) for trace in figure.data] == [1, 2, 3]


def test_writes_leave_out_what_was_not_measured() -> None:
    figure = charts.writes(with_units(units()))
    assert sum(len(trace.x) for trace in figure.data[1:]) == 2


def test_the_dose_curve_shows_controls_apart_and_rings_the_reported_dose() -> None:
    figure = dose_charts.dose_response(with_trials(doses()).query("family == 'internal'"))
    names = [trace.name for trace in figure.data]
    assert names == ["ablate · s", "reported dose", "matched controls"]
    assert list(figure.data[1].x) == [2.0]
    assert "inf" in figure.data[0].text[1]
    assert figure.data[0].error_y.arrayminus.tolist() == [pytest.approx(0.1), 0.0]


def test_side_effects_stand_against_the_budgets() -> None:
    figure = dose_charts.side_effects(with_trials(doses()), 0.1, 0.9)
    budget = figure.layout.shapes[0]
    assert (budget.x1, budget.y0) == (0.1, 0.9)
    assert [len(trace.x) for trace in figure.data] == [1, 1]


def test_equal_doses_are_moved_apart() -> None:
    moved = dose_charts.apart(pd.Series([1.0, 2.0, 2.0, 2.0]))
    assert moved.nunique() == 4
    assert abs(moved - [1, 2, 2, 2]).max() < 0.1


@pytest.mark.parametrize(
    "figure",
    [
        charts.attribution(with_units(units()).head(0)),
        charts.writes(with_units(units()).head(0)),
        charts.grafts(pd.DataFrame(columns=["module", "direction", "recovered", "attribution"])),
        dose_charts.dose_response(with_trials(doses()).head(0)),
        dose_charts.side_effects(with_trials(doses()).head(0), 0.1, 0.9),
    ],
)
def test_an_empty_chart_says_why(figure: Any) -> None:
    assert len(figure.data) == 0
    assert figure.layout.annotations[0].text


@pytest.mark.parametrize("family", list(FAMILIES))
def test_the_page_says_what_a_family_may_support(
    open_page: Open, miniature: Copy, said: Callable[[Any], str], family: str
) -> None:
    page = open_page("switches", miniature("compare"), family=family)
    assert not page.exception
    text = said(page)
    assert FAMILIES[family] in text  # type: ignore[index]
    assert "MINIATURE" in text
    assert "Smallest set: 6 unit(s)" in text
    assert len(page.dataframe) >= 3


def test_the_address_chooses(open_page: Open, miniature: Copy) -> None:
    page = open_page("switches", miniature("compare"), behaviour="partisan-lean", split="fit half")
    assert page.selectbox(key="behaviour").value == "partisan-lean"
    shown = page.dataframe[-1].value
    assert set(shown["behaviour"]) <= {"partisan-lean"}
    assert set(shown["split"]) <= {"train"}


@pytest.mark.parametrize("query", [{"behaviour": "<b>x</b>"}, {"family": "none"}, {"split": "both"}])
def test_a_wrong_address_is_answered_with_what_is_valid(
    open_page: Open, miniature: Copy, query: dict[str, str]
) -> None:
    page = open_page("switches", miniature("compare"), **query)
    assert "is not there" in page.error[0].value
    assert any("valid:" in text.value for text in page.text)


@pytest.mark.parametrize("stage", ["switches", "bypass"])
def test_a_skipped_stage_says_why(
    open_page: Open, miniature: Copy, said: Callable[[Any], str], skip_stage: Callable[..., None], stage: str
) -> None:
    run = miniature("compare")
    skip_stage(run, stage, "nobody asked for it")
    page = open_page("switches", run)
    assert not page.exception
    assert "nobody asked for it" in said(page)
    assert "not measured" in said(page)


@pytest.mark.parametrize("kind", ["train", "attack", "selftest"])
def test_other_kinds_of_run_have_no_switches(
    open_page: Open, miniature: Copy, said: Callable[[Any], str], kind: str
) -> None:
    page = open_page("switches", miniature(kind))
    assert not page.exception
    assert said(page).count("not measured") == 2


@pytest.mark.parametrize("table", ["units", "grafts"])
def test_a_table_that_is_gone_is_said(
    open_page: Open, miniature: Copy, said: Callable[[Any], str], table: str
) -> None:
    run = miniature("compare")
    (run / "stages" / "switches" / f"{table}.parquet").unlink()
    page = open_page("switches", run)
    assert not page.exception
    assert f"no table '{table}'" in said(page).replace("\\", "")
