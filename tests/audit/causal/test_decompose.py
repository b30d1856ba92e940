"""TransformerLens's bridge against our own hooks, and direct effects that add up to the logits."""

from __future__ import annotations

import warnings
from typing import Any

import pytest
import torch

from audit.behaviours.load import load_suite
from audit.causal.decompose import bridged, direct_effects, plain_copy, why_not
from audit.causal.objective import Objective
from audit.causal.units import Layout
from sae.hooks import capture

ARCHITECTURES = ("llama", "gpt2", "qwen3", "gemma3", "gpt_neox")
IDS = torch.tensor([[5, 9, 30, 4, 77, 12], [8, 3, 100, 41, 6, 2]])


def inputs_of(model: Any, module: str, ids: torch.Tensor = IDS) -> torch.Tensor:
    """What a module was given, seen by a hook of our own."""
    seen = []
    handle = model.get_submodule(module).register_forward_pre_hook(lambda _, given: seen.append(given[0]))
    with torch.no_grad():
        model(input_ids=ids)
    handle.remove()
    return seen[0]


@pytest.mark.parametrize("architecture", ARCHITECTURES)
def test_the_bridge_equals_our_hooks(plant: Any, architecture: str) -> None:
    model = plant([], architecture, noise=0.0).pair.base
    layout = Layout(model)
    ours = capture(model, [0, 1], IDS, torch.ones_like(IDS))
    bridge = bridged(plain_copy(model))
    bridge.set_use_attn_result(True)
    with torch.no_grad():
        _, cache = bridge.run_with_cache(IDS)
    for number, block in enumerate(layout.blocks):
        assert torch.allclose(cache[f"blocks.{number}.hook_resid_post"], ours[number], atol=1e-5)
        z = inputs_of(model, block.attention_out or "")
        weight = layout.linear(block.attention_out or "").weight
        out = weight if layout.transposed(block.attention_out or "") else weight.T
        heads = torch.einsum("bthw,hwd->bthd", z.view(*z.shape[:2], 4, -1), out.view(4, -1, out.shape[1]))
        assert torch.allclose(cache[f"blocks.{number}.attn.hook_result"], heads, atol=1e-5)
        assert torch.allclose(
            cache[f"blocks.{number}.mlp.hook_post"], inputs_of(model, block.mlp_out or ""), atol=1e-5
        )
    again = capture(model, [0, 1], IDS, torch.ones_like(IDS))
    assert torch.equal(again, ours)


@pytest.mark.parametrize("architecture", ARCHITECTURES)
def test_direct_effects_are_what_the_logits_lose_without_the_unit(plant: Any, architecture: str) -> None:
    """In the last block a write reaches the logits directly; its own norm is all that is frozen."""
    world = plant([], architecture, noise=0.0)
    model, layout = world.pair.base, world.layout
    found = direct_effects(model, world.fit, 5)
    parted = direct_effects(model, world.fit, 64)
    module = layout.blocks[-1].mlp_out
    assert torch.allclose(found.neurons[module], parted.neurons[module], atol=1e-5)
    index = int(found.neurons[module].abs().argmax())
    wanted = frozen_effect(world, module, slice(index, index + 1))
    assert float(found.neurons[module][index]) == pytest.approx(wanted, abs=1e-4)
    if architecture != "gpt_neox":  # its last attention and MLP both write directly, too
        head = layout.blocks[-1].attention_out
        width = layout.head_width(head)
        assert found.heads[head].shape == (4,)
        if architecture in ("llama", "gpt2", "qwen3"):
            wanted = frozen_effect(world, head, slice(width, 2 * width))
            assert float(found.heads[head][1]) == pytest.approx(wanted, abs=1e-4)


def frozen_effect(world: Any, module: str, part: slice) -> float:
    """The unit's part of b when the final norm keeps its scale: by hand, from our own hooks."""
    model, layout = world.pair.base, world.layout
    ends = ("ln_f", "final_layer_norm", "model.norm")
    final = next(name for name, _ in model.named_modules() if name.endswith(ends))
    matrix = layout.linear(module).weight
    matrix = matrix.T if layout.transposed(module) else matrix
    total = 0.0
    for request, weight in zip(world.fit.requests, world.fit.weights_N.tolist(), strict=True):
        ids = torch.tensor([request.prompt])
        activation, residual = (inputs_of(model, name, ids)[0, -1] for name in (module, final))
        write = matrix[:, part] @ activation[part]
        if post := post_norm(model, module):
            write = linear_part(post, matrix @ activation, write)
        out = linear_part(model.get_submodule(final), residual, write)
        rows = layout.linear(layout.unembedding).weight[[c[0] for c in request.continuations]]
        total += weight * float((rows @ out)[0] - (rows @ out)[1])
    return total


def post_norm(model: Any, module: str) -> Any:
    names = {"mlp.down_proj": "post_feedforward_layernorm"}
    block, _, rest = module.partition(".mlp.")
    return getattr(model.get_submodule(block), names.get(f"mlp.{rest}", "none"), None)


def linear_part(norm: Any, at: torch.Tensor, write: torch.Tensor) -> torch.Tensor:
    """The norm of `write` with the scale that it has at `at`."""
    centred = "LayerNorm" in type(norm).__name__
    mean = at.mean() if centred else torch.zeros(())
    scale = ((at - mean).pow(2).mean() + 1e-6).sqrt()
    gain = norm.weight + 1 if "Gemma" in type(norm).__name__ else norm.weight
    return gain * (write - (write.mean() if centred else 0)) / scale


def test_an_adapter_is_merged_into_the_copy_alone(tiny_model: Any) -> None:
    from peft import LoraConfig, get_peft_model
    from transformers import AutoModelForCausalLM

    inner = AutoModelForCausalLM.from_pretrained(tiny_model()).eval()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        wrapped = get_peft_model(inner, LoraConfig(target_modules=["v_proj"], init_lora_weights=False)).eval()
    with torch.no_grad():
        on = inner(input_ids=IDS).logits
        assert torch.allclose(plain_copy(inner)(input_ids=IDS).logits, on, atol=1e-5)
        with wrapped.disable_adapter():
            off = inner(input_ids=IDS).logits
            assert torch.equal(plain_copy(inner)(input_ids=IDS).logits, off)
        assert not torch.allclose(on, off, atol=1e-3)
        assert torch.equal(inner(input_ids=IDS).logits, on)


def test_suites_without_a_direction_are_named(plant: Any, tiny_suite: Any, tiny_tokenizer: Any) -> None:
    world = plant([])
    assert why_not(world.fit) is None
    suite = load_suite(str(tiny_suite(name="long")))
    items = tuple(i.model_copy(update={"showing": (" she works",)}) for i in suite.items)
    long = Objective.of(suite.model_copy(update={"items": items}), tiny_tokenizer(), template=None)
    assert why_not(long) == "continuations of several tokens"
