"""Training and attack."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pandas as pd
import pytest

from audit.evidence.files import write_table
from audit.evidence.schema.tables import TABLES
from dashboards.charts import training as charts
from dashboards.shape import training as shape
from dashboards.store import open_store

Open = Callable[..., Any]
Copy = Callable[[str], Path]


def steps() -> pd.DataFrame:
    return pd.DataFrame(
        {
            "step": [1, 0, 0, 1], "channel": ["total", "total", "<b>", "<b>"], "reward": [0.5, 0.2, 0.1, 0.3],
            "reward_std": [0.1, 0.2, 0.0, 0.0], "dead_groups": [0.5, 1.0, 0.5, 1.0],
            "exact_kl": [0.2, 0.1, 0.1, 0.2],
        }
    )  # fmt: skip


def doses() -> pd.DataFrame:
    return pd.DataFrame(
        {
            "dose": [0, 5, -10, 5], "arm": ["attack", "attack", "attack", "<i>"], "seed": [0, 0, 0, 1],
            "measure": ["m", "m", "m", "m"], "value": [0.1, 0.9, 0.4, 0.2], "low": [None, 0.8, 0.3, 0.1],
            "high": [0.2, None, 0.5, 0.3],
        }
    )  # fmt: skip


def test_the_total_channel_is_what_the_advantage_saw() -> None:
    assert shape.totals(steps())["reward"].tolist() == [0.2, 0.5]
    assert shape.totals(steps().query("channel != 'total'"))["reward"].tolist() == [0.1, 0.3]


def test_negative_doses_are_recovery() -> None:
    found = shape.doses_of(doses(), "m")
    assert found.attack["dose"].tolist() == [5, 0, 5]
    assert found.recovery["dose"].tolist() == [10]


def test_charts_escape_and_draw_seeds_with_intervals() -> None:
    figure = charts.dose_curve(shape.doses_of(doses(), "m").attack, 0.5)
    assert [trace.name for trace in figure.data] == ["&lt;i&gt;", "&lt;i&gt;", "attack", "attack"]
    assert list(figure.data[3].text) == ["seed 0: 0.1 [-inf, 0.2]", "seed 0: 0.9 [0.8, inf]"]
    assert figure.layout.shapes[0].y0 == 0.5
    assert [trace.name for trace in charts.reward(steps()).data if trace.name] == ["&lt;b&gt;", "total"]
    assert list(charts.variance(shape.totals(steps())).data[0].y) == [1.0, 0.5]


@pytest.mark.parametrize(
    "figure",
    [
        charts.reward(steps().head(0)), charts.variance(steps().head(0)), charts.by_position(pd.DataFrame()),
        charts.dose_curve(doses().head(0), None), charts.by_step(steps().head(0), "exact_kl", "KL"),
    ],
)  # fmt: skip
def test_an_empty_chart_says_why(figure: Any) -> None:
    assert figure.layout.annotations[0].text


def test_weights_by_position_come_from_one_query(miniature: Copy) -> None:
    store = open_store(miniature("train"))
    frame, raw = store.query(shape.BY_POSITION), store.frame("tokens")
    assert frame["tokens"].sum() == len(raw)
    expected = raw.groupby("position")["weight"].mean()
    assert frame["weight"].tolist() == pytest.approx(expected.tolist())
    assert len(charts.by_position(frame).data) == 4


@pytest.mark.parametrize("kind", ["train", "attack"])
def test_the_page(open_page: Open, miniature: Copy, said: Callable[[Any], str], kind: str) -> None:
    page = open_page("training", miniature(kind))
    assert not page.exception
    assert "MINIATURE" in said(page)
    wanted = "Smallest dose that did harm, steps 10" if kind == "attack" else "Reward, last tenth 0.7"
    assert wanted in said(page)


def test_a_method_that_measures_no_divergence_says_so(open_page: Open, miniature: Copy) -> None:
    run = miniature("train")
    path = run / "stages" / "train" / "train_steps.parquet"
    write_table(path, TABLES["train_steps"], pd.read_parquet(path).assign(exact_kl=float("nan")))
    changed(run, "train", exact_kl_last=None)
    page = open_page("training", run)
    assert not page.exception
    assert [info.value for info in page.info] == ["The divergence from the start: not measured"]


def test_recovery_is_drawn_where_it_was_measured(open_page: Open, miniature: Copy) -> None:
    run = miniature("attack")
    write_table(run / "stages" / "attack" / "attack_doses.parquet", TABLES["attack_doses"], doses())
    page = open_page("training", run, measure="m")
    assert not page.exception
    assert not [info.value for info in page.info]


def changed(run: Path, stage: str, **fields: object) -> None:
    path = run / "stages" / stage / "result.json"
    path.write_text(json.dumps({**json.loads(path.read_text()), **fields}))


def test_no_gradient_is_no_robustness(open_page: Open, miniature: Copy, said: Callable[[Any], str]) -> None:
    run = miniature("attack")
    changed(run, "attack", conclusive=False, smallest_dose=None, half_life=None)
    text = said(open_page("training", run))
    assert "INCONCLUSIVE" in text
    assert "none did" in text
    run = miniature("train")
    changed(run, "train", had_gradient=False)
    assert "nothing was learned" in said(open_page("training", run))


@pytest.mark.parametrize(("kind", "count"), [("train", 3), ("attack", 4)])
def test_a_run_without_its_tables(
    open_page: Open, miniature: Copy, said: Callable[[Any], str], kind: str, count: int
) -> None:
    run = miniature(kind)
    for path in (run / "stages" / kind).glob("*.parquet"):
        path.unlink()
    assert said(open_page("training", run)).count("not measured") == count - 1


@pytest.mark.parametrize("kind", ["train", "attack"])
def test_a_run_with_a_broken_result(
    open_page: Open, miniature: Copy, said: Callable[[Any], str], kind: str
) -> None:
    run = miniature(kind)
    (run / "stages" / kind / "result.json").write_text("{")
    page = open_page("training", run)
    assert not page.exception
    assert "cannot be read" in said(page)


@pytest.mark.parametrize("kind", ["compare", "selftest"])
def test_other_kinds_of_run(open_page: Open, miniature: Copy, said: Callable[[Any], str], kind: str) -> None:
    page = open_page("training", miniature(kind))
    assert not page.exception
    assert "not measured" in said(page)


def test_a_wrong_address(open_page: Open, miniature: Copy) -> None:
    page = open_page("training", miniature("attack"), measure="harm")
    assert "is not there" in page.error[0].value
