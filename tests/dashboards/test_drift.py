"""How far the model moved."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

from audit.evidence.invent import invented_document
from audit.evidence.schema.results import DriftResult
from dashboards.charts import drift as charts
from dashboards.shape import drift as shape

Open = Callable[..., Any]
Copy = Callable[[str], Path]


def tokens(count: int = 6) -> pd.DataFrame:
    return pd.DataFrame(
        {
            "source": ["base", "tuned"] * (count // 2), "step": np.arange(count) // 2,
            "kl_forward": np.linspace(0, 1, count), "kl_reverse": np.linspace(1, 0, count),
            "outlier": np.arange(count) >= count - 2,
        }
    )  # fmt: skip


def test_each_source_has_its_own_direction() -> None:
    frame = shape.token_kl(tokens(2))
    assert dict(zip(frame["source"], frame["kl"], strict=True)) == {"base": 0.0, "tuned": 0.0}
    assert shape.token_kl(tokens(6))["kl"].is_monotonic_decreasing


def test_a_sample_keeps_every_outlier() -> None:
    rows = shape.token_kl(tokens(1000))
    shown = shape.sampled(rows, most=100)
    assert len(shown) <= 102
    assert shown["outlier"].sum() == 2
    assert len(shape.sampled(rows)) == 1000


def test_curves_of_both_directions() -> None:
    result = invented_document(DriftResult, np.random.default_rng(0))
    frame = shape.curves(result)
    assert frame["direction"].nunique() == 2
    assert frame["step"].tolist() == [1, 2, 1, 2]
    figure = charts.prefix_curve(frame, 0.02)
    assert [trace.name for trace in figure.data if trace.name] == [shape.FORWARD, shape.REVERSE]
    assert figure.layout.shapes[0].y0 == 0.02


@pytest.mark.parametrize(
    ("module", "row"),
    [
        ("model.layers.3.self_attn.q_proj.weight", "self_attn.q_proj"),
        ("transformer.h.11.mlp.c_fc.weight", "mlp.c_fc"),
        ("model.embed_tokens.weight", "embed_tokens"),
        ("lm_head.weight", "lm_head"),
        ("gpt_neox.layers.0.attention.dense.bias", "gpt_neox.attention.dense.bias"),
    ],
)
def test_modules_of_all_blocks_share_a_row(module: str, row: str) -> None:
    assert shape.row_of(module) == row


def test_the_map_of_weights_draws_what_is_undefined_hollow() -> None:
    frame = shape.weight_rows(
        pd.DataFrame({"module": ["a", "<b>", "c"], "layer": [0, None, 1], "stable_rank": [1.5, None, 2.0]})
    )
    assert frame["layer"].tolist() == [0, -1, 1]
    figure = charts.weight_map(frame, "stable_rank")
    assert [len(trace.x) for trace in figure.data] == [1, 2]
    assert figure.data[0].marker.symbol == "square-open"
    assert "&lt;b&gt;" in figure.data[0].text[0]


def test_single_tokens_show_outliers_large() -> None:
    figure = charts.tokens(shape.token_kl(tokens()), {"base": 0.4}, 0.01)
    assert sorted(set(figure.data[0].marker.size)) == [5, 10]
    assert [trace.name for trace in figure.data[2:]] == [
        "outlier threshold (base)", "largest step of the noise floor",
    ]  # fmt: skip
    assert min(figure.data[0].y) > 0


@pytest.mark.parametrize(
    "figure",
    [
        charts.tokens(tokens().head(0), {}, 0.1),
        charts.spectrum([]),
        charts.weight_map(tokens().head(0), "stable_rank"),
    ],
)
def test_an_empty_chart_says_why(figure: Any) -> None:
    assert figure.layout.annotations[0].text


def test_a_spectrum() -> None:
    assert list(charts.spectrum([3.0, 1.0]).data[0].y) == [3.0, 1.0]


def test_the_page(open_page: Open, miniature: Copy, said: Callable[[Any], str]) -> None:
    page = open_page("drift", miniature("compare"), measure="share of unchanged weights")
    assert not page.exception
    assert "Against the noise floor above" in said(page)
    page.session_state["weights"] = {"selection": {"rows": [0], "columns": [], "cells": []}}
    page.run()
    assert not page.exception
    assert any(text.value.startswith("model.layers") for text in page.text)


def test_a_wrong_address(open_page: Open, miniature: Copy) -> None:
    page = open_page("drift", miniature("compare"), measure="beauty")
    assert "is not there" in page.error[0].value


@pytest.mark.parametrize("stage", ["drift", "weights"])
def test_a_skipped_stage_says_why(
    open_page: Open, miniature: Copy, said: Callable[[Any], str], skip_stage: Callable[..., None], stage: str
) -> None:
    run = miniature("compare")
    skip_stage(run, stage, "nobody asked for it")
    page = open_page("drift", run)
    assert not page.exception
    assert "nobody asked for it" in said(page)


def test_a_table_that_is_gone_is_said(open_page: Open, miniature: Copy, said: Callable[[Any], str]) -> None:
    run = miniature("compare")
    (run / "stages" / "drift" / "drift.parquet").unlink()
    page = open_page("drift", run)
    assert not page.exception
    assert "Single tokens: not measured" in said(page)
