from __future__ import annotations

import math
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch

from audit.benign import CLOSE, BenignPair, benign_fine_tune, match_kl, settings_for
from audit.benign_shift import ShiftProbe
from audit.config import CompareConfig
from audit.inputs import AuditInputs
from audit.pair.checkpoint import LoadOptions, resolve
from audit.pair.preflight import compare
from sae.types import Document
from training.finetune import FinetuneConfig

Make = Callable[..., Path]
DOCUMENTS = [
    Document(tuple(range(3 + i, 27 + i)), ("none",) * 24, f"text {i}") for i in range(20)
]  # fmt: skip
CONFIG = FinetuneConfig(rank=4, steps=10, learning_rate=5e-3, seed=3)


def opened(base: object, tuned: object) -> AuditInputs:
    sides = [resolve(str(reference), LoadOptions()) for reference in (base, tuned)]
    config = CompareConfig(base=str(base), tuned=str(tuned), preset="quick")
    return AuditInputs(config, sides[0], sides[1], compare(*sides), ())


def made(audit: AuditInputs, folder: Path, config: FinetuneConfig = CONFIG) -> Any:
    vocabulary = audit.preflight.shared_vocabulary
    return benign_fine_tune(audit.pair, DOCUMENTS, config, vocabulary=vocabulary, folder=folder)


@pytest.fixture
def audit(tiny_model: Make, tiny_adapter: Make) -> AuditInputs:
    """An adapter pair: both sides are one copy of the weights."""
    base = tiny_model()
    return opened(base, f"{base}+{tiny_adapter(base)}")


def test_a_null_is_as_far_from_the_base_as_the_tuned_model(audit: AuditInputs, tmp_path: Path) -> None:
    found = made(audit, tmp_path / "null")
    assert found.facts.kl_target > 0
    assert abs(math.log(found.facts.kl_reached / found.facts.kl_target)) <= math.log1p(CLOSE)
    ids = torch.tensor([DOCUMENTS[1].tokens])
    with audit.pair.model("base") as model:
        plain = model(ids).logits
    with found.pair.model("base") as model:
        assert torch.equal(model(ids).logits, plain)
    with found.pair.model("tuned") as model:
        assert not torch.allclose(model(ids).logits, plain, atol=1e-3)
    with audit.pair.model("base") as model:
        assert torch.equal(model(ids).logits, plain)


def test_a_finished_null_is_read_back(
    audit: AuditInputs, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    first = made(audit, tmp_path / "null")

    def never(*_: object, **__: object) -> None:
        raise AssertionError("it was trained again")

    monkeypatch.setattr("audit.benign.finetune", never)
    again = made(audit, tmp_path / "null")
    assert again.facts == first.facts
    ids = torch.tensor([DOCUMENTS[1].tokens])
    both = []
    for null in (first, again):
        with null.pair.model("tuned") as model:
            both.append(model(ids).logits)
    assert torch.equal(*both)
    (tmp_path / "null" / "null.json").unlink()  # killed before the end
    with pytest.raises(AssertionError, match="trained again"):
        made(audit, tmp_path / "null")


def test_equal_models_have_no_distance_to_match(tiny_model: Make, tmp_path: Path) -> None:
    base = tiny_model()
    shutil.copytree(base, tmp_path / "copy")
    assert made(opened(base, tmp_path / "copy"), tmp_path / "null") is None


def test_rank_and_layers_follow_the_adapter(audit: AuditInputs, tiny_model: Make) -> None:
    assert settings_for(audit, 5) == FinetuneConfig(rank=2, targets=("q_proj", "v_proj"), seed=5)
    whole = opened(tiny_model(), tiny_model(seed=1))
    assert settings_for(whole, 5) == FinetuneConfig(seed=5)


class Curve:
    """A change whose KL is any function of its scale."""

    scale = 1.0


@pytest.mark.parametrize(
    "kl",
    [
        lambda s: 0.4 * s**2,
        lambda s: 0.002 * s**4,
        lambda s: 50 * s**2 if s < 0.5 else float("nan"),
        lambda s: 0.3 * math.tanh(s * s),
    ],
)
def test_matching_finds_the_scale_or_the_nearest_it_tried(kl: Callable[[float], float]) -> None:
    change: Any = Curve()
    reached = match_kl(change, 0.1, lambda: kl(change.scale))
    assert reached == kl(change.scale)
    assert abs(math.log(reached / 0.1)) <= math.log1p(CLOSE)


def test_a_change_that_does_nothing_cannot_match() -> None:
    change: Any = Curve()
    assert match_kl(change, 0.1, lambda: 0.0) == 0.0


def test_a_benign_pair_is_a_pair(audit: AuditInputs, tmp_path: Path) -> None:
    from sae.harvest import harvest

    found: BenignPair = made(audit, tmp_path / "null").pair
    piece = next(harvest(found, DOCUMENTS, [1]))
    assert (piece.x_NLMD[:, 0, 0] != piece.x_NLMD[:, 0, 1]).any()


def test_a_null_that_moves_features_less_is_scaled_until_it_moves_them_as_much(
    audit: AuditInputs, tmp_path: Path
) -> None:
    vocabulary = audit.preflight.shared_vocabulary
    found = benign_fine_tune(
        audit.pair, DOCUMENTS, CONFIG, vocabulary=vocabulary, folder=tmp_path / "null", layers=(0,)
    )
    alone = made(audit, tmp_path / "alone")
    assert found is not None
    probe = ShiftProbe.of(audit.pair, (tuple(d.tokens for d in DOCUMENTS[1::2]),), (0,))
    shifts = []
    for pair, side in ((audit.pair, "base"), (audit.pair, "tuned"), (found.pair, "tuned")):
        with pair.model(side) as model:
            shifts.append(probe.shift(model))
    assert shifts[0] == 0
    assert shifts[2] >= 0.9 * shifts[1] > 0
    assert found.facts.scale >= alone.facts.scale
    assert found.facts.kl_reached >= alone.facts.kl_reached
