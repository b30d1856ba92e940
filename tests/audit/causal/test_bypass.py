"""Bypasses of planted switches: what is chosen, what it recovers on held-out items, what controls do."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from dataclasses import replace
from functools import partial
from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch

from audit.causal.arms import Arm, RandomChanges, controls_of, curve, direction_arm, latent_arm, unit_arms
from audit.causal.bypass import Bypass, Effort, Other, Setting, group_of
from audit.causal.controls import shuffled_directions
from audit.causal.doses import Bench, Fitted, Trial, fewer_items, fit_trials, nearest
from audit.causal.residual_edits import Latents, Steering, steered
from audit.causal.sets import named_sets
from audit.causal.units import Unit
from audit.evidence.schema import TABLES
from audit.evidence.schema.results import BehaviourSwitches, SwitchesResult, SwitchSet
from audit.measures.bootstrap import Estimate

DOWN = "model.layers.{}.mlp.down_proj"
NEURONS = (Unit("neuron", DOWN.format(1), 5), Unit("neuron", DOWN.format(1), 20))
DOCUMENTS = [[int(i) for i in np.random.default_rng(seed).integers(3, 400, 12)] for seed in range(6)]


def bypass_of(planted: Any, arms: list[Arm], **changes: Any) -> Bypass:
    effort = {
        "fit_items": 24,
        "random_sets": {"internal": 4, "latents": 4, "revert": 3, "reading_base": 0},
        "draws": 300,
        "seed": 0,
        "batch_size": 32,
    }
    setting = Setting(planted.suite, "plain", None, planted.pair.tokenizer_, len(planted.pair.tokenizer_))
    return Bypass(
        planted.pair,
        setting,
        arms,
        planted.deltas,
        DOCUMENTS,
        changes.pop("others", []),
        Effort(**{**effort, **changes}),
    )


@pytest.fixture
def tiny_suite(tiny_suite: Callable[..., Any]) -> Callable[..., Any]:
    """A level instead of a contrast: in a random model the planted edit shifts every item alike."""
    return partial(tiny_suite, score="level", contrast=None)


@pytest.fixture
def masked(plant: Callable[..., Any]) -> Any:
    return plant(NEURONS, size=30.0, entities=16)


def test_reverting_the_planted_write_brings_the_behaviour_back(masked: Any) -> None:
    bypass = bypass_of(masked, unit_arms("switch set", "planted", NEURONS))
    fit = bypass.fit_rows()
    held = bypass.held_rows(fit)
    TABLES["doses"].to_arrow(pd.concat([fit, held], ignore_index=True))
    chosen = held[held["chosen"] & held["imports_base"]].iloc[0]
    assert chosen["intervention"] == "revert"
    assert chosen["recovered"] > 0.9
    assert chosen["low"] > 0.8
    controls = held[held["is_null"] & (held["intervention"] == "revert")]
    assert len(controls) == 3
    assert controls["recovered"].abs().max() < 0.5
    assert controls["recovered"].mean() == pytest.approx(0, abs=0.2)
    # Nothing else here changed as much, so the control is the same change with random signs.
    assert set(controls["description"]) == {"random change"}
    assert "no other of their kind" in chosen["note"]


def test_a_larger_dose_of_a_revert_brings_back_more(masked: Any) -> None:
    bypass = bypass_of(masked, unit_arms("switch set", "planted", NEURONS)[-1:])
    held = bypass.held_rows(bypass.fit_rows())
    doses = held[~held["is_null"]].sort_values("dose")
    assert doses["dose"].tolist() == [0.5, 1.0, 2.0]
    assert 0.1 < doses["recovered"].iloc[0] < 0.9 < doses["recovered"].iloc[1]
    assert doses["chosen"].tolist() == [False, True, False]
    assert doses["off_target_kl"].notna().tolist() == [False, True, False]


def test_what_is_tried_on_the_fit_half_never_sees_the_held_out_half(masked: Any) -> None:
    bypass = bypass_of(masked, unit_arms("switch set", "planted", NEURONS))
    test = {item.id for item in masked.suite.items if item.split == "test"}
    assert not test & set(bypass.fit.items)
    assert set(bypass.held.items) == test
    assert set(bypass.fit_rows()["split"]) == {"train"}
    assert set(bypass.held_rows(bypass.fit_rows())["split"]) == {"test"}


def test_where_the_gap_may_be_nothing_shares_have_no_bounds(plant: Callable[..., Any]) -> None:
    same = plant((), noise=1e-6)
    bypass = bypass_of(same, unit_arms("switch set", "nothing", NEURONS)[-1:])
    fit = bypass.fit_rows()
    assert fit["recovered"].notna().all()
    assert fit[["low", "high"]].isna().all(axis=None)
    assert bypass.held_rows(fit)[["low", "high"]].isna().all(axis=None)


def test_no_arms_give_no_rows(masked: Any) -> None:
    bypass = bypass_of(masked, [])
    fit = bypass.fit_rows()
    held = bypass.held_rows(fit)
    assert len(fit) == len(held) == bypass.fit_work == bypass.held_work(fit) == 0
    assert TABLES["doses"].to_arrow(pd.concat([fit, held])).num_rows == 0


def test_a_trial_that_breaks_the_model_is_left_out(masked: Any) -> None:
    steering = Steering(0, torch.full((32,), float("inf")))
    bypass = bypass_of(
        masked, [*unit_arms("switch set", "planted", NEURONS)[-1:], direction_arm("broken", "x", steering)]
    )
    fit = bypass.fit_rows()
    assert fit.set_index("set")["recovered"].isna()["broken"].all()
    assert fit["recovered"].notna().any()
    assert set(bypass.held_rows(fit)["intervention"]) == {"revert"}


def test_the_shift_of_other_suites_is_in_their_bands(masked: Any) -> None:
    other = Other(masked.held, 0.5)
    bypass = bypass_of(masked, unit_arms("switch set", "planted", NEURONS)[-1:], others=[other])
    held = bypass.held_rows(bypass.fit_rows())
    with masked.pair.model("tuned") as model:
        plain = masked.held.scores(model, 32).numpy()
        bench = Bench(model, masked.layout, masked.deltas, masked.held, plain, plain, 32)
        row = held[held["chosen"]].iloc[0]
        trial = Trial(bypass.arms[0], row["dose"])
        moved = bench.scores(trial)
    assert moved is not None
    assert row["other_suites"] == pytest.approx(np.abs(moved - plain).mean() / 0.5)


def test_side_effects_inside_the_budget_are_preferred(masked: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    from audit.causal import off_target

    arms = unit_arms("switch set", "planted", NEURONS)[:-1]
    bypass = bypass_of(masked, arms)
    fit = bypass.fit_rows()
    monkeypatch.setattr(off_target, "KL_BUDGET", -1.0)  # nothing is inside: the nearest stays
    free = bypass.held_rows(fit)
    best = fit.loc[(fit["recovered"] - 1).abs().idxmin()]
    assert free[free["chosen"]].iloc[0]["intervention"] == best["intervention"]


def test_each_set_gets_every_action_that_its_units_have() -> None:
    row = Unit("row", "lm_head", 3)
    assert [arm.action for arm in unit_arms("a", "", [row])] == ["revert"]
    mixed = unit_arms("a", "", [*NEURONS, row])
    assert [(arm.action, arm.size) for arm in mixed] == [
        ("ablate", 2), ("negate", 2), ("rescale", 2), ("revert", 3),
    ]  # fmt: skip
    assert [group_of(arm) for arm in mixed] == ["internal", "internal", "internal", "revert"]
    assert group_of(unit_arms("a", "", [row])[0]) == "internal"
    latents = Latents(None, 0, (1,), base=lambda h: h)  # type: ignore[arg-type]  # never encoded here
    pool = traits([1.0, 1.0], [0.5, 0.5])
    assert group_of(latent_arm("l", "", latents, pool)) == "reading_base"
    assert group_of(latent_arm("l", "", replace(latents, base=None), pool)) == "latents"
    assert len(fit_trials(mixed)) == 5


def test_overshooting_is_as_far_off_as_falling_short() -> None:
    arms = unit_arms("a", "", NEURONS)
    fitted = [
        Fitted(Trial(arm, 1.0), Estimate(value, 0, 0, 9))
        for arm, value in zip(arms, (0.5, 1.4, 0.8, 3.0), strict=True)
    ]
    assert [f.share.value for f in nearest(fitted, 3)] == [0.8, 1.4, 0.5]


def test_of_about_equal_trials_the_smallest_set_is_chosen() -> None:
    row = Unit("row", "lm_head", 3)
    sizes = {1: [row], 3: [row, *NEURONS]}
    fitted = [
        Fitted(Trial(unit_arms("a", "", sizes[size])[-1], 1.0), Estimate(value, 0, 0, 9))
        for size, value in ((3, 1.01), (1, 0.93), (1, 0.85))
    ]
    assert [f.share.value for f in nearest(fitted, 3)] == [0.93, 1.01, 0.85]


def test_curves_pass_through_the_chosen_dose() -> None:
    assert curve("ablate", 1.0) == [0.5, 1.0, 2.0]
    assert curve("rescale", 2.0) == [1.5, 2.0, 3.0]
    assert curve("steer", -1.0) == [-2.0, -1.0, -0.5]


def test_fewer_items_take_groups_and_entities_in_turn(masked: Any) -> None:
    few = fewer_items(masked.suite, "train", 8)
    assert Counter(item.group for item in few.items) == {"high": 4, "low": 4}
    assert len({item.entity for item in few.items}) == 8
    assert {item.split for item in few.items} == {"train"}
    assert len(fewer_items(masked.suite, "train", 10_000).items) == 24


def test_components_are_held_against_random_changes_of_their_norm(masked: Any) -> None:
    unit = Unit("component", DOWN.format(1), 0)
    arm = unit_arms("c", "", [unit])[0]
    against = controls_of(arm, None, masked.deltas, count=3, seed=0)
    assert against.kind == "random change"
    assert [control.whole.units for control in against.arms] == [(unit,)] * 3
    real = masked.deltas.component(unit.module, 0)
    fakes = [control.deltas.component(unit.module, 0) for control in against.arms if control.deltas]
    for fake in fakes:
        torch.testing.assert_close(fake.norm(), real.norm())
        assert torch.linalg.matrix_rank(fake, rtol=1e-4) == 1
        assert (fake * real).sum().abs() < 0.5 * real.norm() ** 2
    assert not torch.equal(fakes[0], fakes[1])
    whole = RandomChanges(masked.deltas, 0)
    name = f"{unit.module}.weight"
    assert torch.equal(whole.of(name), whole.of(name))  # type: ignore[arg-type]  # it changed
    assert whole.names == masked.deltas.names
    assert whole.of("elsewhere") is None


def test_directions_are_held_against_others_without_the_concept() -> None:
    direction, centre = torch.randn(2, 32, generator=torch.Generator().manual_seed(0))
    arm = direction_arm("d", "", Steering(1, direction, centre))
    assert arm.action == "amplify"
    against = controls_of(arm, None, None, count=3, seed=0)
    assert against.kind == "random directions"
    for control in against.arms:
        steering = control.whole.steering
        assert steering is not None
        assert steering.centre is centre
        assert abs(float(steering.direction @ direction)) < 1e-4


def traits(norm: list[float], activity: list[float]) -> pd.DataFrame:
    columns = {"kind": "latent", "module": "block 0", "index": range(len(norm)), "norm": norm}
    return pd.DataFrame({**columns, "activity": activity, "rate": activity})


def test_latents_are_held_against_latents_alike_in_norm_and_rate() -> None:
    pool = traits([1.0] * 8 + [50.0] * 4, [0.2] * 6 + [0.9] * 6)
    arm = latent_arm("l", "", Latents(None, 0, (0, 1)), pool)  # type: ignore[arg-type]  # never encoded here
    against = controls_of(arm, None, None, count=3, seed=0)
    assert against.kind == "matched"
    assert (against.norm, against.activity) == pytest.approx((1.0, 1.0))
    drawn = [arm.whole.latents.indices for arm in against.arms if arm.whole.latents is not None]
    assert len({frozenset(indices) for indices in drawn}) == 3
    assert all(set(indices) <= {2, 3, 4, 5} for indices in drawn)


def test_a_latent_without_its_like_is_held_against_others_made_as_strong() -> None:
    pool = traits([8.0, 1.0, 1.0, 1.0, 1.0, 2.0], [0.2] * 6)
    arm = latent_arm("l", "", Latents(None, 0, (0,)), pool)  # type: ignore[arg-type]  # never encoded here
    against = controls_of(arm, None, None, count=2, seed=0)
    assert against.kind == "scaled"
    for control in against.arms:
        assert control.whole.latents is not None
        (index,), strengths = control.whole.latents.indices, control.whole.latents.strengths
        assert strengths == (8.0 / pool["norm"][index],)
    assert against.note is not None
    assert "norm made equal" in against.note


def test_controls_of_a_direction_lie_where_entities_differ_and_add_as_much() -> None:
    draw = torch.Generator().manual_seed(0)
    axes = torch.linalg.qr(torch.randn(64, 4, generator=draw)).Q.T
    spread = torch.randn(12, 4, generator=draw) * torch.tensor([0.3, 5.0, 4.0, 3.0])
    labels = torch.tensor([1.0, -1.0] * 6)
    points = (spread + 4 * labels[:, None] * torch.eye(4)[0]) @ axes
    direction = points[labels > 0].mean(0) - points[labels < 0].mean(0)
    arm = direction_arm("d", "", Steering(1, direction, points.mean(0)), points)

    def adds(control: Arm) -> float:
        steering = control.at(1.0).steering
        assert steering is not None
        gain = control.at(1.0).dose
        return float((steered(points[None], steering, gain)[0] - points).norm(dim=1).mean())

    own, against = adds(arm), controls_of(arm, None, None, count=4, seed=0)
    for control in against.arms:
        assert control.whole.steering is not None
        other = control.whole.steering.direction
        assert abs(float(other @ direction)) < 1e-3
        assert other.norm() == pytest.approx(float(direction.norm()), rel=1e-5)
        assert adds(control) == pytest.approx(own, rel=1e-4)
    anywhere = controls_of(
        direction_arm("d", "", Steering(1, direction, points.mean(0))), None, None, count=4, seed=0
    )
    assert max(adds(control) for control in anywhere.arms) < 0.5 * own
    with pytest.raises(ValueError, match="along the direction alone"):
        shuffled_directions(points[:, :1] * direction, direction, 1, 0)
    with pytest.raises(ValueError, match="length 0"):
        shuffled_directions(points, torch.zeros(64), 1, 0)


def test_units_without_traits_are_refused() -> None:
    with pytest.raises(ValueError, match="traits"):
        controls_of(unit_arms("a", "", NEURONS)[0], None, None, count=1, seed=0)


def test_sets_are_the_switch_set_and_what_pushed_most() -> None:
    rows = [
        ("s", "neuron", "m", 1, -2.0, True), ("s", "neuron", "m", 2, -3.0, False),
        ("s", "neuron", "m", 3, 5.0, False), ("s", "head", "a", 0, -1.0, False),
        ("s", "latent", "blocks.1", 7, -9.0, True), ("t", "row", "lm_head", 4, -9.0, True),
    ]  # fmt: skip
    columns = ["behaviour", "kind", "module", "index", "weight_attribution", "in_set"]
    units = pd.DataFrame(rows, columns=columns)
    sets = named_sets(units, "s", -1.5, search("s", "neuron", ["m:1"], reported=True))
    assert {s.name: s.units for s in sets} == {
        "switch set": (Unit("neuron", "m", 1),),
        "top neurons": (Unit("neuron", "m", 2), Unit("neuron", "m", 1)),
        "top heads": (Unit("head", "a", 0),),
    }
    grown = {s.name: s.units for s in named_sets(units, "s", change=1.5)}
    assert grown == {"top neurons": (Unit("neuron", "m", 3),)}
    assert named_sets(units, "unknown", 1.0, search("s", "neuron", ["m:1"], reported=True)) == []


def test_the_held_out_half_has_no_say_in_which_set_is_tried() -> None:
    none = pd.DataFrame([], columns=["behaviour", "kind", "module", "index", "weight_attribution", "in_set"])
    for reported in (True, False):
        found = named_sets(none, "s", -1.0, search("s", "row", ["lm_head:3", "lm_head:4"], reported=reported))
        assert [s.units for s in found] == [(Unit("row", "lm_head", 3), Unit("row", "lm_head", 4))]


def search(name: str, kind: str, units: list[str], *, reported: bool) -> SwitchesResult:
    """A search that found one set."""
    found = SwitchSet(
        kind=kind, units=units, size=len(units), recovered_fit=0.9, recovered=None, carried=0.9,
        random_sets=0, random_mean=None, random_max=None, reported=reported, why_not=[],
    )  # fmt: skip
    one = BehaviourSwitches(name=name, template="plain", searched=True, why_not=None, set=found)
    return SwitchesResult(behaviours=[one], largest=4, warnings=[])
