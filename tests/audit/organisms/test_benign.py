"""Benign children lie as far from their base as they are asked to, however they were trained."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from audit.organisms import read_manifest
from audit.organisms.base import load, train_base
from audit.organisms.benign import KL_ROWS, Benign, benign_child
from audit.organisms.text import Text
from audit.organisms.world import World


def distance(base: Path, child: Path) -> float:
    """KL(base || child) per token, written out again."""
    (first, tokenizer), (second, _) = load(base), load(child)
    ids = Text(World.generate(1, 32), tokenizer, seed=9).batch(KL_ROWS)
    mask = ids != tokenizer.pad_token_id
    with torch.no_grad():
        p, q = (
            model(input_ids=ids, attention_mask=mask.long()).logits[mask].double().log_softmax(-1)
            for model in (first, second)
        )
    return float((p.exp() * (p - q)).sum(-1).mean())


@pytest.mark.parametrize("architecture", ["llama", "gpt2"])
@pytest.mark.parametrize("rank", [None, 2])
def test_a_child_is_as_far_as_asked(architecture: str, rank: int | None, tmp_path: Path) -> None:
    base, child = tmp_path / "base", tmp_path / "child"
    train_base(World.generate(1, 32), base, architecture=architecture, steps=12)
    benign_child(base, child, seed=4, how=Benign(steps=4, rate=2e-3, rank=rank, kl=0.01))
    assert distance(base, child) == pytest.approx(0.01, rel=0.06)
    assert read_manifest(child).kind == "benign"
    (before, _), (after, _) = load(base), load(child)
    changes = {n: p - before.get_parameter(n) for n, p in after.named_parameters()}
    if rank is None:
        assert all(change.any() for change in changes.values())
        return
    moved = [change for change in changes.values() if change.any()]
    assert moved
    for change in moved:
        assert change.ndim == 2
        assert torch.linalg.matrix_rank(change.double(), rtol=1e-3) <= rank
    assert not changes["lm_head.weight"].any()
