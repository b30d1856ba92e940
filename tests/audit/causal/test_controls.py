"""Matched random sets: that the match holds, and what is said where it cannot."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
import torch

from audit.causal.arms import controls_of, gate_arm
from audit.causal.controls import FACTOR, match_of, matched_sets, random_directions
from audit.causal.gates import Gate
from audit.causal.traits import unit_at


def pool(units: int = 400, kinds: tuple[str, ...] = ("neuron",), seed: int = 0) -> pd.DataFrame:
    rng = np.random.default_rng(seed)
    frames = [
        pd.DataFrame(
            {
                "kind": kind,
                "module": [f"{kind}-{i % 4}" for i in range(units)],
                "index": np.arange(units) // 4,
                "norm": np.exp(rng.normal(0, 1, units)),
                "activity": np.exp(rng.normal(0, 1, units)) if kind != "row" else np.nan,
            }
        )
        for kind in kinds
    ]
    return pd.concat(frames, ignore_index=True)


def test_sets_match_in_size_kind_norm_and_activity() -> None:
    units = pool(kinds=("neuron", "head"))
    target = [3, 50, 200, 399, 450, 600]
    found = matched_sets(units, target, count=20, seed=0)
    assert found.reason is None
    assert len({frozenset(rows) for rows in found.sets}) == 20
    for rows in found.sets:
        assert len(set(rows)) == len(target)
        assert not set(rows) & set(target)
        for own, other in zip(target, rows, strict=True):
            assert units["kind"][own] == units["kind"][other]
            for trait in ("norm", "activity"):
                assert 1 / FACTOR <= units[trait][other] / units[trait][own] <= FACTOR
    match = match_of(units, target, found.sets)
    assert match.norm == pytest.approx(1, abs=0.2)
    assert match.activity == pytest.approx(1, abs=0.2)


def test_matches_come_from_the_same_module_where_it_has_enough() -> None:
    units = pool(units=4000)
    found = matched_sets(units, [10, 11], count=10, seed=0)
    for own, other in ((o, r) for rows in found.sets for o, r in zip([10, 11], rows, strict=True)):
        assert units["module"][own] == units["module"][other]


def test_the_seed_decides_the_draw() -> None:
    units = pool()
    assert matched_sets(units, [1, 2], count=3, seed=0) == matched_sets(units, [1, 2], count=3, seed=0)
    assert matched_sets(units, [1, 2], count=3, seed=0) != matched_sets(units, [1, 2], count=3, seed=1)


def test_a_unit_like_no_other_gets_no_silent_stand_in() -> None:
    units = pool()
    units.loc[7, "norm"] = 1000.0
    found = matched_sets(units, [7, 8], count=5, seed=0)
    assert found.sets == ()
    assert found.reason is not None
    assert found.reason.startswith("1 of 2 units")


def test_a_pool_that_is_used_up_gives_fewer_sets_and_says_so() -> None:
    units = pool(units=4).assign(norm=1.0, activity=1.0)
    found = matched_sets(units, [0, 1], count=5, seed=0)
    assert [frozenset(rows) for rows in found.sets] == [frozenset({2, 3})]
    assert found.reason == "the pool holds matches for 1 of 5 different random sets only"
    none_left = matched_sets(units, [0, 1, 2], count=5, seed=0)
    assert none_left.sets == ()
    assert none_left.reason is not None


def test_a_change_of_nothing_is_matched_by_nothing_else_than_no_change() -> None:
    units = pool()
    units["norm"] = 0.0
    units.loc[:9, "norm"] = 1.0
    assert set(matched_sets(units, [20, 21], count=1, seed=0).sets[0]).isdisjoint(range(10))
    assert match_of(units, [20], [(30,)]).norm == 1.0


def test_units_that_fire_as_often_are_preferred_and_no_others_refused() -> None:
    units = pool(units=200).assign(norm=1.0, activity=1.0, module="one")
    often = units.assign(rate=np.where(np.arange(200) % 10 == 0, 0.9, 0.1))
    target = [0, 10, 20]
    drawn = [row for rows in matched_sets(often, target, count=5, seed=0).sets for row in rows]
    assert set(often["rate"].iloc[drawn]) == {0.9}
    alone = units.assign(rate=np.where(np.arange(200) < 3, 0.9, 0.1))
    assert len(matched_sets(alone, [0, 1, 2], count=5, seed=0).sets) == 5
    blind = [row for rows in matched_sets(units, target, count=5, seed=0).sets for row in rows]
    assert set(often["rate"].iloc[blind]) == {0.1, 0.9}


def test_kinds_without_activity_are_matched_by_norm() -> None:
    units = pool(kinds=("row",))
    found = matched_sets(units, [5], count=4, seed=0)
    assert len(found.sets) == 4
    assert match_of(units, [5], found.sets).activity is None


def test_an_empty_set_is_refused() -> None:
    with pytest.raises(ValueError, match="empty set"):
        matched_sets(pool(), [], count=1, seed=0)


def test_random_directions_are_as_long_and_carry_nothing_of_the_concept() -> None:
    direction = torch.randn(64, generator=torch.Generator().manual_seed(0)) * 3
    found = torch.stack(random_directions(direction, 6, seed=1))
    torch.testing.assert_close(found.norm(dim=1), direction.norm().expand(6))
    torch.testing.assert_close(found @ direction, torch.zeros(6), atol=1e-4, rtol=0)
    assert (found @ found.T).fill_diagonal_(0).abs().max() < 0.6 * direction.norm() ** 2
    with pytest.raises(ValueError, match="length 0"):
        random_directions(torch.zeros(8), 1, seed=0)


def test_gates_on_most_of_the_units_are_held_against_the_same_gates_dealt_anew() -> None:
    units = pool(units=40)
    own = [unit_at(units, row) for row in range(30)]
    arm = gate_arm("gates", "", [Gate(unit, 0.1 * (k + 1)) for k, unit in enumerate(own)])
    against = controls_of(arm, units, None, count=4, seed=0)
    assert against.kind == "shuffled gates"
    assert against.note is not None
    assert len(against.arms) == 4
    for control in against.arms:
        assert control.whole.strengths == arm.whole.strengths
        assert len(set(control.whole.units)) == 30
        assert [unit.module for unit in control.whole.units] == [unit.module for unit in own]
        assert control.whole.units != arm.whole.units
    few = gate_arm("gates", "", [Gate(unit, 0.5) for unit in own[:2]])
    assert controls_of(few, units, None, count=4, seed=0).kind in ("matched", "scaled")
