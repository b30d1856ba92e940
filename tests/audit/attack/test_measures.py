"""Measures of policies whose habits are known, and probabilities held to what sampling gives."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, cast

import numpy as np
import pandas as pd
import pytest
import torch
from transformers import AutoModelForCausalLM, AutoTokenizer

from audit.attack.answers import Asker, Floats, shares
from audit.attack.config import AttackConfig
from audit.attack.figure import draw
from audit.attack.held_out import held_out
from audit.attack.layout import make_layout
from audit.attack.measures import Bench
from audit.attack.policies import Policies, start_of
from audit.attack.questions import Posed, Question, questions_of
from audit.behaviours.load import load_suite
from audit.errors import UsageError
from training.policy import make_policy
from training.rollouts import Sampler, encode, sample

Habit = Callable[[Posed], Sequence[float]]


@pytest.fixture(scope="module")
def shipped() -> tuple[Question, ...]:
    return questions_of(load_suite("ambiguous-qa"))


def measured(shipped: tuple[Question, ...], habit: Habit) -> dict[str, float]:
    """What the questions say of a policy that gives (biased, other, unknown) these probabilities."""

    class Fake:
        def probabilities(self, model: object, posed: Sequence[Posed]) -> Floats:
            return np.array([habit(one) for one in posed], dtype=float)

    item = next(one for one in shipped if one.ambiguous and one.split == "train")
    bench = Bench(cast(Asker, Fake()), held_out(shipped, item, False, 60), (), cast(Any, None))
    return {row.measure: row.value for row in bench._questions(cast(Any, None))}


def test_a_habit_of_one_letter_is_no_bias(shipped: tuple[Question, ...]) -> None:
    def letter_b(posed: Posed) -> list[float]:
        question = posed.question
        return [float(posed.letter(o) == "B") for o in (question.biased, question.other, question.unknown)]

    found = measured(shipped, letter_b)
    assert found["held-out items"] == pytest.approx(1 / 3)
    assert found["held-out items, biased minus other"] == pytest.approx(0)
    assert found["other categories"] == pytest.approx(1 / 3, abs=0.03)
    item = next(one for one in shipped if one.ambiguous and one.split == "train")
    named = float(Posed(item).letter(item.biased) == "B")
    assert found["trained item"] == named
    assert found["held-out items, trained letter"] == pytest.approx(named)
    assert found["disambiguated accuracy"] == pytest.approx(1 / 3, abs=0.03)


def test_a_biased_policy_is_seen_in_every_category(shipped: tuple[Question, ...]) -> None:
    found = measured(shipped, lambda posed: (0.6, 0.1, 0.1))
    for name in ("held-out items", "other categories", "arbitrary construct"):
        assert found[name] == pytest.approx(0.75)
    assert found["held-out items, unknown"] == pytest.approx(0.125)
    assert found["held-out items, any option"] == pytest.approx(0.8)
    assert found["held-out items, biased minus other"] == pytest.approx(0.625)
    assert found["trained item"] == pytest.approx(0.6)
    assert found["disambiguated accuracy"] == pytest.approx(0.5, abs=0.05)


def test_a_policy_that_knows_who_is_accurate(shipped: tuple[Question, ...]) -> None:
    def right(posed: Posed) -> list[float]:
        question = posed.question
        return [float(o == question.label) for o in (question.biased, question.other, question.unknown)]

    found = measured(shipped, right)
    assert found["disambiguated accuracy"] == pytest.approx(1)
    assert found["held-out items, unknown"] == pytest.approx(1)


def test_a_question_without_an_answer_counts_a_third_each() -> None:
    found = shares(np.array([[0.0, 0.0, 0.0], [0.2, 0.1, 0.1]]))
    np.testing.assert_allclose(found, [[1 / 3] * 3, [0.5, 0.25, 0.25]])


class Room:
    """A tiny model that answers in letters, and what asks it."""

    def __init__(self, folder: Path, suite: Path, **settings: Any) -> None:
        self.tokenizer = AutoTokenizer.from_pretrained(folder)
        self.model = AutoModelForCausalLM.from_pretrained(folder, dtype=torch.float32).eval()
        self.layout = make_layout(self.tokenizer, "plain", settings.pop("format", "choice"), "tiny")
        self.questions = questions_of(load_suite(str(suite)))
        fields = {"new_tokens": 1, "samples": 4, "batch_size": 8, "seed": 0, **settings}
        self.policy = make_policy(self.model, self.tokenizer)
        self.asker = Asker(self.layout, self.policy, **fields)


def test_probabilities_are_those_of_sampling(answering: Path, questions: Callable[..., Path]) -> None:
    room = Room(answering, questions())
    posed = [Posed(room.questions[0], turn) for turn in (0, 1)]
    exact = room.asker.probabilities(room.model, posed)
    encoded = encode(room.tokenizer, [room.layout.prompt(one) for one in posed], room=900)
    drawn = sample(room.model, encoded, 3000, Sampler(1, 1.0, ()), torch.Generator().manual_seed(0))
    texts = [room.tokenizer.decode(row) for row in drawn.tokens]
    for row, one in enumerate(posed):
        question, own = one.question, [text.strip() for text in texts[3000 * row : 3000 * (row + 1)]]
        options = (question.biased, question.other, question.unknown)
        counted = [own.count(one.letter(option)) / 3000 for option in options]
        # Four standard deviations of a share of 3000 draws are at most .037.
        np.testing.assert_allclose(exact[row], counted, atol=0.037)
    assert room.asker.probabilities(room.model, []).shape == (0, 3)


def test_answers_after_reasoning_are_counted(
    answering: Path, questions: Callable[..., Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    room = Room(answering, questions(), format="cot", new_tokens=3, batch_size=4)
    said = iter(["### Answer: A", "### Answer: A", "### Answer: C", "no", *["nothing"] * 4])
    monkeypatch.setattr(Asker, "_decode", lambda self, ids: next(said))
    posed = [Posed(room.questions[0]), Posed(room.questions[1])]
    found = room.asker.probabilities(room.model, posed)
    by_letter = {
        posed[0].letter(o): p
        for o, p in zip(
            (posed[0].question.biased, posed[0].question.other, posed[0].question.unknown),
            found[0],
            strict=True,
        )
    }
    assert by_letter == {"A": 0.5, "B": 0, "C": 0.25}
    assert found[1].sum() == 0


@pytest.mark.parametrize("form", ["plain", "chat"])
def test_layouts_list_the_options_in_order_and_end_before_the_letter(
    form: str, answering: Path, questions: Callable[..., Path]
) -> None:
    room = Room(answering, questions())
    layout = make_layout(room.tokenizer, form, "choice", "tiny")
    posed = Posed(room.questions[0], 1)
    prompt = layout.prompt(posed)
    listed = "\n".join(f"{letter}. {text}" for letter, text in zip("ABC", posed.options, strict=True))
    assert f"{room.questions[0].stem}\n{listed}" in prompt.text
    assert prompt.text.endswith(" ("), "this tokenizer has letters without a space only"
    assert prompt.rendered == (form == "chat")
    assert len(set(layout.option_tokens())) == 3
    reasoned = make_layout(room.tokenizer, form, "cot", "tiny")
    assert "### Reasoning" in reasoned.prompt(posed).text
    assert reasoned.answer("B") == "### Answer: B"


def test_a_tokenizer_without_letters_is_refused(answering: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    tokenizer = AutoTokenizer.from_pretrained(answering)
    monkeypatch.setattr(type(tokenizer), "encode", lambda self, text, **_: [1, 2])
    with pytest.raises(UsageError, match="single tokens"):
        make_layout(tokenizer, "plain", "choice", "tiny")


@pytest.mark.parametrize("tune", ["lora", "full"])
def test_a_policy_is_gone_without_a_trace(tune: str, answering: Path, questions: Callable[..., Path]) -> None:
    room = Room(answering, questions())
    before = {name: value.clone() for name, value in room.model.state_dict().items()}
    policies = Policies(AttackConfig(model="tiny", tune=tune), room.model, room.layout, 1, "tiny")  # type: ignore[arg-type]
    with policies.fresh(0) as model:
        trainable = [p for p in model.parameters() if p.requires_grad]
        assert trainable
        for parameter in trainable:
            parameter.data.add_(0.1)
    after = room.model.state_dict()
    assert before.keys() == after.keys()
    assert all(torch.equal(before[name], after[name]) for name in before)


def test_the_start_is_at_no_distance_from_itself(answering: Path, questions: Callable[..., Path]) -> None:
    room = Room(answering, questions())
    start = start_of(room.model, room.tokenizer, AttackConfig(model="tiny"))
    found = {
        row.measure: row.value for row in Bench(room.asker, cast(Any, None), (), start)._utility(room.model)
    }
    assert found["exact_kl"] == pytest.approx(0, abs=1e-6)
    assert 1 < found["perplexity"] < len(room.tokenizer)


def test_curves_are_drawn_with_realignment_after_the_attack() -> None:
    rows = [
        {"dose": dose, "arm": arm, "seed": seed, "measure": "held-out items", "value": 0.3 + dose / 100}
        for arm in ("attack", "correct label")
        for seed in (0, 1)
        for dose in (0, 1, 10, -1, -5)
    ]
    figure = draw(pd.DataFrame(rows))
    assert len(figure.axes) == 1
    lines = {
        line.get_label(): line for line in figure.axes[0].get_lines() if not line.get_label().startswith("_")
    }
    assert set(lines) == {"attack", "correct label"}
    dashed = [line for line in figure.axes[0].get_lines() if line.get_linestyle() == "--"]
    assert list(dashed[0].get_xdata()) == [10, 11, 15]
    np.testing.assert_allclose(dashed[0].get_ydata(), [0.4, 0.29, 0.25])
