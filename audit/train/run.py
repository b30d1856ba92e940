"""`audit train METHOD`: makes a tuned model from a base and writes down how, beside it."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from audit.behaviours.load import load_suite
from audit.behaviours.suite import Suite
from audit.config import TrainGRPOConfig
from audit.errors import UsageError, memory_errors
from audit.evidence.claims import train_claims
from audit.evidence.files import output_errors
from audit.evidence.provenance import versions
from audit.evidence.run import RunFolder, writing_run
from audit.evidence.schema.results import TrainResult
from audit.evidence.stage import StageFolder, run_stage
from audit.manifests import default_out, new_manifest, to_toml
from audit.pair.checkpoint import Checkpoint, LoadOptions, resolve
from audit.progress import Progress
from audit.train.config import TrainMethodConfig
from audit.train.data import check_reach, prompts_of, reward_of
from audit.train.errors import training_errors
from audit.train.papers import Made, write_papers, write_tables

if TYPE_CHECKING:
    from audit.train.data import AnyReward
    from training.records import StepRecord
    from training.team import Team
    from training.types import Advantage, Objective

STAGE = "train"


@dataclass(frozen=True)
class Recipe:
    """Everything that a training run starts from."""

    config: TrainMethodConfig
    base: Checkpoint
    suite: Suite
    progress: Progress
    objective: Objective
    advantage: Advantage
    team: Team
    asked: dict[str, Any]
    """The settings as the run folder records them."""


def run_train_grpo(config: TrainGRPOConfig, progress: Progress) -> RunFolder:
    """Trains an adapter with GRPO and returns the run folder that holds it.

    Raises:
        AuditError: something is wrong that the user can mend; nothing half-written stays behind.
    """
    shared = {name: getattr(config, name) for name in config.__dataclass_fields__}
    return _run(_prepare(TrainMethodConfig(**shared), progress, config))


def run_train(config: TrainMethodConfig, progress: Progress) -> RunFolder:
    """Trains a model with any method of `training/objectives/` and returns the run folder that holds it.

    Under torchrun every process calls it; the first writes the folder, the others only train.

    Raises:
        AuditError: something is wrong that the user can mend; nothing half-written stays behind.
    """
    return _run(_prepare(config, progress, config.plain() or config))


def _prepare(config: TrainMethodConfig, progress: Progress, asked: TrainGRPOConfig) -> Recipe:
    """Checks everything that can be wrong before anything is written."""
    from audit.pair.load import choose_device, choose_dtype, name_of
    from training.registry import ADVANTAGES, OBJECTIVES
    from training.team import make_team

    with training_errors():
        objective = OBJECTIVES.make(config.objective, config.settings)
        fed_with = objective.card.advantage if config.advantage == "card" else config.advantage
        advantage = ADVANTAGES.make(fed_with)
    if isinstance(asked, TrainMethodConfig) and objective.card.inert(config.method().lag):
        progress.note(
            f"{config.objective} is plain policy gradient here ({objective.card.inert_when}): "
            "--staleness or --inner-epochs make it act"
        )
    suite = load_suite(config.suite)
    base = resolve(config.base, LoadOptions(config.allow_pickle, config.trust_remote_code), progress)
    if base.adapter is not None:
        raise UsageError(
            "The base already has an adapter.",
            where=config.base,
            fix="merge it into the weights first, or leave it out",
        )
    team = make_team(config.precision, config.device)
    device = choose_device(team.device or config.device)
    dtype = name_of(choose_dtype(config.dtype, base.stored_dtype, device))
    settled = {"device": str(device), "dtype": dtype}
    asked = replace(asked, **settled)  # type: ignore[arg-type]  # mypy does not read a dict's keys
    return Recipe(
        replace(config, **settled),  # type: ignore[arg-type]  # likewise
        base,
        suite,
        progress,
        objective,
        advantage,
        team,
        asked.resolved(),
    )


def _run(recipe: Recipe) -> RunFolder:
    config, asked = recipe.config, recipe.asked
    path = Path(config.out) if config.out else default_out(asked, config.objective, config.base)
    if recipe.team.rank > 0:
        _follow(recipe)
        return RunFolder(path)
    manifest = new_manifest(
        "train",
        base=recipe.base,
        tuned=None,
        dtype=config.dtype,
        device=config.device,
        seed=config.seed,
        data={recipe.suite.card.name: recipe.suite.sha256},
    )
    made_of = {"base": recipe.base.identity, "suite": recipe.suite.sha256, "versions": versions()}
    inputs = {**made_of, **asked}
    with writing_run(path, manifest, to_toml(asked)) as run, memory_errors():
        told: list[bool] = []
        run_stage(run, STAGE, inputs, partial(_train, recipe, told))
        if not told:  # it was done before: the other processes wait for a word
            recipe.team.tell(None)
        run.write_claims(train_claims(run))
    return run


def _follow(recipe: Recipe) -> None:
    """Trains beside the first process, if it has anything to train."""
    parts: Path | None = recipe.team.tell(None)
    if parts is not None:
        _made, steps = _begin(recipe, parts)
        for _ in steps:
            pass


def _train(recipe: Recipe, told: list[bool], folder: StageFolder) -> TrainResult:
    """Runs the loop; its own checkpoint lies among the stage's parts, so a killed run goes on from there."""
    told.append(True)
    recipe.team.tell(folder.parts)
    method = recipe.config.method()
    with training_errors():
        made, steps = _begin(recipe, folder.parts)
        title = f"Training with {recipe.objective.card.name}"
        with recipe.progress.task(title, method.steps * method.inner_epochs) as advance:
            for record in _watched(recipe, steps):
                made.records.append(record)
                advance(1)
    with output_errors(folder.path):
        return write_papers(folder, recipe.base, made, write_tables(folder, made))


def _begin(recipe: Recipe, parts: Path) -> tuple[Made, Iterator[StepRecord]]:
    """The model, ready to train, and the steps that will train it."""
    from audit.pair.load import load_single
    from training.loop import train
    from training.lora import attach_lora
    from training.model import CausalLM, unfreeze
    from training.reward_model import load_reward

    config, method = recipe.config, recipe.config.method()
    options = LoadOptions(config.allow_pickle, config.trust_remote_code)
    reward: AnyReward
    if config.reward_model is not None:
        reward = load_reward(config.reward_model, config.device)
    else:
        reward = reward_of(recipe.suite, config.reward)
    with recipe.progress.task("Loading the model"):
        loaded = load_single(recipe.base, dtype=config.dtype, device=config.device, options=options)
    check_reach(reward, loaded.tokenizer, config.new_tokens)
    prompts = prompts_of(recipe.suite, loaded.tokenizer, config.form)
    model: CausalLM = unfreeze(loaded.model) if config.tune == "full" else attach_lora(loaded.model, method)
    data = {"name": recipe.suite.card.name, "sha256": recipe.suite.sha256, "split": "train"}
    name = recipe.objective.card.name
    made = Made(name, recipe.asked, config.seed, model, loaded.tokenizer, reward, data, [])
    if config.backend == "trl":
        from training.backends.trl import train_with_trl

        runner: Any = train_with_trl
    else:
        runner = partial(train, team=recipe.team)
    given = {"objective": recipe.objective, "advantage": recipe.advantage, "checkpoint": parts}
    return made, runner(model, loaded.tokenizer, prompts, reward, method, **given)


def _watched(recipe: Recipe, steps: Iterator[StepRecord]) -> Iterator[StepRecord]:
    """The steps, shown on TensorBoard too where a folder for it was named."""
    if recipe.config.tensorboard is None:
        return steps
    from training.tensorboard import logged

    return logged(steps, Path(recipe.config.tensorboard))
