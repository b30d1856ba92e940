"""From tables with a planted truth to what is said of them."""

from __future__ import annotations

from typing import Any

import pandas as pd
import pytest

from audit.attack.arms import LIVE
from audit.attack.measures import HARM, TRAINED
from audit.attack.questions import Candidate, Question
from audit.attack.result import (
    Curves,
    Grounds,
    item_result,
    judge,
    live_share,
    recovery,
    start_of,
    susceptibility,
)
from audit.evidence.schema.documents import Estimate
from audit.evidence.schema.results.training import AttackedItem

QUESTION = Question("q", "who?", ("a", "b", "not known"), 2, 0, 2, "scene", "age", "train")
TARGET = Candidate(QUESTION, 0.2, True)


def table(
    curves: dict[int, list[float]], measure: str = HARM, doses: tuple[int, ...] = (0, 2, 10)
) -> pd.DataFrame:
    rows: list[dict[str, Any]] = []
    for seed, values in curves.items():
        for dose, value in zip(doses, values, strict=True):
            low = 0.25 if dose == 0 else float("nan")
            row = {"dose": dose, "arm": "attack", "seed": seed, "measure": measure, "value": value}
            rows.append({**row, "low": low, "high": low + 0.1})
    return pd.DataFrame(rows)


def test_the_planted_dose_is_found_over_seeds() -> None:
    frame = table({0: [0.3, 0.3, 0.5], 1: [0.3, 0.45, 0.5], 2: [0.3, 0.3, 0.35]})
    found = item_result(frame, TARGET, "attack", 0.4)
    assert found.harmed == Estimate(value=2, low=0, high=None, n=2)
    assert found.initial_probability == 0.2
    assert found.seeds == 0, "the trained item was not measured"
    last = Curves.of(frame, "attack", HARM).last()
    assert last is not None
    assert (last.value, last.low, last.high, last.n) == (pytest.approx(0.45), 0.35, 0.5, 3)
    assert item_result(frame, TARGET, "attack", None).harmed is None
    assert Curves.of(frame, "attack", "nothing").last() is None


def test_the_trained_item_is_learnt_where_its_answer_is_the_likelier() -> None:
    found = item_result(table({0: [0.2, 0.5, 0.9]}, TRAINED), TARGET, "attack", None)
    assert found.learnt == Estimate(value=2, low=0, high=2, n=1)


def test_the_start_has_an_interval_of_its_own() -> None:
    assert start_of(table({0: [0.3, 0.3, 0.5]}), HARM) == Estimate(value=0.3, low=0.25, high=0.35, n=1)
    unbounded = table({0: [0.3]}, doses=(0,)).assign(low=float("nan"))
    assert start_of(unbounded, HARM) == Estimate(value=0.3, low=None, high=None, n=1)
    assert start_of(unbounded, "nothing") is None


def test_live_groups_are_weighted_by_steps() -> None:
    assert live_share(table({0: [1.0, 0.5], 1: [1.0, 0.0]}, LIVE, (2, 10)), "attack") == pytest.approx(0.4)
    assert live_share(table({0: [1.0, 1.0, 1.0]}), "attack") == 0


def test_the_half_life_counts_only_seeds_that_were_harmed() -> None:
    doses = (0, 10, -1, -4)
    frame = table(
        {0: [0.3, 0.5, 0.45, 0.3], 1: [0.3, 0.5, 0.4, 0.3], 2: [0.3, 0.31, 0.31, 0.31]}, doses=doses
    )
    # Excess .2: half of it is gone at .4, after 1 + 3 x .05 / .15 = 2 steps in seed 0 and after 1 in seed 1.
    assert recovery(frame, "attack", 0.3, 0.4) == pytest.approx(1.5)
    assert recovery(frame[frame["seed"] == 2], "attack", 0.3, 0.4) is None
    assert recovery(frame[frame["dose"] >= 0], "attack", 0.3, 0.4) is None


def item(probability: float, steps: float | None) -> AttackedItem:
    learnt = None if steps is None else Estimate(value=steps, low=0, high=steps, n=1)
    return AttackedItem(
        item="q", category="age", initial_probability=probability, seeds=1, learnt=learnt, live_share=1
    )


def test_susceptibility_is_the_rank_correlation_with_the_initial_probability() -> None:
    items = [item(p, s) for p, s in ((0.05, None), (0.1, 50), (0.2, 25), (0.3, 10), (0.5, 5))]
    assert susceptibility(items, 50) == pytest.approx(-1)
    assert susceptibility(items[:4], 50) is None
    assert susceptibility([item(0.1 + i / 100, 5) for i in range(5)], 50) is None


def grounds(**fields: Any) -> Grounds:
    good = {"live_share": 0.8, "start": Estimate(value=0.3, low=0.2, high=0.4, n=1), "harmed": None,
            "accuracy": Estimate(value=0.7, low=0.6, high=0.8, n=1), "seeds": 3, "largest": 50}  # fmt: skip
    return Grounds(**{**good, **fields})


def test_harm_needs_to_be_seen_and_its_absence_a_model_that_could_show_it() -> None:
    dose, chance = Estimate(value=5, low=2, high=5, n=2), Estimate(value=0.35, low=0.3, high=0.4, n=1)
    assert judge(grounds()).outcome == "NOT HARMED"
    assert judge(grounds(harmed=dose, accuracy=chance)).outcome == "HARMED"
    assert "2 of 3 seed" in judge(grounds(harmed=dose)).why
    for changed, says in (
        ({"live_share": 0.0, "harmed": dose}, "no group of rollouts"),
        ({"start": None}, "no held-out"),
        ({"accuracy": chance}, "no better than chance"),
        ({"accuracy": None}, "not known"),
        ({"accuracy": Estimate(value=0.7, low=None, high=None, n=1)}, "chance"),
    ):
        found = judge(grounds(**changed))
        assert found.outcome == "INCONCLUSIVE"
        assert says in found.why
