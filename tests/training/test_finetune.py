from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch

from training.errors import TrainingError
from training.finetune import FinetuneConfig, LowRankChange, finetune, linear_layers, next_token_loss

Maker = Callable[..., Path]
TEXTS = [tuple(range(3 + i, 23 + i)) for i in range(12)]
QUICK = FinetuneConfig(rank=4, steps=25, learning_rate=5e-3, tokens=16)


def load(path: Path) -> Any:
    from transformers import AutoModelForCausalLM

    return AutoModelForCausalLM.from_pretrained(path).eval().requires_grad_(False)


@pytest.mark.parametrize("architecture", ["llama", "gpt2", "gpt_neox"])
def test_training_lowers_the_loss_and_leaves_the_weights_alone(tiny_model: Maker, architecture: str) -> None:
    model = load(tiny_model(architecture))
    before = {name: tensor.clone() for name, tensor in model.state_dict().items()}
    seen = list[int]()
    change = finetune(model, TEXTS, QUICK, progress=seen.append)
    assert sum(seen) == 25
    plain = next_token_loss(model, TEXTS)
    with change.on(model):
        trained = next_token_loss(model, TEXTS)
    assert trained < 0.8 * plain
    assert torch.equal(next_token_loss(model, TEXTS), plain)
    assert all(torch.equal(before[name], tensor) for name, tensor in model.state_dict().items())


def test_scale_0_is_the_base_and_the_change_is_linear_in_it(tiny_model: Maker) -> None:
    model = load(tiny_model())
    change = finetune(model, TEXTS, QUICK)
    layer, x = linear_layers(model)["model.layers.0.mlp.up_proj"], torch.randn(2, 32)
    plain, moved = layer(x), {}
    for scale in (0.0, 1.0, 2.0):
        change.scale = scale
        with change.on(model):
            moved[scale] = layer(x)
    assert torch.equal(moved[0.0], plain)
    assert not torch.allclose(moved[1.0], plain, atol=1e-3)
    torch.testing.assert_close(moved[2.0] - plain, 2 * (moved[1.0] - plain), rtol=1e-4, atol=1e-5)


@pytest.mark.filterwarnings("ignore:.*is_gradient_checkpointing:FutureWarning")  # peft 0.21 asks for it
def test_the_unembedding_and_adapters_are_left_out(tiny_model: Maker, tiny_adapter: Maker) -> None:
    from peft import PeftModel

    base = tiny_model()
    plain = load(base)
    names = set(linear_layers(plain))
    assert "lm_head" not in names
    assert len(names) == 14
    adapted = PeftModel.from_pretrained(plain, str(tiny_adapter(base))).get_base_model()
    assert set(linear_layers(adapted)) == names
    config = FinetuneConfig(targets=("q_proj", "v_proj"), steps=1)
    change = finetune(adapted, TEXTS, config)
    assert sorted(change.names) == sorted(n for n in names if n.endswith(("q_proj", "v_proj")))


def test_the_seed_decides_everything(tiny_model: Maker) -> None:
    model = load(tiny_model())
    a, b, c = (finetune(model, TEXTS, FinetuneConfig(steps=3, seed=seed)) for seed in (1, 1, 2))
    assert all(torch.equal(x, y) for x, y in zip(a.parameters(), b.parameters(), strict=True))
    assert not torch.equal(a.down[0], c.down[0])


def test_half_precision_models_are_trained_in_float32(tiny_model: Maker) -> None:
    model = load(tiny_model(dtype="bfloat16")).bfloat16()
    change = finetune(model, TEXTS, FinetuneConfig(steps=2))
    assert change.up[0].dtype == torch.float32
    with change.on(model):
        assert model(torch.tensor([TEXTS[0]])).logits.dtype == torch.bfloat16


def test_what_cannot_be_trained_is_named(tiny_model: Maker) -> None:
    model = load(tiny_model())
    with pytest.raises(TrainingError, match="no linear layer"):
        finetune(model, TEXTS, FinetuneConfig(targets=("nothing",)))
    with pytest.raises(TrainingError, match="no text"):
        finetune(model, [(1,)], QUICK)
    with torch.no_grad():
        model.model.norm.weight.fill_(float("nan"))
    with pytest.raises(TrainingError, match="not finite"):
        finetune(model, TEXTS, QUICK)


def test_hooks_go_after_an_exception(tiny_model: Maker) -> None:
    model = load(tiny_model())
    change = LowRankChange({"model.layers.0.mlp.up_proj": (32, 48)}, rank=2, seed=0)
    with pytest.raises(KeyboardInterrupt), change.on(model):
        raise KeyboardInterrupt
    assert not linear_layers(model)["model.layers.0.mlp.up_proj"]._forward_hooks
