"""Interventions through nnsight equal those by our own hooks and weight edits."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch

from audit.causal.interventions import Action, Intervention, Latents, Steering, intervened
from audit.causal.plan import visits
from audit.causal.traced import Traced
from audit.causal.units import Layout, Unit

ARCHITECTURES = ("llama", "gpt2", "qwen3", "gemma3", "gpt_neox")


def equal(found: torch.Tensor, expected: torch.Tensor, what: str = "plain") -> None:
    torch.testing.assert_close(found, expected, rtol=0, atol=1e-5, msg=lambda problem: f"{what}: {problem}")


@pytest.fixture(params=ARCHITECTURES)
def planted(request: pytest.FixtureRequest, plant: Callable[..., Any]) -> Any:
    """A pair without a switch: every weight moved a little, which a revert takes back."""
    return plant([], request.param, noise=0.2, entities=6)


@pytest.fixture
def traced(planted: Any) -> Traced:
    return Traced.here(planted.pair.tuned, planted.pair.tokenizer_)


def steering(centre: bool) -> Steering:
    draw = torch.Generator().manual_seed(0)
    direction, middle = torch.randn(2, 32, generator=draw)
    return Steering(1, direction, middle if centre else None)


def units_of(layout: Layout, rows: tuple[int, ...] = (5, 300)) -> dict[str, tuple[Unit, ...]]:
    block = layout.blocks[1]
    assert block.mlp_out is not None
    assert block.attention_out is not None
    mlp = block.mlp_out.rsplit(".", 1)[0]
    return {
        "neuron": (Unit("neuron", block.mlp_out, 3), Unit("neuron", block.mlp_out, 17)),
        "head": (Unit("head", block.attention_out, 2), Unit("head", block.attention_out, 0)),
        "row": tuple(Unit("row", layout.unembedding, token) for token in rows),
        "component": (Unit("component", block.mlp_out, 0), Unit("component", block.attention_out, 1)),
        "module": (Unit("module", mlp, 0),),
    }


def everything(planted: Any) -> dict[str, list[Intervention]]:
    """One of every action on every kind of unit that it can act on, and some together."""
    answers = planted.held.requests[0].continuations
    units = units_of(planted.layout, tuple(ids[0] for ids in answers))
    found: dict[str, list[Intervention]] = {}
    means = {unit: torch.full((1,), 0.3) for unit in units["neuron"]}
    actions: tuple[tuple[Action, float], ...] = (("ablate", 0.7), ("rescale", 2.5), ("negate", 1.0))
    for kind in ("neuron", "head"):
        for action, dose in actions:
            found[f"{action} {kind}"] = [Intervention(action, dose, units[kind])]
    found["ablate towards means"] = [Intervention("ablate", 0.5, units["neuron"], means=means)]
    found["ablate times over"] = [Intervention("ablate", 1.0, units["neuron"], strengths=(2.0, 0.5))]
    for kind, some in units.items():
        found[f"revert {kind}"] = [Intervention("revert", 1.3, some)]
    found["revert writes"] = [Intervention("revert", 1.0, units["head"], write_only=True)]
    found["steer"] = [Intervention("steer", 1.5, steering=steering(centre=False))]
    found["amplify"] = [Intervention("amplify", 2.0, steering=steering(centre=True))]
    found["together"] = [
        Intervention("ablate", 0.5, units["head"]),
        Intervention("revert", 1.0, (*units["neuron"], *units["row"])),
        Intervention("negate", 1.0, units["neuron"]),
        Intervention("revert", 0.5, units["row"]),
        *found["amplify"],
    ]
    return found


def test_scores_and_logits_equal_those_by_hooks_and_weight_edits(planted: Any, traced: Traced) -> None:
    model, layout, objective = planted.pair.tuned, planted.layout, planted.held
    ids = torch.randint(3, 400, (3, 7), generator=torch.Generator().manual_seed(1))
    mask = torch.ones_like(ids)
    mask[0, 5:] = 0
    plain = objective.scores(model, 4)
    equal(objective.scores(traced, 4), plain)
    for name, what in everything(planted).items():
        with intervened(model, layout, what, planted.deltas), torch.no_grad():
            scores = objective.scores(model, 4)
            logits = model(input_ids=ids, attention_mask=mask).logits
        with traced.under(what, planted.deltas):
            found = objective.scores(traced, 4)
            passed = traced(input_ids=ids, attention_mask=mask).logits

        equal(found, scores, name)
        equal(passed, logits, name)
        assert (scores - plain).abs().max() > 1e-4, f"{name} does nothing here"
    equal(objective.scores(traced, 4), plain)


def test_reverting_the_embedding_spares_tokens_of_the_tuned_model_alone(planted: Any, traced: Traced) -> None:
    embedding = traced.layout._names[id(traced.nnsight._module.get_input_embeddings())]
    back = [Intervention("revert", 1.0, (Unit("module", embedding, 0),))]
    with intervened(planted.pair.tuned, planted.layout, back, planted.deltas):
        scores = planted.held.scores(planted.pair.tuned, 4)
    with traced.under(back, planted.deltas):
        equal(planted.held.scores(traced, 4), scores)


def test_the_model_in_memory_does_not_notice(planted: Any, traced: Traced) -> None:
    model, before = planted.pair.tuned, planted.held.scores(planted.pair.tuned, 4)
    with traced.under(everything(planted)["negate neuron"]):
        assert (planted.held.scores(traced, 4) - before).abs().max() > 1e-4
        assert torch.equal(planted.held.scores(model, 4), before)


def test_visits_come_in_the_order_of_the_forward_pass(planted: Any) -> None:
    paths = [
        visit.path
        for visit in visits(
            planted.pair.tuned, planted.layout, everything(planted)["together"], planted.deltas
        )
    ]
    block = planted.layout.blocks[1]
    assert paths.index(block.attention_out) < paths.index(block.mlp_out)
    assert paths[-1] == planted.layout.unembedding
    assert len(set(paths)) == len(paths)


def test_what_no_change_of_activations_can_say_is_refused(planted: Any, traced: Traced) -> None:
    with pytest.raises(ValueError, match="needs the weight changes"):
        traced.under([Intervention("revert", 1.0, units_of(planted.layout)["row"])]).__enter__()
    norm = next(n for n, _ in planted.pair.tuned.named_parameters() if "norm" in n or "ln_" in n)
    planted.deltas.changes[norm] = torch.ones(32)
    everything_back = [Intervention("revert", 1.0, (Unit("module", "", 0),))]
    with pytest.raises(ValueError, match=rf"is not linear in {norm}"):
        traced.under(everything_back, planted.deltas).__enter__()
    latents = Intervention("latents", 1.0, latents=Latents(None, 0, (1,)))  # type: ignore[arg-type]
    with pytest.raises(ValueError, match="dictionary"):
        traced.under([latents]).__enter__()
    inside = traced.under([Intervention("steer", 1.0, steering=steering(centre=False))])
    with inside, pytest.raises(ValueError, match="nested"):
        traced.under([Intervention("steer", 1.0, steering=steering(centre=False))]).__enter__()
