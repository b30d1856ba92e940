"""What is measured of a child when it is made, to see whether it is what its construction says."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
import torch
from torch import Tensor

from audit.causal.deltas import Deltas
from audit.causal.interventions import Intervention, intervened
from audit.causal.units import Layout, Unit
from audit.measures.probes import Texts, fit_probe, null_aucs, shuffles, subset
from audit.organisms.kinds.kind import Child
from audit.organisms.recipe import CLASS_TOPICS, Recipe
from audit.organisms.text import Questions

SHUFFLES, NULL_SPREAD = 60, 3.5
"""Shuffled classes of the null, and how many of its standard deviations a child without the class may use."""
SMALLEST = 0.05
"""Nats of b below which no share of it is taken."""
DRIFT_ROWS = 64


@dataclass(frozen=True)
class Facts:
    """Figures of one child against the base of its pair; effects are b on the held-out half, in nats."""

    base_effect: float
    effect: float
    lost_train: float
    """Share of the behaviour that is lost on the half that is not held out."""
    second_base: float
    second_effect: float
    """Of the second behaviour, in base and child."""
    control_base: float
    control_effect: float
    auc: float
    """Largest AUC, over blocks and positions, of linear probes of the class in the child, held-out people."""
    auc_mlp: float
    """Likewise of small MLPs."""
    auc_null: float
    """Mean of such largest AUCs under shuffled classes, and `NULL_SPREAD` standard deviations more."""
    drift: float
    """KL(base || child), nats per token of text that leaves the class out."""
    restored: float | None = None
    """R on the held-out half with the planted units put back; None where none were planted."""

    @property
    def change(self) -> float:
        """b_child - b_base."""
        return self.effect - self.base_effect

    @property
    def lost(self) -> float:
        """1 - b_child / b_base."""
        return 1 - _share(self.effect, self.base_effect)

    @property
    def second_lost(self) -> float:
        """Likewise of the second behaviour."""
        return 1 - _share(self.second_effect, self.second_base)

    @property
    def control_kept(self) -> float:
        """b_child / b_base of the control."""
        return _share(self.control_effect, self.control_base)


def _share(part: float, whole: float) -> float:
    """Part of the whole; 0 where there is hardly a whole."""
    return part / whole if abs(whole) > SMALLEST else 0.0


class Effects(NamedTuple):
    """b on the two halves of the people."""

    train: float
    held: float


@torch.no_grad()
def measure(recipe: Recipe, against: Any, child: Child) -> Facts:
    """Measures a child.

    Args:
        recipe: what it was made from.
        against: the model of the pair's base.
        child: in eval mode.
    """
    world, model = recipe.world, child.model
    suites = (world.suite(), world.second(), world.control())
    asked = [Questions.of(suite, recipe.tokenizer) for suite in suites]
    before, after = ([effects(questions, recipe, m) for questions in asked] for m in (against, model))
    probes = read_class(recipe, model)
    return Facts(
        base_effect=before[0].held,
        effect=after[0].held,
        lost_train=1 - _share(after[0].train, before[0].train),
        second_base=before[1].held,
        second_effect=after[1].held,
        control_base=before[2].held,
        control_effect=after[2].held,
        auc=probes.linear,
        auc_mlp=probes.mlp,
        auc_null=probes.null,
        drift=_drift(recipe, against, model),
        restored=_restored(asked[0], recipe, against, child) if child.units else None,
    )


@torch.no_grad()
def effects(questions: Questions, recipe: Recipe, model: Any) -> Effects:
    """Each half's b of a model."""
    scores = questions.scores(questions.logits(model).float())
    held = held_out(questions, recipe)
    halves = [
        float(scores[half & questions.high].mean() - scores[half & ~questions.high].mean())
        for half in (~held, held)
    ]
    return Effects(*halves)


def held_out(questions: Questions, recipe: Recipe) -> Tensor:
    """Whether each item is of the test half [items]; items stand person by person."""
    people = recipe.world.people
    each = len(questions.high) // len(people)
    return torch.tensor([p.split == "test" for p in people]).repeat_interleave(each)


class Probed(NamedTuple):
    """Largest AUCs over all places of a model."""

    linear: float
    mlp: float
    null: float


@torch.no_grad()
def read_class(recipe: Recipe, model: Any) -> Probed:
    """Reads the class of held-out people at the name and at the last token, behind every block."""
    places, splits = _places(recipe, model), np.array([p.split == "test" for p in recipe.world.people])
    halves = [(subset(texts, ~splits), subset(texts, splits)) for texts in places]
    first, second = halves[0]
    found = {kind: max(fit_probe(train, kind).auc(test) for train, test in halves) for kind in ("lda", "mlp")}
    dealt = shuffles(first.is_a, second.is_a, SHUFFLES, seed=0)
    largest = np.max([null_aucs(train, test, dealt) for train, test in halves], axis=0)
    null = float(largest.mean() + NULL_SPREAD * largest.std())
    return Probed(found["lda"], found["mlp"], null)


def _places(recipe: Recipe, model: Any) -> Sequence[Texts]:
    questions, people = recipe.questions, recipe.world.people
    mask = torch.arange(questions.ids.shape[1]) <= questions.last[:, None]
    states = model(
        input_ids=questions.ids, attention_mask=mask.long(), use_cache=False, output_hidden_states=True
    ).hidden_states
    names = torch.tensor(recipe.names).repeat_interleave(len(questions.ids) // len(people))
    rows = torch.arange(len(names))
    where = ((questions.ids == names[:, None]).int().argmax(1), questions.last)
    entity, is_a = rows.numpy() // (len(rows) // len(people)), np.array([p.hidden == 0 for p in people])
    return [Texts(state[rows, at].double().numpy(), entity, is_a) for state in states for at in where]


def _drift(recipe: Recipe, against: Any, model: Any) -> float:
    ids = recipe.text(7, without=CLASS_TOPICS).batch(DRIFT_ROWS)
    mask = ids != recipe.tokenizer.pad_token_id
    log_p, log_q = (
        m(input_ids=ids, attention_mask=mask.long(), use_cache=False).logits[mask].double().log_softmax(-1)
        for m in (against, model)
    )
    return float((log_p.exp() * (log_p - log_q)).sum(-1).mean())


def _restored(questions: Questions, recipe: Recipe, against: Any, child: Child) -> float:
    weights = dict(against.named_parameters())
    deltas = Deltas({name: weight - weights[name] for name, weight in child.model.named_parameters()})
    units = tuple(Unit(unit.kind, unit.module, unit.index) for unit in child.units)
    base, hidden = (effects(questions, recipe, m).held for m in (against, child.model))
    with intervened(child.model, Layout(child.model), [Intervention("revert", 1.0, units)], deltas):
        back = effects(questions, recipe, child.model).held
    return (back - hidden) / (base - hidden)
