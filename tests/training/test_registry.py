from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import pytest

from training.errors import TrainingError
from training.registry import ADVANTAGES, OBJECTIVES, Registry
from training.types import MethodCard


def test_every_name_is_its_cards() -> None:
    for name in OBJECTIVES.names():
        card: MethodCard = OBJECTIVES.find(name).card
        assert card.name == name
    assert "grpo" in OBJECTIVES.names()
    assert "group" in ADVANTAGES.names()


def test_hyphens_and_capitals_do_not_matter() -> None:
    assert OBJECTIVES.find("Dr-GRPO") is OBJECTIVES.find("dr_grpo")


def test_an_alias_is_found_and_not_listed() -> None:
    assert OBJECTIVES.find("dppo") is OBJECTIVES.find("dppo_tv")
    assert "dppo" not in OBJECTIVES.names()


def test_an_unknown_name_suggests_the_nearest() -> None:
    with pytest.raises(TrainingError) as caught:
        OBJECTIVES.find("drgrpo")
    assert "'drgrpo'" in caught.value.problem
    assert "did you mean 'dr_grpo'?" in caught.value.fix
    with pytest.raises(TrainingError) as caught:
        OBJECTIVES.find("zzzzzz")
    assert "did you mean" not in caught.value.fix
    assert "grpo" in caught.value.fix


def test_settings_are_the_methods_own() -> None:
    assert OBJECTIVES.make("grpo", {"clip": 0.1}).clip == 0.1  # type: ignore[attr-defined]
    with pytest.raises(TrainingError, match="no setting 'clipp'") as caught:
        OBJECTIVES.make("grpo", {"clipp": 0.1})
    assert "clip (default None)" in caught.value.fix


def test_two_methods_of_one_name_are_refused() -> None:
    registry: Registry[object] = Registry("method", "training.objectives")

    @dataclass(frozen=True)
    class First:
        name: ClassVar[str] = "same"

    class Second:
        name: ClassVar[str] = "same"

    registry.add("same", First)
    registry.add("same", First)
    with pytest.raises(ValueError, match="two methods are called 'same'"):
        registry.add("same", Second)
