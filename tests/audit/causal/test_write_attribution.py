"""Effects of latents' writes: exact where they can be, complete when integrated, awake to silencing."""

from __future__ import annotations

import copy
from dataclasses import dataclass
from typing import Any

import pytest
import torch
from torch import Tensor

from audit.causal.write_attribution import LatentSettings, item_effects, latent_effects, residual_gradient
from audit.evidence.schema import TABLES
from sae.hooks import edited
from sae.types import HookPoint


@dataclass
class Plain:
    """A dictionary given by hand: each side is encoded by its own decoder."""

    decoder_FMD: Tensor
    level: float = 0.0

    @property
    def bias_MD(self) -> Tensor:
        return torch.zeros(self.decoder_FMD.shape[1:])

    def encode(self, x_NMD: Tensor) -> Tensor:
        return (torch.einsum("nmd,fmd->nmf", x_NMD, self.decoder_FMD) - self.level).relu()

    def decode(self, codes_NMF: Tensor) -> Tensor:
        return torch.einsum("nmf,fmd->nmd", codes_NMF, self.decoder_FMD)


def orthonormal(latents: int = 12, seed: int = 0) -> Plain:
    draw = torch.Generator().manual_seed(seed)
    rows = torch.linalg.qr(torch.randn(32, latents, generator=draw)).Q.T
    return Plain(rows[:, None].expand(-1, 2, -1).contiguous())


def deafened(world: Any, direction: Tensor) -> Any:
    """The base, but nothing after its first block reads a direction, nor does the unembedding."""
    tuned = copy.deepcopy(world.pair.base)
    away = torch.eye(32) - torch.outer(direction, direction)
    block = tuned.model.layers[1]
    readers = [block.self_attn.q_proj, block.self_attn.k_proj, block.self_attn.v_proj, block.mlp.gate_proj]
    for module in (*readers, block.mlp.up_proj, tuned.lm_head):
        module.weight.data = module.weight.data @ away
    return tuned


def test_a_silenced_latent_is_active_and_its_effect_is_gone(plant: Any) -> None:
    world = plant([], noise=0.0)
    dictionary, hook = orthonormal(), HookPoint(0)
    plain = latent_effects(world.pair, dictionary, hook, [world.fit])
    assert (plain["difference"] == 0).all()
    assert (plain["q_value"] == 1).all()
    TABLES["latent_effects"].to_arrow(plain)
    silent = int(plain.loc[plain["effect_base"].abs().idxmax(), "latent"])
    world.pair.tuned = deafened(world, dictionary.decoder_FMD[silent, 0])
    found = latent_effects(world.pair, dictionary, hook, [world.fit, world.held])
    assert set(found["behaviour"]) == {world.fit.suite}
    row = found[found["latent"] == silent].iloc[0]
    assert row["effect_base"] == pytest.approx(plain.set_index("latent").loc[silent, "effect_base"], rel=1e-4)
    assert abs(row["effect_tuned"]) < 0.25 * abs(row["effect_base"])
    assert row["low"] <= row["difference"] <= row["high"]


def test_one_step_is_the_slope_of_scaling_the_write(plant: Any) -> None:
    world = plant([])
    dictionary, model = orthonormal(), world.pair.base
    rows = list(range(len(world.fit)))
    settings = LatentSettings(first=0)
    effects = item_effects(world.pair, dictionary, HookPoint(0), world.fit, 64, None, settings)[0]
    parted = item_effects(world.pair, dictionary, HookPoint(0), world.fit, 2, None, settings)[0]
    assert torch.allclose(effects, parted, atol=1e-4)
    direction, step = dictionary.decoder_FMD[3, 0], 0.02

    def scaled(h: Tensor, by: float) -> Tensor:
        return h + by * (h @ direction).relu()[..., None] * direction

    ends = []
    for sign in (1, -1):
        with edited(model, 0, lambda h, sign=sign: scaled(h, sign * step)), torch.no_grad():
            ends.append(world.fit.m(model, rows))
    slope = (ends[0] - ends[1]) / (2 * step)
    assert effects[:, 3].tolist() == pytest.approx(slope.tolist(), rel=0.05, abs=5e-3)


def test_integrated_effects_add_up_to_what_all_writes_do(plant: Any) -> None:
    world = plant([])
    dictionary, model = orthonormal(), world.pair.base
    rows = list(range(len(world.fit)))

    def without(h: Tensor) -> Tensor:
        x_NMD = torch.stack([h, h], -2).flatten(0, 1)
        return h - dictionary.decode(dictionary.encode(x_NMD))[:, 0].view_as(h)

    with torch.no_grad(), edited(model, 0, without):
        wanted = world.fit.m(model, rows)
    with torch.no_grad():
        wanted = world.fit.m(model, rows) - wanted
    gaps = []
    for steps in (1, 16):
        settings = LatentSettings(first=0, steps=steps)
        effects = item_effects(world.pair, dictionary, HookPoint(0), world.fit, 64, None, settings)[0]
        gaps.append(float((effects.sum(1) - wanted).abs().mean()))
    assert gaps[1] < 0.05 * float(wanted.abs().mean())
    assert gaps[1] < 0.2 * gaps[0]


def test_a_latent_at_its_reference_has_no_effect_and_first_positions_do_not_count(plant: Any) -> None:
    world = plant([])
    dictionary = orthonormal()
    dictionary.encode = lambda x: torch.full((len(x), 2, 12), 0.7)  # type: ignore[method-assign]
    reference = torch.full((2, 12), 0.7)
    settings = LatentSettings()
    none = item_effects(world.pair, dictionary, HookPoint(0), world.fit, 8, reference, settings)
    assert not none.any()
    some = item_effects(world.pair, dictionary, HookPoint(0), world.fit, 8, None, settings)
    assert some.any()
    late = item_effects(world.pair, dictionary, HookPoint(0), world.fit, 8, None, LatentSettings(first=99))
    assert not late.any()


def test_latents_that_never_fire_are_left_out_and_few_entities_have_no_q_value(plant: Any) -> None:
    world = plant([], entities=8)
    asleep = latent_effects(world.pair, Plain(orthonormal().decoder_FMD, 1e6), HookPoint(1), [world.fit])
    assert asleep.empty
    awake = latent_effects(world.pair, orthonormal(), HookPoint(0), [world.fit])
    assert awake["q_value"].isna().all()
    assert (awake["low"] == -float("inf")).all()


def test_a_score_that_cannot_see_the_block_is_refused(plant: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    world = plant([])

    def deaf(_objective: Any, model: Any, _rows: Any) -> Tensor:
        model(torch.tensor([[1]]))
        return torch.zeros(1, requires_grad=True)

    monkeypatch.setattr(type(world.fit), "m", deaf)
    with pytest.raises(ValueError, match="does not depend on the output of block 1"):
        residual_gradient(world.pair.base, world.fit, [0], 1)
