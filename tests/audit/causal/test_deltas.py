"""Weight changes read back by name, slice and component: full children, tied weights, adapters."""

from __future__ import annotations

import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from transformers import AutoModelForCausalLM

from audit.causal.deltas import COMPONENTS, EXACT, Deltas, tied_names, untied
from audit.causal.units import Layout, Slice, Unit, parameter
from audit.pair.checkpoint import LoadOptions, resolve
from audit.pair.load import ModelPair, open_pair

Edit = Callable[[Any], None]


@pytest.fixture
def child(tiny_model: Any, tmp_path: Path) -> Callable[..., ModelPair]:
    """Opens a base and its child, made by an edit of the weights."""

    def make(edit: Edit, architecture: str = "llama", **config: Any) -> ModelPair:
        base = tiny_model(architecture, name="base", **config)
        model = AutoModelForCausalLM.from_pretrained(base)
        with torch.no_grad():
            edit(model)
        folder = tiny_model(architecture, name="child", **config)
        model.save_pretrained(folder)
        return opened(base, str(folder))

    return make


def opened(base: Path, tuned: str) -> ModelPair:
    options = LoadOptions()
    return open_pair(resolve(str(base), options), resolve(tuned, options), device="cpu")


def test_only_what_changed_is_kept(child: Callable[..., ModelPair]) -> None:
    def edit(model: Any) -> None:
        model.model.layers[1].mlp.down_proj.weight[:, 5] += 1.0

    with child(edit) as pair:
        deltas = Deltas.read(pair)
        name = "model.layers.1.mlp.down_proj.weight"
        assert deltas.names == (name,)
        assert deltas.slice(Slice(name, 1, 5, 6)).flatten().tolist() == pytest.approx([1.0] * 32)
        assert not deltas.slice(Slice(name, 1, 6, 48)).any()
        assert deltas.of("lm_head.weight") is None
        with pytest.raises(ValueError, match="did not change"):
            deltas.slice(Slice("lm_head.weight", 0, 0, 1))
        with pair.model("tuned") as model:
            layout = Layout(model)
            unit = Unit("neuron", "model.layers.1.mlp.down_proj", 5)
            assert deltas.norm(layout, unit) == pytest.approx(32**0.5)


def test_a_tied_weight_is_here_once_and_found_by_both_names(child: Callable[..., ModelPair]) -> None:
    def edit(model: Any) -> None:
        model.lm_head.weight[7] += 1.0

    with child(edit, "qwen3") as pair:
        deltas = Deltas.read(pair)
        assert deltas.names == ("model.embed_tokens.weight",)
        assert deltas.slice(Slice("lm_head.weight", 0, 7, 8)).sum().item() == pytest.approx(32)
        with pair.model("tuned") as model:
            tied = parameter(model, "lm_head.weight")
            with untied(model, deltas):
                assert tied_names(model) == []
                assert torch.equal(parameter(model, "lm_head.weight"), tied)
            assert parameter(model, "lm_head.weight") is parameter(model, "model.embed_tokens.weight")


def test_a_tied_weight_that_did_not_change_stays_tied(child: Callable[..., ModelPair]) -> None:
    def edit(model: Any) -> None:
        model.model.layers[0].mlp.down_proj.weight += 1.0

    with child(edit, "qwen3") as pair, pair.model("tuned") as model, untied(model, Deltas.read(pair)):
        assert tied_names(model) == [["model.embed_tokens.weight", "lm_head.weight"]]


def test_an_adapter_pair_is_read_without_aliases(tiny_model: Any, tiny_adapter: Any) -> None:
    base = tiny_model("qwen3")
    with opened(base, f"{base}+{tiny_adapter(base)}") as pair:
        deltas = Deltas.read(pair)
        assert deltas.aliases == {}
        assert {name.split(".")[-2] for name in deltas.names} == {"q_proj", "v_proj"}
        assert deltas.factors("model.layers.0.self_attn.q_proj").sigma.shape == (2,)  # type: ignore[union-attr]


def test_an_adapter_around_one_use_of_a_tied_weight_parts_it(tiny_model: Any) -> None:
    from peft import LoraConfig, get_peft_model

    inner = AutoModelForCausalLM.from_pretrained(tiny_model("qwen3"))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # peft speaks of tied weights and of its own deprecations
        get_peft_model(inner, LoraConfig(target_modules=["lm_head"]))
    assert tied_names(inner) == [["model.embed_tokens.weight", "lm_head.weight"]]
    with untied(inner, Deltas({"lm_head.weight": torch.ones(1)})):
        assert tied_names(inner) == []
    assert tied_names(inner)


@pytest.mark.parametrize("width", [48, EXACT + 60])
def test_components_of_a_planted_low_rank_change(child: Callable[..., ModelPair], width: int) -> None:
    draw = torch.Generator().manual_seed(0)
    left, right = torch.linalg.qr(torch.randn(32, 2, generator=draw)).Q, torch.randn(2, width, generator=draw)
    right = torch.linalg.qr(right.T).Q.T
    change = 3 * torch.outer(left[:, 0], right[0]) + torch.outer(left[:, 1], right[1])

    def edit(model: Any) -> None:
        model.model.layers[0].mlp.down_proj.weight += change

    module = "model.layers.0.mlp.down_proj"
    with child(edit, intermediate_size=width) as pair:
        deltas = Deltas.read(pair)
        first = deltas.component(module, 0)
        assert torch.allclose(first, 3 * torch.outer(left[:, 0], right[0]), atol=1e-4)
        assert torch.allclose(first + deltas.component(module, 1), change, atol=1e-4)
        with pair.model("tuned") as model:
            assert deltas.norm(Layout(model), Unit("component", module, 0)) == pytest.approx(3, abs=1e-4)
        assert deltas.factors("lm_head") is None
        with pytest.raises(ValueError, match="no singular component 99"):
            deltas.component(module, 99)


def test_a_large_matrix_keeps_its_leading_components(monkeypatch: pytest.MonkeyPatch) -> None:
    draw = torch.Generator().manual_seed(0)
    strong = torch.outer(torch.randn(300, generator=draw), torch.randn(400, generator=draw))
    deltas = Deltas({"m.weight": strong + 0.05 * torch.randn(300, 400, generator=draw)})
    factors = deltas.factors("m")
    assert factors is not None
    assert len(factors.sigma) == COMPONENTS
    exact = torch.linalg.svdvals(deltas.changes["m.weight"])
    assert factors.sigma[0].item() == pytest.approx(exact[0].item(), rel=1e-4)
    assert torch.equal(Deltas(deltas.changes).component("m", 0), deltas.component("m", 0))
