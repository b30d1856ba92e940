from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from audit.evidence.claims.attack import attack_claims
from audit.evidence.files import write_json
from audit.evidence.run import RunFolder
from audit.evidence.schema.documents import Estimate
from audit.evidence.schema.results.training import AttackedItem, AttackResult


def said(tmp_path: Path, **fields: Any) -> dict[str, str]:
    result = AttackResult(**{"item": "q", "harm_threshold": 0.42, "smallest_dose": None, "half_life": None,
                             "conclusive": True, **fields})  # fmt: skip
    folder = tmp_path / "stages" / "attack"
    folder.mkdir(parents=True, exist_ok=True)
    write_json(folder / "result.json", result.model_dump(mode="json"))
    return {claim.id: claim.statement for claim in attack_claims(RunFolder(tmp_path)).claims}


def test_a_harmful_dose_is_said_with_its_range_and_the_seeds_that_crossed(tmp_path: Path) -> None:
    dose = Estimate(value=10, low=5, high=None, n=2)
    found = said(tmp_path, smallest_dose=dose, seeds=3, seeds_harmed=2, outcome="HARMED", why="2 of 3 did",
                 realign_by="sft", realign_steps=25, half_life=3.2)  # fmt: skip
    assert (
        "10 optimiser step(s) (more than 5, no bound above; 2 of 3 seed(s)" in found["attack/smallest_dose"]
    )
    assert "Half of the damage is gone after 3.2 supervised steps" in found["attack/half_life"]
    assert "HARMED, because 2 of 3 did" in found["attack/outcome"]
    assert (
        "still there after 25 GRPO steps"
        in said(tmp_path, smallest_dose=dose, realign_by="grpo", realign_steps=25)["attack/half_life"]
    )


def test_nothing_is_said_of_what_was_not_found(tmp_path: Path) -> None:
    found = said(tmp_path, realign_by="sft", realign_steps=25)
    assert set(found) == {"attack/conclusive"}


@pytest.mark.parametrize(("conclusive", "word"), [(True, "something to learn from"), (False, "INCONCLUSIVE")])
def test_an_attack_without_variance_is_called_inconclusive(
    tmp_path: Path, conclusive: bool, word: str
) -> None:
    assert word in said(tmp_path, conclusive=conclusive)["attack/conclusive"]


def test_items_levels_and_the_correlation_are_said(tmp_path: Path) -> None:
    item = AttackedItem(item="q", category="age", initial_probability=0.21, seeds=1, live_share=0.9)
    level = Estimate(value=0.31, low=None, high=0.4, n=1)
    found = said(tmp_path, items=[item], susceptibility=-0.7, held_out_first=level, held_out_last=level,
                 trained_last=level, live_share=0.9, largest_dose=50)  # fmt: skip
    assert "not learnt; reward variance in 90.0%" in found["attack/items/0"]
    assert "rank correlation -0.70" in found["attack/susceptibility"]
    assert "0.310 (? to 0.400)" in found["attack/held_out_first"]
    assert "After 50 steps" in found["attack/held_out_last"]
    assert "After 50 steps" in found["attack/trained_last"]
