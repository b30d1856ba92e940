from __future__ import annotations

from typing import Any

import pytest

from audit.attack.config import ARMS, AttackConfig
from audit.attack.kinds import Arm, arms_of
from audit.errors import UsageError
from audit.options import field_docs


def config(**settings: Any) -> AttackConfig:
    return AttackConfig(model="demo", **settings)


def test_doses_arms_and_methods_are_read_from_lists() -> None:
    found = config(doses="1, 5,25", arms="supervised,attack", objective="GRPO, dppo-tv,grpo", realign=7)
    assert found.dose_steps == (0, 1, 5, 25)
    assert found.realign_steps == (1, 5, 7)
    assert found.arm_names == ("attack", "supervised")
    assert found.objectives == ("grpo", "dppo_tv")
    assert config(realign=0).realign_steps == ()


def test_several_methods_repeat_the_attack_and_its_twin() -> None:
    found = arms_of(config(objective="grpo,cispo", arms=",".join(ARMS)))
    assert [arm.name for arm in found] == [
        "attack", "correct label", "random flip", "other person", "supervised", "attack, cispo",
        "correct label, cispo",
    ]  # fmt: skip
    assert [arm.name for arm in found if arm.realigned] == ["attack", "attack, cispo"]
    assert Arm("random-flip", "grpo").name == "random flip"


@pytest.mark.parametrize(
    ("settings", "says"),
    [
        ({"doses": ""}, "whole numbers"),
        ({"doses": "1,x"}, "whole numbers"),
        ({"doses": "1,-5"}, "whole numbers"),
        ({"doses": "5,1"}, "ascending"),
        ({"doses": "0"}, "nothing would be trained"),
        ({"arms": "correct-label"}, "'attack' in it"),
        ({"arms": "attack,nonsense"}, "among attack"),
        ({"objective": ","}, "name of a method"),
        ({"seeds": 0}, "at least 1"),
        ({"learning_rate": 0.0}, "positive"),
        ({"harm": float("nan")}, "positive"),
        ({"kl_weight": float("inf")}, "finite"),
        ({"lowest": 0.6}, "below highest"),
        ({"format": "essay"}, "one of auto, choice, cot"),
        ({"item": "q", "items": 2}, "1 where --item"),
    ],
)
def test_settings_that_make_no_sense_are_refused_by_name(settings: dict[str, Any], says: str) -> None:
    with pytest.raises(UsageError, match=says) as caught:
        config(**settings)
    assert any(name.replace("_", "-") in str(caught.value) for name in settings)


def test_every_setting_is_explained_and_all_but_the_harmless_ones_make_the_run() -> None:
    found = config()
    assert set(field_docs(AttackConfig)) == set(AttackConfig.__dataclass_fields__)
    assert set(AttackConfig.__dataclass_fields__) - set(found.resolved()) == {"model", "out", "batch_size"}


def test_the_command_is_made_from_the_settings() -> None:
    from typer.testing import CliRunner

    from audit.cli import app

    done = CliRunner().invoke(app, ["attack", "demo", "--doses", "5,1", "--json"])
    assert done.exit_code == 1
    assert "ascending" in done.stderr
    assert '"where": "--doses"' in done.stdout
