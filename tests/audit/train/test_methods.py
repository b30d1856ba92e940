"""`audit train METHOD` on tiny models: every run leaves a pair that `audit compare` takes by one name."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
import typer
from transformers import AutoModelForCausalLM
from typer.testing import CliRunner

import audit
from audit.config import TrainGRPOConfig
from audit.errors import AuditError, CheckpointError, PairMismatchError, UsageError
from audit.evidence.run import RunFolder
from audit.evidence.verify import verify_run
from audit.progress import Silent
from audit.train.commands import MethodCommands, method_command, method_names, unknown_method
from audit.train.config import TrainMethodConfig, TrainPreferencesConfig
from audit.train.preferences import pairs_of_file, run_preferences
from audit.train.run import run_train, run_train_grpo

Maker = Callable[..., Path]
SMALL: dict[str, Any] = {
    "steps": 3, "prompts_per_step": 2, "group_size": 16, "new_tokens": 24, "kl_sequences": 2, "kl_tokens": 4,
    "kl_batch": 2, "max_draws": 6, "save_every": 1, "learning_rate": 1e-3,
}  # fmt: skip


class Notes(Silent):
    """Keeps what it is told."""

    def __init__(self) -> None:
        self.said: list[str] = []

    def note(self, text: str) -> None:
        self.said.append(text)


@pytest.fixture
def train(tmp_path: Path, tiny_suite: Maker) -> Callable[..., RunFolder]:
    suite = str(tiny_suite())

    def run(base: Path | str, objective: str, out: str = "run", **settings: Any) -> RunFolder:
        fields = {"suite": suite, "out": str(tmp_path / out), **SMALL, **settings}
        config = TrainMethodConfig(base=str(base), objective=objective, **fields)
        return run_train(config, settings.pop("progress", Silent()))

    return run


@pytest.fixture
def prefer(tmp_path: Path, tiny_suite: Maker) -> Callable[..., RunFolder]:
    suite = str(tiny_suite())

    def run(base: Path | str, objective: str, out: str = "run", **settings: Any) -> RunFolder:
        fields = {"suite": suite, "out": str(tmp_path / out), "steps": 4, "batch_size": 2, **settings}
        config = TrainPreferencesConfig(base=str(base), objective=objective, **fields)
        return run_preferences(config, Silent())

    return run


def compared(run: RunFolder, tiny_suite: Maker, tmp_path: Path) -> RunFolder:
    """`audit compare RUN` with nothing else to say which models are meant."""
    return audit.compare(
        str(run.path), suite=(str(tiny_suite("other")),), preset="quick", out=str(tmp_path / "compared"),
        skip=("elicit", "directions", "features", "switches", "bypass"),
    )  # fmt: skip


@pytest.mark.parametrize(
    ("objective", "settings"),
    [
        ("drpo", {"staleness": 1, "settings": {"delta": 0.2}}),
        ("ppo", {"tune": "full", "learning_rate": 1e-4}),
    ],
)
def test_a_method_leaves_a_pair_that_compare_takes(
    objective: str, settings: dict[str, Any], tiny_model: Maker, tiny_suite: Maker,
    train: Callable[..., RunFolder], tmp_path: Path,
) -> None:  # fmt: skip
    base = tiny_model()
    run = train(base, objective, **settings)
    assert verify_run(run).problems == ()
    result = run.result("train")
    assert (result.method, result.steps, result.had_gradient) == (objective, 3, True)
    assert (result.adapter is None) == (settings.get("tune") == "full")
    pair = json.loads((run.path / "stages/train/pair.json").read_text())
    assert pair["base_identity"] == run.manifest().base.identity
    assert pair["method"] == objective
    done = compared(run, tiny_suite, tmp_path)
    assert done.manifest().base.identity == run.manifest().base.identity
    assert done.result("weights")
    if settings.get("tune") == "full":
        assert done.manifest().tuned.adapter is None
        child = AutoModelForCausalLM.from_pretrained(run.path / str(result.model))
        start = AutoModelForCausalLM.from_pretrained(base)
        moved = [not torch.equal(a, b) for a, b in zip(child.parameters(), start.parameters(), strict=True)]
        assert np_mean(moved) > 0.8
    else:
        assert "drpo.delta = 0.2" in (run.path / "config.toml").read_text()


@pytest.mark.filterwarnings("ignore")  # libraries that TRL brings warn about their own doings
def test_the_same_objective_through_trl(
    tiny_model: Maker, train: Callable[..., RunFolder], tiny_suite: Maker, tmp_path: Path
) -> None:
    run = train(tiny_model(), "dapo", backend="trl", inner_epochs=2, settings={"high": 0.5})
    assert verify_run(run).problems == ()
    assert run.result("train").steps == 6
    assert run.table("train", "tokens")["rollout"].nunique() == 32
    assert compared(run, tiny_suite, tmp_path).manifest().tuned.adapter is not None


def np_mean(values: list[bool]) -> float:
    return sum(values) / len(values)


def test_plain_grpo_by_either_way_is_one_run(
    tiny_model: Maker, train: Callable[..., RunFolder], tiny_suite: Maker, tmp_path: Path
) -> None:
    base, weights = tiny_model(), "stages/train/adapter/adapter_model.safetensors"
    one = train(base, "grpo", "one")
    config = TrainGRPOConfig(base=str(base), suite=str(tiny_suite()), out=str(tmp_path / "two"), **SMALL)
    two = run_train_grpo(config, Silent())
    assert (one.path / weights).read_bytes() == (two.path / weights).read_bytes()
    assert (one.path / "config.toml").read_text() == (two.path / "config.toml").read_text()


def test_a_trust_region_without_staleness_is_named(
    tiny_model: Maker, tiny_suite: Maker, tmp_path: Path
) -> None:
    said = {}
    for staleness in (0, 1):
        notes = Notes()
        config = TrainMethodConfig(
            base=str(tiny_model()), objective="dppo_tv", suite=str(tiny_suite()), staleness=staleness,
            out=str(tmp_path / str(staleness)), **SMALL,
        )  # fmt: skip
        run_train(config, notes)
        said[staleness] = [note for note in notes.said if "plain policy gradient" in note]
    assert len(said[0]) == 1
    assert "--staleness" in said[0][0]
    assert said[1] == []


def test_a_changed_child_or_another_base_is_refused(
    tiny_model: Maker, train: Callable[..., RunFolder], tiny_suite: Maker, tmp_path: Path
) -> None:
    base = tiny_model()
    run = train(base, "spo")
    manifest = run.path / "stages/train/pair.json"
    original = manifest.read_text()
    manifest.write_text(original.replace(run.manifest().base.identity, "0" * 64))
    with pytest.raises(PairMismatchError, match="not the model that was trained"):
        compared(run, tiny_suite, tmp_path)
    manifest.write_text("{}")
    with pytest.raises(CheckpointError, match="cannot be read"):
        compared(run, tiny_suite, tmp_path)
    manifest.write_text(original)
    papers = run.path / "stages/train/adapter/unmask.json"
    papers.write_text(papers.read_text() + " ")
    with pytest.raises(CheckpointError, match="missing or was changed"):
        compared(run, tiny_suite, tmp_path)


def test_a_folder_without_a_pair_still_asks_for_the_second_model(tiny_model: Maker) -> None:
    with pytest.raises(UsageError, match="second model is missing"):
        audit.compare(str(tiny_model()))


@pytest.mark.parametrize("objective", ["dpo", "sft"])
def test_preferences_make_a_pair(
    objective: str, tiny_model: Maker, prefer: Callable[..., RunFolder], tiny_suite: Maker, tmp_path: Path
) -> None:
    run = prefer(tiny_model(), objective)
    assert verify_run(run).problems == ()
    assert run.result("train").method == objective
    assert run.table("train", "tokens").empty
    channels = set(run.table("train", "train_steps")["channel"])
    assert channels == ({"total", "margin", "accuracy"} if objective == "dpo" else {"total", "logp"})
    assert compared(run, tiny_suite, tmp_path).result("verdict")


def test_a_reward_model_judges_ppo(
    tiny_model: Maker, prefer: Callable[..., RunFolder], train: Callable[..., RunFolder], tmp_path: Path
) -> None:
    base = tiny_model()
    pairs = tmp_path / "pairs.jsonl"
    pairs.write_text('{"prompt": "the nurse", "chosen": " she works", "rejected": " he works"}\n' * 2)
    judge = prefer(base, "reward-model", "judge", pairs=str(pairs))
    folder = judge.path / "stages/train/reward"
    assert judge.result("train").adapter is None
    assert judge.result("train").model == "stages/train/reward"
    assert judge.result("train").exact_kl_last is None, "not measured, which is not 0"
    assert judge.table("train", "train_steps")["exact_kl"].isna().all()
    assert "train/exact_kl_last" not in {claim.id for claim in judge.claims().claims}
    run = train(base, "ppo", "ppo", reward_model=str(folder), new_tokens=3)
    assert set(run.table("train", "train_steps")["channel"]) == {"total", "reward_model"}
    papers = json.loads((run.path / "stages/train/adapter/unmask.json").read_text())
    assert papers["reward"]["name"] == "ModelReward"
    assert len(papers["reward"]["sha256"]) == 64


@pytest.mark.parametrize(
    ("text", "says"),
    [("", "no preference pairs"), ("{}\n", "malformed"), ("[1]\n", "malformed"),
     ('{"prompt": "a", "chosen": 1, "rejected": "b"}\n', "malformed"), ("{\n", "malformed")],
)  # fmt: skip
def test_files_without_pairs_are_refused(text: str, says: str, tmp_path: Path) -> None:
    path = tmp_path / "pairs.jsonl"
    path.write_text(text)
    with pytest.raises(UsageError, match=says):
        pairs_of_file(path)


def test_mistakes_are_refused_and_nothing_stays(
    tiny_model: Maker, tiny_adapter: Maker, train: Callable[..., RunFolder], prefer: Callable[..., RunFolder],
    tmp_path: Path,
) -> None:  # fmt: skip
    base = tiny_model()
    wrong: list[tuple[Callable[..., RunFolder], str, dict[str, Any], str]] = [
        (train, "dropo", {}, "did you mean 'drpo'"),
        (train, "drpo", {"settings": {"dleta": 1.0}}, "no setting 'dleta'"),
        (train, "drpo", {"advantage": "groups"}, "did you mean 'group'"),
        (train, "drpo", {"lora_targets": ("q_prj",)}, "did you mean 'q_proj'"),
        (train, "ppo", {"reward_model": str(tmp_path)}, "no reward model"),
        (prefer, "dpo", {"pairs": str(tmp_path / "none.jsonl")}, "cannot be read"),
        (prefer, "dpo", {"form": "chat", "suite": "nonsense"}, "nonsense"),
        (prefer, "dpo", {"lora_targets": ("v_prj",)}, "did you mean 'v_proj'"),
    ]
    for command, objective, settings, says in wrong:
        with pytest.raises(AuditError) as caught:
            command(base, objective, "new", **settings)
        assert says in str(caught.value)
        assert not (tmp_path / "new").exists()
    adapted = f"{base}+{tiny_adapter(base)}"
    for command in (train, prefer):
        with pytest.raises(UsageError, match="already has an adapter"):
            command(adapted, "dpo" if command is prefer else "drpo")
    with pytest.raises(UsageError, match="does not learn from pairs"):
        TrainPreferencesConfig(base="demo", objective="ppo")
    with pytest.raises(UsageError, match="no backend"):
        TrainMethodConfig(base="demo", backend="verl")  # type: ignore[arg-type]


def group() -> typer.Typer:
    app = typer.Typer()
    app.add_typer(typer.Typer(cls=MethodCommands, help="Make a model.", no_args_is_help=True), name="train")
    app.command("other")(lambda: None)
    return app


def test_every_method_is_a_command_with_its_own_settings() -> None:
    from training.registry import OBJECTIVES

    assert method_names() == list(OBJECTIVES.names())
    listed = CliRunner().invoke(group(), ["train", "--help"])
    assert listed.exit_code == 0
    for name in (*method_names(), "dpo", "reward-model", "sft"):
        assert name in listed.stdout
    help_text = CliRunner().invoke(group(), ["train", "drpo", "--help"]).stdout
    for option in ("--delta", "--staleness", "--backend", "--tune", "--reward-model"):
        assert option in help_text
    assert "--settings" not in help_text
    assert "--beta" in CliRunner().invoke(group(), ["train", "dpo", "--help"]).stdout
    assert "--beta" not in CliRunner().invoke(group(), ["train", "sft", "--help"]).stdout


def test_a_method_that_there_is_not_gets_the_nearest_name() -> None:
    done = CliRunner().invoke(group(), ["train", "gpso", "demo"])
    assert done.exit_code == 1
    assert "did you mean 'gspo'" in " ".join(done.stderr.split())
    assert "did you mean" not in unknown_method("xyzzy", ["ppo"]).fix


def test_the_commands_run(tiny_model: Maker, tiny_suite: Maker, tmp_path: Path) -> None:
    base, suite = str(tiny_model()), str(tiny_suite())
    options = [f"--{name.replace('_', '-')}={value}" for name, value in SMALL.items()]
    out = tmp_path / "run"
    done = CliRunner().invoke(
        group(),
        ["train", "cppo", base, "--suite", suite, "--out", str(out), "--w-min", "0.9", "--json", *options],
    )
    assert done.exit_code == 0, done.output
    assert json.loads(done.stdout)["stages"]["train"]["method"] == "cppo" or "cppo" in done.stdout
    assert "cppo.w_min = 0.9" in (out / "config.toml").read_text()
    done = CliRunner().invoke(
        group(), ["train", "dpo", base, "--suite", suite, "--steps", "2", "--out", str(tmp_path / "dpo")]
    )
    assert done.exit_code == 0, done.output
    assert method_command("ppo").__name__ == "ppo"
