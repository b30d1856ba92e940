"""`audit train grpo` on a tiny model: the adapter, its papers, and that `audit compare` takes it."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

import audit
from audit.config import TrainGRPOConfig
from audit.errors import AuditError, UsageError
from audit.evidence.run import RunFolder
from audit.evidence.verify import verify_run
from audit.progress import Silent
from audit.train.run import run_train_grpo

Maker = Callable[..., Path]
SMALL: dict[str, Any] = {
    "steps": 3, "prompts_per_step": 2, "group_size": 16, "new_tokens": 24, "kl_sequences": 2, "kl_tokens": 4,
    "kl_batch": 2, "max_draws": 6, "save_every": 1, "learning_rate": 1e-3,
}  # fmt: skip


@pytest.fixture
def train(tmp_path: Path, tiny_suite: Maker) -> Callable[..., RunFolder]:
    suite = str(tiny_suite())

    def run(base: Path | str, out: str = "run", **settings: Any) -> RunFolder:
        fields = {"suite": suite, "out": str(tmp_path / out), **SMALL, **settings}
        return run_train_grpo(TrainGRPOConfig(base=str(base), **fields), Silent())

    return run


def test_a_run_leaves_an_adapter_its_papers_and_its_records(
    tiny_model: Maker, train: Callable[..., RunFolder], tiny_suite: Maker, tmp_path: Path
) -> None:
    base = tiny_model()
    run = train(base)
    assert verify_run(run).problems == ()
    result = run.result("train")
    assert result.steps == 3
    assert result.had_gradient
    assert set(run.table("train", "train_steps")["channel"]) >= {"total"}
    tokens = run.table("train", "tokens")
    assert len(tokens)
    assert ((tokens["ratio"] - 1).abs() < 1e-3).all(), "one fresh update per rollout: every ratio is 1"
    adapter = run.path / result.adapter
    papers = json.loads((adapter / "unmask.json").read_text())
    assert len(papers["reward_curve"]) == 3
    assert papers["base_identity"] == run.manifest().base.identity
    assert str(tmp_path) not in (adapter / "adapter_config.json").read_text()
    compared = audit.compare(
        str(base),
        f"{base}+{adapter}",
        suite=(str(tiny_suite("other")),),
        preset="quick",
        out=str(tmp_path / "c"),
    )
    assert compared.manifest().tuned.adapter.binds_to == papers["base_identity"]


def test_the_adapter_binds_to_its_base(
    tiny_model: Maker, train: Callable[..., RunFolder], tiny_suite: Maker
) -> None:
    run = train(tiny_model())
    other = tiny_model(seed=1)
    with pytest.raises(AuditError, match="base"):
        audit.compare(
            str(other), f"{other}+{run.path / 'stages/train/adapter'}", suite=(str(tiny_suite("o")),)
        )


def test_a_stopped_training_goes_on_to_the_same_adapter(
    tiny_model: Maker, train: Callable[..., RunFolder], monkeypatch: pytest.MonkeyPatch
) -> None:
    base = tiny_model()
    straight = (train(base, "straight").path / "stages/train/adapter/adapter_model.safetensors").read_bytes()
    import training.loop

    original, calls = training.loop.take_step, []

    def stop(*arguments: Any, **keywords: Any) -> Any:
        calls.append(1)
        if len(calls) == 3:
            raise KeyboardInterrupt
        return original(*arguments, **keywords)

    with monkeypatch.context() as patch:
        patch.setattr(training.loop, "take_step", stop)
        with pytest.raises(KeyboardInterrupt):
            train(base, "stopped")
    run = train(base, "stopped")
    assert (run.path / "stages/train/adapter/adapter_model.safetensors").read_bytes() == straight


@pytest.mark.parametrize(
    ("settings", "says"),
    [
        ({"lora_targets": ("nothing",)}, "nothing"),
        ({"new_tokens": 300}, "context"),
        ({"suite": "nonsense"}, "nonsense"),
        ({"device": "cuda:9"}, "cuda:9"),
    ],
)
def test_mistakes_are_refused_and_nothing_stays(
    settings: dict[str, Any], says: str, tiny_model: Maker, train: Callable[..., RunFolder], tmp_path: Path
) -> None:
    with pytest.raises(AuditError) as caught:
        train(tiny_model(), "new", **settings)
    assert says in str(caught.value)
    assert not (tmp_path / "new").exists()


def test_a_base_with_an_adapter_or_a_suite_without_chat_is_refused(
    tiny_model: Maker, tiny_adapter: Maker, train: Callable[..., RunFolder]
) -> None:
    base = tiny_model(chat=False)
    with pytest.raises(UsageError, match="already has an adapter"):
        train(f"{base}+{tiny_adapter(base)}")
    with pytest.raises(UsageError, match="no training prompts in chat form"):
        train(base, form="chat")


def test_a_setting_that_makes_no_sense_is_refused_on_the_command_line() -> None:
    from typer.testing import CliRunner

    from audit.cli import app

    done = CliRunner().invoke(app, ["train", "grpo", "demo", "--steps", "0"])
    assert done.exit_code == 1
    assert "steps must be at least 1" in done.stderr
