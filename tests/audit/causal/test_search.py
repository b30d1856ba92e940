"""Planted switches of every kind are found as what they are, and nothing is found where nothing was put."""

from __future__ import annotations

from typing import Any, NamedTuple

import pytest
import torch

from audit.causal.attributed import WeightAttribution
from audit.causal.bypass import Setting
from audit.causal.search import (
    SEARCHED,
    Found,
    SearchSettings,
    Trials,
    is_confined,
    minimal_set,
    random_sets,
    smallest,
)
from audit.causal.switch import Effort, Switch
from audit.causal.units import Unit
from audit.causal.weight_attribution import attribute
from audit.progress import Silent


class Searched(NamedTuple):
    attribution: WeightAttribution
    fit: Trials
    held: Trials
    kinds: list[Found]
    found: Found | None


def searched(world: Any, largest: int = 16) -> Searched:
    attribution = attribute(world.pair, world.fit, world.deltas, steps=4)
    fit, held = (
        Trials(
            world.pair.tuned, world.layout, world.deltas, objective,
            objective.scores(world.pair.base, 16), objective.scores(world.pair.tuned, 16), 16,
        )
        for objective in (world.fit, world.held)
    )  # fmt: skip
    kinds = [minimal_set(fit, attribution, kind, SearchSettings(largest)) for kind in SEARCHED]
    return Searched(attribution, fit, held, kinds, smallest(kinds, world.deltas, world.layout))


@pytest.mark.parametrize("architecture", ["llama", "gpt2", "qwen3"])
def test_planted_neurons(plant: Any, strongest: Any, architecture: str) -> None:
    planted = strongest("neuron", 4, architecture)
    got = searched(plant(planted, architecture, size=2.0))
    assert got.found is not None
    assert set(got.found.units) == set(planted)
    assert got.held.recovered(got.found.units) > 0.85
    assert got.fit.recovered(got.found.units) == got.found.recovered


def test_a_planted_head(plant: Any) -> None:
    planted = Unit("head", "model.layers.1.self_attn.o_proj", 2)
    got = searched(plant([planted], size=3.0))
    assert got.found is not None
    assert got.found.units == (planted,)


def test_planted_rows_of_a_tied_unembedding(plant: Any, tiny_tokenizer: Any) -> None:
    planted = [Unit("row", "lm_head", tiny_tokenizer()(f" {w}")["input_ids"][0]) for w in ("she", "he")]
    got = searched(plant(planted, "qwen3", size=2.0))
    assert got.found is not None
    assert set(got.found.units) == set(planted)


def test_a_planted_edit_of_low_rank_is_a_component(plant: Any) -> None:
    module = "model.layers.1.self_attn.v_proj"
    got = searched(plant([Unit("component", module, 0)], size=2.0))
    assert got.found is not None
    assert {(u.kind, u.module) for u in got.found.units} == {("component", module)}
    assert len(got.found.units) <= 2


@pytest.mark.parametrize("architecture", ["llama", "gpt2", "qwen3"])
@pytest.mark.parametrize("seed", range(4))
def test_changes_everywhere_are_in_no_small_set(plant: Any, architecture: str, seed: int) -> None:
    world = plant([], architecture, noise=0.3, seed=seed)
    effort = Effort(items=64, largest=2, grafts=1, checked=1, random_sets=3, draws=200, seed=0, batch_size=16)
    setting = Setting(world.suite, "plain", None, world.pair.tokenizer_, len(world.pair.tokenizer_))
    switch = Switch(world.pair, world.deltas, setting, effort, Silent())
    components = next(f for f in switch.kinds if f.kind == "component")
    assert components.tried == 0, "a change without structure has no component that could be a unit"
    assert switch.held is None or switch.held.why_not


def test_random_sets_match_in_size_and_norm_and_do_little(plant: Any) -> None:
    planted = [Unit("neuron", "model.layers.0.mlp.down_proj", i) for i in (3, 17)]
    world = plant(planted, size=2.0)
    got = searched(world)
    assert got.found is not None
    sets = random_sets(got.attribution, world.layout, world.deltas, got.found, count=5, seed=1)
    wanted = sum(world.deltas.norm(world.layout, u) ** 2 for u in got.found.units) ** 0.5
    assert [s.matched for s in sets] == ["size", "norm"] * 5
    for one in sets:
        assert len(one.units) == len(got.found.units)
        assert not set(one.units) & set(got.found.units)
        norm = sum(world.deltas.norm(world.layout, u) ** 2 for u in one.units) ** 0.5
        assert one.dose * norm == pytest.approx(wanted if one.matched == "norm" else norm)
        if one.matched == "size":
            assert abs(got.held.recovered(one.units, one.dose)) < 0.1
    again = random_sets(got.attribution, world.layout, world.deltas, got.found, count=5, seed=1)
    assert again == sets


def trials_of(world: Any, values: dict[Unit, float]) -> Trials:
    """Trials whose R is the sum of the units' values, without a model."""

    class Known(Trials):
        def recovered(self, units: Any, dose: float = 1.0) -> float:
            chosen = frozenset(units)
            self.runs[chosen, dose] = torch.zeros(1)
            return sum(values.get(unit, 0.0) for unit in chosen)

    return Known(None, world.layout, world.deltas, world.fit, torch.zeros(1), torch.zeros(1), 1)  # type: ignore[arg-type]


def test_the_first_size_that_will_do_is_kept_and_pruned(plant: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    world = plant([])
    attribution = attribute(world.pair, world.fit, world.deltas)
    ranked = [c.unit for c in attribution.ranked(world.layout, "neuron", 12)]
    values = dict.fromkeys(ranked[:9], 0.12) | {ranked[2]: 0.0}
    settings = SearchSettings(12, material=10.0)
    trials = trials_of(world, values)
    found = minimal_set(trials, attribution, "neuron", settings)
    assert set(found.units) == {unit for unit in ranked[:9] if unit != ranked[2]}
    assert found.recovered == pytest.approx(8 * 0.12)
    assert len(trials.runs) < 20


def test_a_partial_switch_keeps_nearly_all_that_can_be_had(plant: Any) -> None:
    world = plant([])
    attribution = attribute(world.pair, world.fit, world.deltas)
    ranked = [c.unit for c in attribution.ranked(world.layout, "neuron", 8)]
    found = minimal_set(
        trials_of(world, {ranked[0]: 0.4, ranked[1]: 0.25}),
        attribution,
        "neuron",
        SearchSettings(8, material=10.0),
    )
    assert found.units == tuple(ranked[:2])
    weak = minimal_set(trials_of(world, {ranked[0]: 0.4}), attribution, "neuron", SearchSettings(8))
    assert weak.units == ()
    assert weak.recovered == 0.4


def test_what_follows_and_still_brings_back_more_is_added(plant: Any) -> None:
    world = plant([])
    attribution = attribute(world.pair, world.fit, world.deltas)
    ranked = [c.unit for c in attribution.ranked(world.layout, "neuron", 12)]
    values = dict.fromkeys(ranked[:3], 0.31) | {ranked[3]: 0.04, ranked[5]: 0.03, ranked[6]: 0.005}
    found = minimal_set(trials_of(world, values), attribution, "neuron", SearchSettings(12, material=10.0))
    assert set(found.units) == {*ranked[:4], ranked[5]}


def test_a_set_that_brings_back_too_much_is_not_whole(plant: Any) -> None:
    """Without the fourth unit, which pushes back, the others bring back a fifth too much."""
    world = plant([])
    attribution = attribute(world.pair, world.fit, world.deltas)
    ranked = [c.unit for c in attribution.ranked(world.layout, "neuron", 8)]
    values = dict.fromkeys(ranked[:3], 0.4) | {ranked[3]: -0.2}
    found = minimal_set(trials_of(world, values), attribution, "neuron", SearchSettings(8, material=10.0))
    assert set(found.units) == set(ranked[:4])
    assert found.recovered == pytest.approx(1.0)


def test_a_set_that_reaches_the_target_comes_before_a_smaller_one_that_does_not(plant: Any) -> None:
    world, module = plant([]), "model.layers.0.mlp.down_proj"
    world.deltas.changes[f"{module}.weight"] = torch.ones(32, 48)
    world.deltas._factors.clear()
    neurons = Found("neuron", tuple(Unit("neuron", module, i) for i in range(8)), 0.99, 8)
    component = Found("component", (Unit("component", module, 0),), 0.78, 64)
    assert smallest([neurons, component], world.deltas, world.layout) == neurons
    beyond = component._replace(recovered=1.3)
    assert smallest([neurons, beyond], world.deltas, world.layout) == neurons
    whole = component._replace(recovered=0.95)
    assert smallest([neurons, whole], world.deltas, world.layout) == whole


def test_the_smallest_set_wins_and_slices_come_before_the_components_that_they_hold(plant: Any) -> None:
    world = plant([])
    module = "model.layers.0.mlp.down_proj"
    change = torch.zeros(32, 48)
    change[:, 5] = 1.0
    world.deltas.changes[f"{module}.weight"] = change
    world.deltas._factors.clear()
    other = "model.layers.0.mlp.up_proj"
    world.deltas.changes[f"{other}.weight"] = torch.ones(48, 32)
    neurons = Found("neuron", (Unit("neuron", module, 5), Unit("neuron", module, 6)), 1.0, 2)
    heads = Found("head", (Unit("head", "model.layers.0.self_attn.o_proj", 0),), 1.0, 1)
    inside, dense = (Found("component", (Unit("component", name, 0),), 1.0, 1) for name in (module, other))
    none = Found("row", (), 0.1, 1)
    assert is_confined(world.deltas, world.layout, inside.units[0])
    assert not is_confined(world.deltas, world.layout, dense.units[0])
    assert smallest([neurons, heads, none], world.deltas, world.layout) == heads
    assert smallest([neurons, inside], world.deltas, world.layout) == neurons
    assert smallest([neurons, dense], world.deltas, world.layout) == dense
    assert smallest([none], world.deltas, world.layout) is None
