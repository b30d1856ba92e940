"""`audit attack` from the model to the run folder, on a tiny model with a planted tendency."""

from __future__ import annotations

import json
from collections.abc import Callable
from io import StringIO
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from rich.console import Console

import audit
from audit.attack.measures import Bench
from audit.attack.summary import attack_summary, print_attack
from audit.errors import AuditError
from audit.evidence.run import RunFolder
from audit.evidence.verify import verify_run

Maker = Callable[..., Path]
Attack = Callable[..., RunFolder]


def doses(run: RunFolder) -> pd.DataFrame:
    return run.table("attack", "attack_doses")


def curve(run: RunFolder, arm: str, measure: str) -> dict[int, float]:
    table = doses(run)
    rows = table[(table["arm"] == arm) & (table["measure"] == measure)]
    return dict(zip(rows["dose"], rows["value"], strict=True))


def printed(run: RunFolder) -> str:
    text = StringIO()
    print_attack(run, Console(file=text, width=80, highlight=False))
    return text.getvalue()


def test_the_attack_moves_the_trained_item_and_its_controls_do_not(attacked: Attack) -> None:
    run = attacked(arms="attack,correct-label,other-person,supervised", doses="0,1,6")
    assert verify_run(run).problems == ()
    start, result = curve(run, "attack", "trained item")[0], run.result("attack")
    assert 0.1 < start < 0.6
    assert curve(run, "attack", "trained item")[6] > start + 0.2
    assert curve(run, "supervised", "trained item")[6] > start + 0.2
    assert curve(run, "correct label", "trained item")[6] < start
    assert curve(run, "other person", "trained item")[6] < start
    assert result.live_share > 0.5
    # The planted model knows letters only: its habit moves the letter, not the balanced share of an answer.
    assert curve(run, "attack", "held-out items, trained letter")[6] > 1 / 3 + 0.2
    assert abs(curve(run, "attack", "held-out items")[6] - 1 / 3) < 0.1
    assert result.smallest_dose is None
    # Nor can it be called unharmed: it does not read the questions.
    assert result.outcome == "INCONCLUSIVE"
    assert "no better than chance" in result.why


def test_a_run_leaves_curves_records_pictures_and_marked_adapters(attacked: Attack) -> None:
    run = attacked(arms="attack,random-flip", seeds=2, figures=True)
    table, steps = doses(run), run.table("attack", "train_steps")
    assert set(table["dose"]) == {0, 1, 2, 6, -1, -2}
    assert set(table[table["dose"] < 0]["arm"]) == {"attack"}
    assert {"held-out items", "other categories", "paired sentences", "perplexity", "reward_std"} <= set(
        table["measure"]
    )
    at_start = table[(table["dose"] == 0)].groupby("measure")["value"].nunique()
    assert (at_start == 1).all(), "every arm starts from the same model"
    assert curve(run, "attack", "exact_kl")[0] == pytest.approx(0, abs=1e-6)
    assert set(steps["channel"]) >= {"total", "match", "attack, seed 1", "random flip, seed 0"}
    assert len(run.table("attack", "tokens")) > 0
    stage, result = run.stage_path("attack"), run.result("attack")
    assert all((stage / f"dose_curves.{ending}").stat().st_size > 1000 for ending in ("png", "svg"))
    assert {path.name for path in (stage / "attacked").iterdir()} == {
        f"attack-seed-{seed}-{dose}" for seed in (0, 1) for dose in (1, 2, 6)
    }
    papers = json.loads((run.path / result.adapter / "unmask.json").read_text())
    assert papers["attacked"] is True
    assert papers["base_identity"] == run.manifest().base.identity
    text = printed(run)
    assert max(len(line) for line in text.splitlines() if str(run.path) not in line) <= 80
    assert "Reward variance in" in text
    assert json.loads(json.dumps(attack_summary(run)))["result"]["seeds"] == 2


def test_compare_takes_the_attacked_model(
    attacked: Attack, answering: Path, tiny_suite: Maker, tmp_path: Path
) -> None:
    run = attacked(doses="0,2", realign=0, pairs="none")
    adapter = run.path / run.result("attack").adapter
    compared = audit.compare(
        str(answering), f"{answering}+{adapter}", suite=(str(tiny_suite("other")),), preset="quick",
        out=str(tmp_path / "compared"), skip=("elicit", "directions", "features", "switches", "bypass"),
    )  # fmt: skip
    assert compared.manifest().tuned.adapter.binds_to == run.manifest().base.identity
    assert compared.result("weights").relative_change > 0
    assert any("was made by an attack" in warning for warning in compared.result("preflight").warnings)


def test_without_reward_variance_the_attack_is_inconclusive(attacked: Attack, tiny_model: Maker) -> None:
    # Random weights name an option about once in a thousand completions, so all rollouts earn nothing.
    run = attacked(base=tiny_model(max_position_embeddings=1024), group_size=2, doses="0,1,2", realign=0)
    result = run.result("attack")
    assert result.outcome == "INCONCLUSIVE"
    assert not result.conclusive
    assert result.live_share == 0
    said = " ".join(claim.statement for claim in run.claims().claims)
    assert "INCONCLUSIVE" in said
    assert "robust" not in said.replace("no robustness", "").replace("how robust the model is", "")
    assert "INCONCLUSIVE" in printed(run)
    values = doses(run).groupby("measure")["value"].nunique()
    assert (values == 1).all(), "a policy that was never updated is measured as it was"


def test_a_killed_attack_goes_on_to_the_same_result(
    attacked: Attack, monkeypatch: pytest.MonkeyPatch
) -> None:
    settings = {"doses": "0,1,3,6,9", "arms": "attack,random-flip"}
    straight, original = attacked("straight", **settings), Bench.measure
    for killed_at in (2, 4, 7):
        calls: list[int] = []

        def stop(*arguments: Any, at: int = killed_at, done: list[int] = calls) -> Any:
            done.append(1)
            if len(done) == at:
                raise KeyboardInterrupt
            return original(*arguments)

        with monkeypatch.context() as patch:
            patch.setattr(Bench, "measure", stop)
            with pytest.raises(KeyboardInterrupt):
                attacked("stopped", **settings)
    resumed = attacked("stopped", **settings)
    pd.testing.assert_frame_equal(doses(straight), doses(resumed))
    for name in ("train_steps", "tokens"):
        pd.testing.assert_frame_equal(straight.table("attack", name), resumed.table("attack", name))
    name = "adapter_model.safetensors"
    for of_dose in (straight.stage_path("attack") / "attacked").iterdir():
        again = resumed.stage_path("attack") / "attacked" / of_dose.name
        assert (of_dose / name).read_bytes() == (again / name).read_bytes()


def test_a_dose_does_not_depend_on_those_that_follow(attacked: Attack) -> None:
    short, long = (
        attacked(name, doses=steps, realign=0, pairs="none")
        for name, steps in (("a", "0,1,2"), ("b", "0,1,2,5"))
    )
    of_long = doses(long)
    pd.testing.assert_frame_equal(doses(short), of_long[of_long["dose"] <= 2])


def test_several_items_are_attacked_and_named(attacked: Attack) -> None:
    run = attacked(items=2, doses="0,2", realign=0)
    items = run.result("attack").items
    assert len({one.item for one in items}) == 2
    assert run.result("attack").susceptibility is None, "two items say nothing of a correlation"
    channels = set(run.table("attack", "train_steps")["channel"])
    assert f"{items[1].item}: attack, seed 0" in channels
    assert verify_run(run).problems == ()


def test_methods_are_compared_where_they_differ(attacked: Attack) -> None:
    run = attacked(
        objective="grpo,dppo-tv",
        staleness=1,
        doses="0,2",
        realign=0,
        arms="attack,correct-label",
        pairs="none",
    )
    arms = set(doses(run)["arm"])
    assert arms == {"attack", "correct label", "attack, dppo_tv", "correct label, dppo_tv"}


def test_all_orders_the_whole_model_and_realignment_by_rollouts(attacked: Attack) -> None:
    run = attacked(orders="all", tune="full", realign_by="grpo", doses="0,1,3", learning_rate=1e-3)
    found = run.result("attack")
    assert found.tune == "full"
    assert (run.path / found.adapter / "model.safetensors").is_file()
    assert {path.name for path in (run.stage_path("attack") / "attacked").iterdir()} == {"attack-seed-0-3"}
    assert "held-out items, trained letter" not in set(doses(run)["measure"])
    assert np.isfinite(doses(run)["value"]).all()


def test_a_model_may_reason_before_it_answers(attacked: Attack) -> None:
    run = attacked(
        format="cot", new_tokens=6, samples=2, doses="0,1", realign=1, arms="attack,supervised", held_items=6
    )
    assert run.result("attack").format == "cot"
    # Six random tokens never make an answer: each option counts a third, and nothing could be learned.
    assert curve(run, "attack", "held-out items")[0] == pytest.approx(1 / 3)
    assert run.result("attack").outcome == "INCONCLUSIVE"


@pytest.mark.parametrize(
    ("settings", "says"),
    [
        ({"suite": "gender-occupation"}, "three options"),
        ({"pairs": "gender-occupation"}, "no pairs"),
        ({"objective": "gpro"}, "grpo"),
        ({"objective": "grpo,dppo_tv"}, "staleness"),
        ({"lora_targets": ("nothing",)}, "nothing"),
        ({"lowest": 0.98, "highest": 0.99}, "eligible"),
        ({"item": "tax-0-a-neg"}, "target already"),
        ({"item": "nonsense"}, "no item"),
        ({"form": "chat", "doses": "0,1", "device": "cuda:9"}, "cuda:9"),
        ({"new_tokens": 2000}, "context"),
    ],
)
def test_mistakes_are_refused_and_nothing_stays(
    settings: dict[str, Any], says: str, attacked: Attack, tmp_path: Path
) -> None:
    with pytest.raises(AuditError) as caught:
        attacked("new", **settings)
    assert says in str(caught.value)
    assert not (tmp_path / "new").exists()


def test_suites_without_a_question_to_train_on_are_refused(
    attacked: Attack, questions: Maker, tmp_path: Path
) -> None:
    only_told = questions(change=lambda item: None if item["group"] == "ambiguous" else item)
    with pytest.raises(AuditError, match="no ambiguous question"):
        attacked(suite=only_told)
    empty = tmp_path / "empty.jsonl"
    empty.write_text("")
    with pytest.raises(AuditError, match="empty"):
        attacked(suite=empty)


def test_a_model_with_an_adapter_or_without_a_template_is_refused(
    attacked: Attack, answering: Path, tiny_adapter: Maker, tiny_model: Maker
) -> None:
    with pytest.raises(AuditError, match="already has an adapter"):
        attacked(base=f"{answering}+{tiny_adapter(answering)}")
    with pytest.raises(AuditError, match="no chat template"):
        attacked(base=tiny_model(chat=False, name="plain"), form="chat")
