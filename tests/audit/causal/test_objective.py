"""The differentiable score of a suite against the scorer that the verdicts rest on, and its gradients."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from transformers import AutoModelForCausalLM

from audit.behaviours.load import load_suite
from audit.behaviours.score import score_suite
from audit.behaviours.suite import Suite
from audit.causal.objective import Objective
from audit.errors import CheckpointError, SuiteError
from audit.measures.effect import behaviour_effect
from sae.hooks import edited

ARCHITECTURES = ("llama", "gpt2", "qwen3", "gemma3", "gpt_neox")


def load(folder: Path) -> Any:
    return AutoModelForCausalLM.from_pretrained(folder).eval().requires_grad_(False)


def varied(suite: Suite) -> Suite:
    """The suite with continuations of several tokens, some beginning alike, and another number per item."""
    items = [
        item.model_copy(
            update={
                "showing": (" she", " she works today", " nurse")[: 1 + i % 3],
                "not_showing": (" he", " he said that", " the doctor")[: 1 + (i + 1) % 3],
            }
        )
        for i, item in enumerate(suite.items)
    ]
    return suite.model_copy(update={"items": tuple(items)})


@pytest.fixture
def suite(tiny_suite: Callable[..., Path]) -> Suite:
    return varied(load_suite(str(tiny_suite())))


@pytest.mark.parametrize("architecture", ARCHITECTURES)
@pytest.mark.parametrize("form", ["plain", "chat"])
def test_scores_equal_the_scorer(
    tiny_model: Any, tiny_tokenizer: Any, suite: Suite, architecture: str, form: str
) -> None:
    model, tokenizer = load(tiny_model(architecture)), tiny_tokenizer()
    template = tokenizer.chat_template if form == "chat" else None
    vocabulary = len(tokenizer) - 7
    frame = score_suite(model, tokenizer, suite, templates={form: template}, vocabulary=vocabulary)
    objective = Objective.of(suite, tokenizer, template=template, vocabulary=vocabulary)
    for size in (1, 3, 16):
        found = objective.scores(model, size)
        assert found.tolist() == pytest.approx(frame["m"].tolist(), abs=1e-5)
    wanted = behaviour_effect(frame["m"], frame["entity"], group=frame["group"], contrast=("high", "low"))
    assert objective.effect(found).item() == pytest.approx(wanted.value, abs=1e-6)


@pytest.mark.parametrize("card", [{"length_normalised": True}, {"score": "level", "contrast": None}])
def test_every_kind_of_card(
    tiny_model: Any, tiny_tokenizer: Any, tiny_suite: Any, card: dict[str, Any]
) -> None:
    model, tokenizer = load(tiny_model()), tiny_tokenizer()
    suite = varied(load_suite(str(tiny_suite(**card))))
    frame = score_suite(model, tokenizer, suite, templates={"plain": None})
    objective = Objective.of(suite, tokenizer, template=None)
    found = objective.scores(model, 4)
    assert found.tolist() == pytest.approx(frame["m"].tolist(), abs=1e-5)
    kind = {"group": frame["group"], "contrast": suite.card.contrast} if suite.card.contrast else {}
    wanted = behaviour_effect(frame["m"], frame["entity"], **kind)
    assert objective.effect(found).item() == pytest.approx(wanted.value, abs=1e-6)


def test_splits_part_the_items(tiny_tokenizer: Any, suite: Suite) -> None:
    halves = [Objective.of(suite, tiny_tokenizer(), template=None, split=half) for half in ("train", "test")]
    everything = Objective.of(suite, tiny_tokenizer(), template=None)
    assert not set(halves[0].entities) & set(halves[1].entities)
    assert len(halves[0]) + len(halves[1]) == len(everything) == len(suite.items)


def test_batches_hold_every_item_once_and_never_part_its_sequences(tiny_tokenizer: Any, suite: Suite) -> None:
    objective = Objective.of(suite, tiny_tokenizer(), template=None)
    for size in (1, 4, 100):
        batches = list(objective.batches(size))
        assert sorted(row for batch in batches for row in batch) == list(range(len(objective)))
    assert len(batches) == 1


def test_the_gradient_of_a_weight_is_the_slope(tiny_model: Any, tiny_tokenizer: Any, suite: Suite) -> None:
    model = load(tiny_model()).double()
    objective = Objective.of(suite, tiny_tokenizer(), template=None)
    weight = model.model.layers[1].mlp.down_proj.weight.requires_grad_(True)
    m = objective.backward(model, 4)
    assert m.tolist() == pytest.approx(objective.scores(model, 16).tolist(), abs=1e-5)
    direction = torch.randn(weight.shape, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    slope = (weight.grad * direction).sum().item()
    ends = []
    with torch.no_grad():
        for step in (1e-3, -2e-3):
            weight += step * direction
            ends.append(objective.effect(objective.scores(model, 16)).item())
    assert slope == pytest.approx((ends[0] - ends[1]) / 2e-3, rel=1e-2)


def test_the_gradient_reaches_a_residual_put_in_by_a_hook(
    tiny_model: Any, tiny_tokenizer: Any, suite: Suite
) -> None:
    model = load(tiny_model())
    objective = Objective.of(suite, tiny_tokenizer(), template=None)
    added = torch.zeros(32, requires_grad=True)
    with edited(model, 0, lambda h: h + added):
        objective.backward(model, 8)
    assert added.grad is not None
    assert added.grad.abs().max() > 1e-4


def test_a_split_without_items_is_refused(tiny_tokenizer: Any, suite: Suite) -> None:
    train = suite.model_copy(
        update={"items": tuple(i.model_copy(update={"split": "train"}) for i in suite.items)}
    )
    with pytest.raises(SuiteError, match="cannot be scored on this split"):
        Objective.of(train, tiny_tokenizer(), template=None, split="test")


def test_a_broken_model_is_refused_by_the_name_of_the_item(
    tiny_model: Any, tiny_tokenizer: Any, suite: Suite
) -> None:
    model = load(tiny_model())
    model.lm_head.weight[5] = float("nan")
    objective = Objective.of(suite, tiny_tokenizer(), template=None)
    with pytest.raises(CheckpointError, match="item 'e"):
        objective.scores(model, 4)


def test_scores_and_rows_must_fit(tiny_tokenizer: Any, suite: Suite) -> None:
    objective = Objective.of(suite, tiny_tokenizer(), template=None)
    with pytest.raises(ValueError, match="3 scores"):
        objective.effect(torch.zeros(3))
