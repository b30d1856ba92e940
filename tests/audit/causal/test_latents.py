"""Which latents a bypass takes out, and how strong each latent is on a behaviour's prompts."""

from __future__ import annotations

from typing import Any

import pandas as pd
import pytest
import torch
from torch import Tensor

from audit.causal.latents import latent_sets, strength
from audit.causal.objective import Objective
from sae.hooks import capture

HOOK = "blocks.0.hook_resid_post"


def features(kinds: list[str]) -> pd.DataFrame:
    return pd.DataFrame({"hook": HOOK, "latent": range(len(kinds)), "kind": kinds})


def effects(base: list[float], tuned: list[float]) -> pd.DataFrame:
    rows = pd.DataFrame({"latent": range(len(base)), "effect_base": base, "effect_tuned": tuned})
    return rows.assign(difference=rows["effect_tuned"] - rows["effect_base"])


def test_latents_that_push_are_ranked_by_what_their_removal_can_undo() -> None:
    # 0 pushed before too; 1 is new; 2 lost what it did; 3 pulls the other way; 4 is new and weak
    found = latent_sets(
        features(["shared"] * 5), effects([-5.0, 0.0, 3.0, 0.0, 0.0], [-5.5, -2.0, 0.0, 2.0, -0.1]), -1.0
    )
    assert [(one.name, one.indices) for one in found] == [
        (f"{HOOK} top 1 latents", (1,)),
        (f"{HOOK} top 3 latents", (1, 0, 4)),
    ]
    risen = latent_sets(features(["shared"] * 2), effects([0.0, 0.0], [-2.0, 2.0]), 1.0)
    assert [one.indices for one in risen] == [(1,)]


def test_changed_latents_are_tried_whatever_they_push() -> None:
    kinds = ["silenced", "shared", "rotated", "tuned only", "base only"]
    found = latent_sets(features(kinds), effects([3.0, 0.0, 0.0, 0.0, 1.0], [0.0, 0.0, 0.0, 0.0, 0.0]), -1.0)
    assert [one.indices for one in found] == [(0, 2, 3)]
    assert "that training changed" in found[0].description
    assert latent_sets(features(["shared"]), effects([], []), -1.0) == []
    assert latent_sets(features([]), effects([], []), -1.0) == []


def test_a_set_is_tried_once() -> None:
    found = latent_sets(features(["tuned only"]), effects([0.0], [-1.0]), -1.0)
    assert [one.name for one in found] == [f"{HOOK} top 1 latents"]


class Coordinates:
    """Latent j is the positive part of coordinate j, written twice as long; latent 2 fires everywhere."""

    decoder_FMD = 2 * torch.eye(3, 32)[:, None].expand(-1, 2, -1)
    bias_MD = torch.zeros(2, 32)

    def encode(self, x_NMD: Tensor) -> Tensor:
        codes = x_NMD[..., :3].relu()
        return torch.cat([codes[..., :2], torch.ones_like(codes[..., :1])], dim=-1)

    def decode(self, codes_NMF: Tensor) -> Tensor:
        return torch.einsum("nmf,fmd->nmd", codes_NMF, self.decoder_FMD)


def test_strength_is_read_on_the_prompts_without_their_first_tokens(
    tiny_model: Any, tiny_suite: Any, tiny_tokenizer: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    from transformers import AutoModelForCausalLM

    from audit.behaviours.files import read_suite
    from audit.pair.quiet import quiet

    monkeypatch.setattr("audit.causal.latents.CHUNK", 5)
    with quiet():
        model = AutoModelForCausalLM.from_pretrained(tiny_model()).eval()
    suite = read_suite(tiny_suite(entities=4, score="level", contrast=None))
    objective = Objective.of(suite, tiny_tokenizer(), template=None)
    rates = pd.Series([0.1, 0.2, 0.3])
    found = strength(model, Coordinates(), 0, objective, rates, batch_size=4)
    residuals = []
    for rows in objective.batches(1):
        for row in objective.sequences(rows):
            ids = torch.tensor([row.ids])
            residuals.append(capture(model, [0], ids, torch.ones_like(ids))[0, 0, 1:])
    h = torch.cat(residuals)
    codes = h[:, :2].relu()
    assert found.bound == pytest.approx(10 * float(h.norm(dim=-1).median()), rel=1e-4)
    assert found.traits["activity"].tolist() == pytest.approx([*(codes > 0).float().mean(0).tolist(), 1.0])
    means = codes.sum(0) / (codes > 0).sum(0)
    assert found.traits["norm"].tolist() == pytest.approx([*(2 * means).tolist(), 2.0], rel=1e-4)
    assert found.traits["rate"].tolist() == rates.tolist()
