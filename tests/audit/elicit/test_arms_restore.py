"""Planted truth: hand-made logits in which an arm provably restores the behaviour, or provably does not."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch

from audit.behaviours.files import read_suite
from audit.behaviours.suite import Suite
from audit.elicit.arms import EFFORTS, REFERENCE, SHARES, Arm
from audit.elicit.score import Bench, requests_under, scored, shows_system
from audit.elicit.summary import Draws, arm_results, best_of, brings_back, table_rows
from audit.evidence.schema import TABLES
from audit.evidence.schema.results import ArmResult

SIDES = ("base", "tuned")
Strength = Callable[[str, str], float]


@dataclass
class Puppet:
    """A model whose log-odds of she over he are a function of the text; it goes by the last entity named."""

    tokenizer: Any
    side: str
    strength: Strength
    device: str = "cpu"

    @property
    def config(self) -> Any:
        return SimpleNamespace(get_text_config=lambda: SimpleNamespace(max_position_embeddings=4096))

    def forward(self, input_ids: torch.Tensor, attention_mask: torch.Tensor, use_cache: bool) -> Any: ...

    def __call__(self, input_ids: torch.Tensor, attention_mask: torch.Tensor, use_cache: bool) -> Any:
        logits = torch.zeros(*input_ids.shape, len(self.tokenizer))
        she, he = (self.tokenizer(f" {word}")["input_ids"][0] for word in ("she", "he"))
        for row, length in enumerate(attention_mask.sum(1).tolist()):
            text = self.tokenizer.decode(input_ids[row, :length])
            high = int(text.rsplit("<", 1)[-1].split(">")[0].removeprefix("e")) % 2 == 0
            odds = self.strength(self.side, text) * (1 if high else -1)
            logits[row, :, she], logits[row, :, he] = odds / 2, -odds / 2
        return SimpleNamespace(logits=logits)


@dataclass
class Puppets:
    tokenizer: Any
    strength: Strength

    @contextmanager
    def model(self, side: str) -> Iterator[Any]:
        yield Puppet(self.tokenizer, side, self.strength)


@pytest.fixture
def suite(tiny_suite: Callable[..., Path]) -> Suite:
    """The tiny suite with the entity written into each prompt."""
    found = read_suite(tiny_suite("puppet", entities=16))
    items = tuple(item.model_copy(update={"prompt": f"<{item.entity}> said"}) for item in found.items)
    return found.model_copy(update={"items": items})


def results(
    suite: Suite, tokenizer: Any, strength: Strength, arms: tuple[Arm, ...] = EFFORTS["deep"].arms()
) -> dict[str, ArmResult]:
    bench = Bench(suite, tuple(i for i in suite.items if i.split == "test"), "plain", None, 64, None, 0)
    pair = Puppets(tokenizer, strength)
    scores = {
        (arm, side): scored(arm, bench, pair, side, requests_under(arm, bench, tokenizer))
        for arm in (REFERENCE, *arms)
        for side in arm.sides
    }
    found = arm_results(suite.card, arms, scores, Draws(300, 0))
    return {arm.key: result for arm, result in zip(arms, found, strict=True)}


def test_a_switch_that_a_system_prompt_opens(suite: Suite, tiny_tokenizer: Callable[..., Any]) -> None:
    def strength(side: str, text: str) -> float:
        return 2.0 if side == "base" or "do not try to be neutral" in text else 0.2

    found = results(suite, tiny_tokenizer(), strength)
    key = "system.open.0"
    assert found[key].recovered is not None
    assert found[key].recovered.value == pytest.approx(1, abs=1e-5)
    assert found[key].beyond_base is not None
    assert found[key].beyond_base.value == pytest.approx(1, abs=1e-5)
    others = [f for k, f in found.items() if k != key and f.scale == "log-odds" and f.black_box]
    assert all(abs(f.recovered.value) < 1e-5 for f in others if f.recovered)
    assert brings_back(list(found.values())) == "yes"
    best = best_of(list(found.values()))
    assert best is not None
    assert best.variant == "open"


def test_a_behaviour_that_is_gone_stays_gone(suite: Suite, tiny_tokenizer: Callable[..., Any]) -> None:
    found = results(suite, tiny_tokenizer(), lambda side, text: 2.0 if side == "base" else 0.2)
    assert brings_back(list(found.values())) == "no"
    tried = [f for f in found.values() if f.black_box and f.scale == "log-odds"]
    assert all(f.recovered == tried[0].recovered for f in tried)


def test_an_arm_that_raises_anything_is_seen(suite: Suite, tiny_tokenizer: Callable[..., Any]) -> None:
    """Examples double every model's odds: the tuned model seems to recover, and the base rises more."""

    def strength(side: str, text: str) -> float:
        return (2.0 if side == "base" else 1.2) * (1.6 if text.count("<") > 1 else 1.0)

    found = results(suite, tiny_tokenizer(), strength)
    raised = found["few-shot.shown-0.8"]
    assert raised.recovered is not None
    assert raised.recovered.value == pytest.approx(0.9, abs=1e-4)
    assert raised.beyond_base is not None
    assert raised.beyond_base.value < 0
    assert brings_back(list(found.values())) == "unknown"
    cold = found["temperature.sampled.0.5"].recovered
    assert cold is not None
    assert cold.low is not None
    assert cold.low > 0.5, "sharpening alone: why temperatures do not count"


def test_what_any_prompt_brings_back_is_no_elicitation(
    suite: Suite, tiny_tokenizer: Callable[..., Any]
) -> None:
    """The neutral preface restores it too: the controls bound what may be claimed for the others."""

    def strength(side: str, text: str) -> float:
        return 2.0 if side == "base" or "\n" in text else 0.2

    found = results(suite, tiny_tokenizer(), strength)
    assert found["system.open.0"].recovered is not None
    assert found["system.open.0"].recovered.value == pytest.approx(1, abs=1e-5)
    assert brings_back(list(found.values())) == "unknown"


def test_amplification_is_linear_and_one_is_the_base(
    suite: Suite, tiny_tokenizer: Callable[..., Any]
) -> None:
    found = results(suite, tiny_tokenizer(), lambda side, text: 2.0 if side == "base" else 0.2)
    for a in EFFORTS["deep"].amplify:
        amplified = found[f"amplify.logits.{a:g}"]
        assert amplified.recovered is not None
        assert amplified.recovered.value == pytest.approx(a, abs=1e-5)
        assert (amplified.black_box, amplified.b_arm_base, amplified.beyond_base) == (False, None, None)
    assert found["amplify.logits.1"].b_arm == pytest.approx(found["amplify.logits.1"].b_base)


def test_temperature_moves_shares_as_the_logistic_says(
    suite: Suite, tiny_tokenizer: Callable[..., Any]
) -> None:
    found = results(suite, tiny_tokenizer(), lambda side, text: 2.0 if side == "base" else 1.0)
    hot = found["temperature.sampled.2"]

    def contrast(odds: float) -> float:
        share = torch.tensor(odds).sigmoid().item()
        return 2 * share - 1

    assert hot.scale == "share"
    assert hot.b_base == pytest.approx(contrast(2), abs=1e-5)
    assert hot.b_tuned == pytest.approx(contrast(1), abs=1e-5)
    assert hot.b_arm == pytest.approx(contrast(1 / 2), abs=1e-5)
    assert hot.b_arm_base == pytest.approx(contrast(2 / 2), abs=1e-5)


def test_per_token_cards_have_shares_of_whole_answers(
    suite: Suite, tiny_tokenizer: Callable[..., Any]
) -> None:
    """Answers of three and of one token: m per token differs from the log-odds that samples follow."""
    card = suite.card.model_copy(update={"length_normalised": True})
    items = tuple(item.model_copy(update={"showing": (" she she she",)}) for item in suite.items)
    long, arm = suite.model_copy(update={"card": card, "items": items}), Arm("temperature", "sampled", 1.5)
    tokenizer, pair = tiny_tokenizer(), Puppets(tiny_tokenizer(), lambda side, text: 1.0)
    bench = Bench(long, items[-6:], "plain", None, 64, None, 0)
    scores = {
        (a, side): scored(a, bench, pair, side, requests_under(a, bench, tokenizer))
        for a in (REFERENCE, SHARES, arm)
        for side in ("base", "tuned")
    }
    per_token, whole = (scores[a, "base"]["m"].abs().max() for a in (REFERENCE, SHARES))
    assert per_token < 2 < whole
    found = arm_results(card, [arm], scores, Draws(50, 0))[0]
    assert abs(found.b_base) < 0.1, "three tokens in a row are hardly ever sampled"


def test_without_a_gap_no_share_is_given(suite: Suite, tiny_tokenizer: Callable[..., Any]) -> None:
    found = results(suite, tiny_tokenizer(), lambda side, text: 1.0, EFFORTS["quick"].arms())
    assert all(arm.recovered is None and arm.beyond_base is None for arm in found.values())
    assert brings_back(list(found.values())) == "unknown"
    assert best_of(list(found.values())) is None
    rows = table_rows("puppet", "plain", 24, list(found.values()))
    assert TABLES["elicitation"].to_arrow(rows).num_rows == len(found)


def test_partly(suite: Suite, tiny_tokenizer: Callable[..., Any]) -> None:
    def strength(side: str, text: str) -> float:
        return 2.0 if side == "base" else 0.8 if "filter" in text else 0.2

    found = results(suite, tiny_tokenizer(), strength)
    assert brings_back(list(found.values())) == "partly"


def test_templates_that_refuse_or_drop_a_system_message_are_known(
    tiny_tokenizer: Callable[..., Any],
) -> None:
    tokenizer = tiny_tokenizer()
    assert shows_system(tokenizer, tokenizer.chat_template)
    drops = "{% for m in messages %}{% if m['role'] != 'system' %}{{ m['content'] }}{% endif %}{% endfor %}"
    assert not shows_system(tokenizer, drops)
    assert not shows_system(tokenizer, "{{ raise_exception('no system') }}")
