"""Probes, directions and asking again."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

from dashboards.charts import directions as charts
from dashboards.shape.directions import with_ways

Open = Callable[..., Any]
Copy = Callable[[str], Path]


def layers(**columns: Any) -> pd.DataFrame:
    numbers = [c for pair in charts.PROBES for c in (pair, f"{pair}_low", f"{pair}_high")]
    kept = [
        c for c in numbers if not c.startswith(("auc_transfer", "auc_mlp")) or not c.endswith(("low", "high"))
    ]
    rows: dict[str, Any] = {c: [0.9, 0.8, 0.7] for c in kept}
    rows |= {
        c: [1.0, 0.9, None] for c in ("norm_ratio", "norm_ratio_low", "norm_ratio_high", "variance_ratio")
    }
    rows |= {c: [1.0, 0.9, 0.8] for c in ("cosine", "cosine_low", "cosine_high", "cosine_ceiling")}
    rows |= {"layer": [4, -1, 0], "null_high": [0.6, 0.65, 0.7], "measurable": [True, False, True]}
    rows |= {"cosine_corrected": [0.99, None, None], "norm_ratio_corrected": [0.9, None, None]}
    return pd.DataFrame({**rows, **columns})


def test_the_null_is_shaded_below_every_probe() -> None:
    figure = charts.auc(layers())
    assert [trace.name for trace in figure.data[3:]] == [label for label, *_ in charts.PROBES.values()]
    assert list(figure.data[1].y) == [0.65, 0.7, 0.6]
    assert list(figure.layout.xaxis.ticktext) == ["words", "0", "4"]


def test_a_direction_that_is_not_reliable_has_no_cosine() -> None:
    figure = charts.cosine(layers())
    by_name = {trace.name: trace for trace in figure.data}
    assert list(by_name["cosine, same entities"].x) == [0, 4]
    assert list(by_name["not measurable"].x) == [-1]
    assert list(by_name["across halves, over its ceiling"].x) == [4]


def test_norms_that_are_null_are_left_out() -> None:
    assert [len(trace.x) for trace in charts.norm_ratio(layers()).data] == [2, 1, 2]
    assert charts.norm_ratio(layers(norm_ratio=np.nan)).layout.annotations[0].text


def test_arms_put_controls_last_and_hollow() -> None:
    rows: dict[str, Any] = {
        "arm": ["few-shot", "prefill"], "variant": ["shuffled", "<i>agree"], "dose": [4.0, 0.0],
        "is_control": [True, False], "black_box": [True, True],
    }  # fmt: skip
    rows |= {f"recovered{end}": [0.1, 0.2] for end in ("", "_low", "_high")}
    rows |= {f"beyond_base{end}": [None, 0.2] for end in ("", "_low", "_high")}
    frame = with_ways(pd.DataFrame(rows))
    assert frame["way"].tolist() == ["prefill · <i>agree", "few-shot 4 · shuffled (control)"]
    figure = charts.arms(frame)
    assert list(figure.data[0].marker.symbol) == ["circle", "circle-open"]
    assert figure.data[0].y[0] == "prefill · &lt;i&gt;agree"
    assert len(figure.data[1].x) == 1


@pytest.mark.parametrize("draw", [charts.auc, charts.arms])
def test_an_empty_chart_says_why(draw: Callable[[pd.DataFrame], Any]) -> None:
    assert draw(layers().head(0)).layout.annotations[0].text


def test_the_page(open_page: Open, miniature: Copy, said: Callable[[Any], str]) -> None:
    page = open_page("directions", miniature("compare"), behaviour="partisan-lean", position="last token")
    assert not page.exception
    assert "Decodable in the tuned model" in said(page)
    assert len(page.dataframe) == 2


@pytest.mark.parametrize("query", [{"behaviour": "other"}, {"position": "[first](http://x)"}])
def test_a_wrong_address(open_page: Open, miniature: Copy, query: dict[str, str]) -> None:
    page = open_page("directions", miniature("compare"), **query)
    assert "is not there" in page.error[0].value


@pytest.mark.parametrize("stage", ["directions", "elicit"])
def test_a_skipped_stage_says_why(
    open_page: Open, miniature: Copy, said: Callable[[Any], str], skip_stage: Callable[..., None], stage: str
) -> None:
    run = miniature("compare")
    skip_stage(run, stage, "nobody asked for it")
    page = open_page("directions", run)
    assert not page.exception
    assert "nobody asked for it" in said(page)


@pytest.mark.parametrize("kind", ["train", "attack", "selftest"])
def test_other_kinds_of_run(open_page: Open, miniature: Copy, said: Callable[[Any], str], kind: str) -> None:
    page = open_page("directions", miniature(kind))
    assert not page.exception
    assert said(page).count("not measured") == 2
