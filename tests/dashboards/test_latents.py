"""What the map and the card read, and how it is drawn."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from dashboards import judging, latents
from dashboards.cards.texts import logits_beside, matching, strongest
from dashboards.charts.latents import ORDER, activations_figure, map_alt, map_figure
from dashboards.latents import AXES, Chosen, wilson
from dashboards.store import Store, open_store

RUN = Path(__file__).parents[1] / "data" / "runs" / "compare"
HOOK = "blocks.2.hook_resid_post"
X, Y = AXES["score"], AXES["cosine"]


@pytest.fixture
def store() -> Store:
    return open_store(RUN)


@pytest.fixture
def features() -> pd.DataFrame:
    frame = pd.read_parquet(RUN / "stages/features/features.parquet")
    return frame[frame["hook"] == HOOK]


def test_points_are_the_table_s(store: Store, features: pd.DataFrame) -> None:
    points = latents.points(store, Chosen(HOOK), X, Y).sort_values("latent")
    assert points["latent"].tolist() == features["latent"].tolist()
    assert points["x"].to_numpy() == pytest.approx(features["score"].to_numpy(), abs=1e-6)
    assert [ORDER[place] for place in points["kind"]] == features["kind"].tolist()


def test_what_changed_is_drawn_last(store: Store) -> None:
    kinds = latents.points(store, Chosen(HOOK), X, Y)["kind"].tolist()
    assert kinds == sorted(kinds, reverse=True)


def test_filters_are_the_table_s(store: Store, features: pd.DataFrame) -> None:
    chosen = Chosen(HOOK, ("shared", "dead"), most_q=0.6, x=(0.2, 0.9))
    expected = features[
        features["kind"].isin(["shared", "dead"])
        & (features["q_value"] <= 0.6)
        & features["score"].between(0.2, 0.9)
    ]
    assert sorted(latents.points(store, chosen, X, Y)["latent"]) == expected["latent"].tolist()
    ranked = latents.strongest(store, chosen, X, Y)
    assert ranked["score"].tolist() == sorted(expected["score"], reverse=True)


def test_the_null_s_quantile_is_the_smallest_score_beyond_it(store: Store, features: pd.DataFrame) -> None:
    beyond = features.loc[features["p_benign"] <= 0.05, "score"]
    expected = beyond.min() if len(beyond) else None
    assert latents.null_score(store, HOOK) == expected


def test_a_card_has_none_for_what_is_missing(store: Store, features: pd.DataFrame) -> None:
    row = features.iloc[0]
    found = latents.card(store, HOOK, int(row["latent"]))
    assert found is not None
    assert found["rate_base"] == row["rate_base"]
    assert isinstance(found["latent"], int)
    assert latents.card(store, HOOK, 10**9) is None


@pytest.mark.parametrize(
    ("share", "n", "low", "high"),
    [(0.0, 100, 0.0, 0.036993), (0.5, 100, 0.403832, 0.596168), (1.0, 10, 0.722467, 1.0), (0.3, 0, 0.0, 1.0)],
)
def test_wilson_against_its_closed_form(share: float, n: int, low: float, high: float) -> None:
    assert wilson(share, n) == pytest.approx((low, high), abs=1e-6)


def test_the_map_carries_no_text_per_point() -> None:
    count = 65_536
    points = pd.DataFrame(
        {
            "latent": np.arange(count, dtype=np.int32),
            "x": np.random.default_rng(0).random(count, np.float32),
            "y": np.zeros(count, np.float32),
            "kind": np.zeros(count, np.uint8),
        }
    )
    text = map_figure(points, X, Y, null_x=0.5).to_json()
    assert len(text) < 1_400_000
    trace = json.loads(text)["data"][0]
    assert trace["x"]["dtype"] == "f4"
    assert trace["marker"]["color"]["dtype"] == "u1"
    assert "text" not in trace
    assert map_alt(points, X, Y).endswith("65,536 base only.")


def test_histogram_shares_its_bins() -> None:
    figure = activations_figure(np.array([0.0, 1.0, 4.0]), np.array([2.0, 2.0, 0.0]))
    assert list(figure.data[0].x) == list(figure.data[1].x)
    assert sum(figure.data[0].y[:-1]) == 2
    assert figure.layout.yaxis.type == "log"


def test_logits_mark_what_the_other_model_has_not() -> None:
    frame = pd.DataFrame(
        {
            "model": ["base", "base", "tuned", "tuned"], "sign": "top", "rank": [0, 1, 0, 1],
            "token": [" a", " b", " b", " <b>"], "value": [2.0, 1.0, 3.0, 1.0],
        }
    )  # fmt: skip
    found = logits_beside(frame, "top")
    assert found["raised, base"].tolist() == ["◆  a", "   b"]
    assert found["raised, tuned"].tolist() == ["   b", "◆  <b>"]


def test_search_and_scale_of_texts() -> None:
    frame = pd.DataFrame(
        {
            "tokens": [[" The", " Nurse"], [" x*"]],
            "activation_base": [[0.0, 2.0], []],
            "activation_tuned": [[3.0], [1.0]],
        }
    )
    assert matching(frame, "the nurse").tolist() == [True, False]
    assert matching(frame, "*").tolist() == [False, True]
    assert strongest(frame) == 3.0


def test_thresholds_are_those_of_the_stage() -> None:
    from sae.features.kinds import KINDS, LEVEL, ROTATION_BAR, Thresholds

    limits = Thresholds()
    assert set(judging.MEANING) == set(KINDS) == set(ORDER)
    assert judging.LEVEL == limits.level == LEVEL
    assert judging.COSINE == limits.cosine == ROTATION_BAR
    assert limits.dead_rate == judging.DEAD_RATE
    assert (limits.nu_error, limits.nu_reconstruction) == (judging.NU_ERROR, judging.NU_RECONSTRUCTION)
    assert limits.shared_nu == judging.SHARED_NU
    assert (limits.kept, limits.gone, limits.material) == (judging.KEPT, judging.GONE, judging.MATERIAL)
