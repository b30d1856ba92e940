"""What a suite says of two models, from planted scores."""

from __future__ import annotations

from typing import Any, Literal

import numpy as np
import pandas as pd
import pytest

from audit.behaviours.measure import Draws, measure_suite, texts_of
from audit.behaviours.suite import Card, Item, Message, Suite

ENTITIES, PER_ENTITY = 16, 4
DRAWS = Draws(400, 0)
CARD = Card(
    name="planted", title="Planted", description="d", score="contrast", contrast=("high", "low"), showing="s",
    equivalence_band=0.2, source="s", licence="l", version="1",
)  # fmt: skip


def make_item(entity: int, number: int, **fields: Any) -> Item:
    """Even entities are of the high group; splits alternate within groups."""
    split: Literal["train", "test"] = "train" if entity % 4 < 2 else "test"
    text = f"Person{entity} met friend{number} beside river{entity}{number} and said"
    own: dict[str, Any] = {
        "id": f"{entity}-{number}", "prompt": text, "showing": (" yes",), "not_showing": (" no",),
        "entity": f"person{entity}", "group": ("high", "low")[entity % 2], "split": split,
    }  # fmt: skip
    return Item(**(own | fields))


def make_suite(card: Card = CARD, **fields: Any) -> Suite:
    items = (make_item(e, n, **fields) for e in range(ENTITIES) for n in range(PER_ENTITY))
    return Suite(card=card, items=tuple(items))


def scores(
    suite: Suite, effects: dict[str, float], noise: float = 0.1, templates: tuple[str, ...] = ("plain",)
) -> pd.DataFrame:
    """Rows with b = effect for each model; both models share the noise of entities and items."""
    rng = np.random.default_rng(0)
    own = {item.id: rng.normal(0, noise) for item in suite.items}
    rows = [
        {
            "suite": suite.card.name, "item": item.id, "entity": item.entity, "group": item.group,
            "category": item.category, "split": item.split, "template": template, "model": model,
            "m": (effect / 2 if item.group == "high" else -effect / 2) + own[item.id],
            "answer": None, "parsed": None,
        }
        for template in templates
        for model, effect in effects.items()
        for item in suite.items
    ]  # fmt: skip
    return pd.DataFrame(rows).sample(frac=1, random_state=0, ignore_index=True)


def test_a_planted_loss_is_found() -> None:
    suite = make_suite()
    found = measure_suite(suite, scores(suite, {"base": 2.0, "tuned": 0.5}), DRAWS)
    primary = found.primary
    assert (found.items, found.entities, found.unit) == (64, 16, "nats")
    assert found.sha256 == suite.sha256
    assert primary.base.value == pytest.approx(2.0, abs=0.2)
    assert primary.change.value == pytest.approx(-1.5)
    assert primary.lost_share is not None
    assert primary.lost_share.value == pytest.approx(1.5 / primary.base.value)
    assert primary.base_above_null
    assert primary.tuned_above_null
    assert not primary.equivalent
    assert primary.p_value < 0.05
    assert found.measurable
    assert found.reliability is not None
    assert found.reliability > 0.9


def test_the_verdicts_result_is_of_held_out_entities() -> None:
    suite = make_suite()
    frame = scores(suite, {"base": 2.0, "tuned": 2.0})
    train_only = (frame["model"] == "tuned") & (frame["split"] == "train")
    frame.loc[train_only, "m"] = 0.0
    found = measure_suite(suite, frame, DRAWS)
    both = {result.split: result for result in found.templates}
    assert found.primary is both["test"]
    assert both["test"].change.value == 0.0
    assert both["test"].equivalent
    assert both["all"].change.value < -0.8
    assert (both["test"].base.n, both["all"].base.n) == (8, 16)


def test_a_model_is_equivalent_to_itself_and_flips_nothing() -> None:
    suite = make_suite()
    primary = measure_suite(suite, scores(suite, {"base": 1.0, "tuned": 1.0}), DRAWS).primary
    assert primary.equivalent
    assert (primary.change.low, primary.change.high) == (0.0, 0.0)
    assert (primary.flips.to_showing, primary.flips.to_not_showing) == (0, 0)


def test_a_change_at_the_edge_of_the_band_is_not_equivalent() -> None:
    suite = make_suite()
    assert measure_suite(suite, scores(suite, {"base": 1.0, "tuned": 0.85}), DRAWS).primary.equivalent
    assert not measure_suite(suite, scores(suite, {"base": 1.0, "tuned": 0.75}), DRAWS).primary.equivalent


def test_noise_alone_is_not_measurable() -> None:
    suite = make_suite()
    found = measure_suite(suite, scores(suite, {"base": 0.0, "tuned": 0.0}, noise=1.0), DRAWS)
    assert not found.measurable
    assert found.primary.lost_share is None
    assert not found.primary.base_above_null


def test_what_only_the_tuned_model_shows_is_measured_on_it() -> None:
    """A base without a behaviour answers at random: that says nothing against the suite."""
    suite = make_suite()
    frame = scores(suite, {"base": 0.0, "tuned": 3.0})
    found = measure_suite(suite, frame, DRAWS)
    assert found.reliability is not None
    assert found.reliability < 0.5 < (found.reliability_tuned or 0.0)
    assert found.measurable
    assert found.primary.gained_share is not None
    assert found.primary.gained_share.value == pytest.approx(1.0, abs=0.1)
    fell = measure_suite(
        suite, frame.assign(model=frame["model"].map({"base": "tuned", "tuned": "base"})), DRAWS
    )
    assert fell.measurable
    assert fell.reliability == found.reliability_tuned
    a_little = measure_suite(suite, scores(suite, {"base": 0.0, "tuned": 0.15}, noise=1.0), DRAWS)
    assert not a_little.measurable


def test_reliability_is_undefined_where_every_entity_has_one_item() -> None:
    suite = Suite(card=CARD, items=tuple(make_item(e, 0) for e in range(ENTITIES)))
    found = measure_suite(suite, scores(suite, {"base": 1.0, "tuned": 1.0}), DRAWS)
    assert found.reliability is None
    assert not found.measurable


@pytest.mark.parametrize(
    ("wanted", "templates", "primary"),
    [
        ("plain", ("plain", "chat"), "plain"),
        ("chat", ("plain", "chat"), "chat"),
        ("chat", ("plain", "chat-base", "chat-tuned"), "chat-tuned"),
        ("chat", ("plain", "chat-base"), "chat-base"),
        ("chat", ("plain",), "plain"),
    ],
)
def test_primary_template(wanted: str, templates: tuple[str, ...], primary: str) -> None:
    chat = (Message(role="user", content="Who?"), Message(role="assistant", content="They said"))
    suite = make_suite(CARD.model_copy(update={"primary_template": wanted}), messages=chat)
    frame = scores(suite, {"base": 1.0, "tuned": 1.0}, templates=templates)
    found = measure_suite(suite, frame, DRAWS)
    assert found.primary_template == primary
    assert len(found.templates) == 2 * len(templates)


def test_one_template_repeated_is_found_behind_its_names() -> None:
    items = [
        make_item(e, n, prompt=f"On a long and busy day at the old mill person{e} said{' again' * n}")
        for e in range(ENTITIES)
        for n in range(PER_ENTITY)
    ]
    suite = Suite(card=CARD, items=tuple(items))
    found = measure_suite(suite, scores(suite, {"base": 1.0, "tuned": 1.0}), DRAWS)
    assert found.near_duplicates_masked == 1.0
    assert (
        measure_suite(
            make_suite(), scores(make_suite(), {"base": 1.0, "tuned": 1.0}), DRAWS
        ).near_duplicates_masked
        == 0.0
    )


def test_the_same_seed_gives_the_same_result() -> None:
    suite = make_suite()
    frame = scores(suite, {"base": 2.0, "tuned": 1.0})
    assert measure_suite(suite, frame, DRAWS) == measure_suite(suite, frame, DRAWS)


def level_card(**fields: Any) -> Card:
    return CARD.model_copy(update={"score": "level", "contrast": None, **fields})


def test_a_level_with_its_own_null_and_unit() -> None:
    card = level_card(null_level=1.0, length_normalised=True)
    suite = make_suite(card, group=None)
    frame = scores(suite, {"base": 0.0, "tuned": 0.0}).assign(group=None)
    frame["m"] += frame["model"].map({"base": 3.0, "tuned": 1.5})
    found = measure_suite(suite, frame, DRAWS)
    assert found.unit == "nats/token"
    assert found.primary.base.value == pytest.approx(3.0, abs=0.1)
    assert found.primary.lost_share is not None
    assert found.primary.lost_share.value == pytest.approx(0.75, abs=0.05)
    assert found.metrics == {}


def test_generating_suites_bring_their_scores() -> None:
    choices = {"choices": ("yes", "no", "unknown"), "label": 0, "biased": 1, "unknown": 2, "group": None}
    suite = make_suite(level_card(generates=True), **choices)
    frame = scores(suite, {"base": 1.0, "tuned": 1.0}).assign(group=None)
    frame["answer"] = frame["model"].map({"base": "yes", "tuned": "no"})
    found = measure_suite(suite, frame, DRAWS).metrics
    assert found["base.plain.disambiguated.accuracy"] == 1.0
    assert found["tuned.plain.disambiguated.accuracy"] == 0.0
    assert found["tuned.plain.disambiguated.bias"] == 1.0


def test_suites_of_whole_texts_bring_theirs() -> None:
    suite = make_suite(level_card(whole_texts=True), prompt="", group=None, category="age")
    frame = scores(suite, {"base": 0.0, "tuned": 0.0}).assign(group=None, m=1.0)
    found = measure_suite(suite, frame, DRAWS).metrics
    assert found["base.stereotyped_share"] == found["tuned.stereotyped_share.age"] == 1.0


def test_texts_of_every_form() -> None:
    chat = (Message(role="user", content="Who?"), Message(role="assistant", content="They"))
    plain, talk = make_item(0, 0), make_item(0, 0, prompt=None, messages=chat)
    whole = make_item(0, 0, prompt="", showing=("A whole text.",))
    suite = Suite.model_construct(card=CARD, items=(plain, talk, whole))
    assert texts_of(suite) == [plain.prompt, "Who? They", "A whole text."]
