"""`audit train grpo`: makes a tuned model from a base and writes down how, beside the adapter."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass, replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pandas as pd

from audit.behaviours.chat import render_chat
from audit.behaviours.load import load_suite
from audit.behaviours.suite import Suite
from audit.config import TrainGRPOConfig
from audit.errors import AuditError, UsageError, memory_errors
from audit.evidence.claims import train_claims
from audit.evidence.files import output_errors, write_json
from audit.evidence.provenance import versions
from audit.evidence.run import RunFolder, writing_run
from audit.evidence.schema.results import TrainResult
from audit.evidence.stage import StageFolder, run_stage
from audit.manifests import command_line, default_out, new_manifest, to_toml
from audit.pair.adapter import BINDING
from audit.pair.checkpoint import Checkpoint, LoadOptions, resolve
from audit.progress import Progress
from training.errors import TrainingError

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase

    from training.records import StepRecord
    from training.rewards import ContinuationParity, PronounParity
    from training.types import Prompt

STAGE = "train"
ADAPTER = "adapter"


@dataclass(frozen=True)
class Recipe:
    """Everything that a training run starts from."""

    config: TrainGRPOConfig
    base: Checkpoint
    suite: Suite
    progress: Progress


def run_train_grpo(config: TrainGRPOConfig, progress: Progress) -> RunFolder:
    """Trains an adapter and returns the run folder that holds it.

    Raises:
        AuditError: something is wrong that the user can mend; nothing half-written stays behind.
    """
    recipe = _prepare(config, progress)
    config = recipe.config
    path = Path(config.out) if config.out else default_out(config.resolved(), "grpo", config.base)
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
    inputs = {**made_of, **config.resolved()}
    with writing_run(path, manifest, to_toml(config.resolved())) as run, memory_errors():
        run_stage(run, STAGE, inputs, partial(_train, recipe))
        run.write_claims(train_claims(run))
    return run


def _prepare(config: TrainGRPOConfig, progress: Progress) -> Recipe:
    from audit.pair.load import choose_device, choose_dtype, name_of

    suite = load_suite(config.suite)
    base = resolve(config.base, LoadOptions(config.allow_pickle, config.trust_remote_code), progress)
    if base.adapter is not None:
        raise UsageError(
            "The base already has an adapter.",
            where=config.base,
            fix="merge it into the weights first, or leave it out",
        )
    device = choose_device(config.device)
    dtype = name_of(choose_dtype(config.dtype, base.stored_dtype, device))
    return Recipe(replace(config, device=str(device), dtype=dtype), base, suite, progress)


def _train(recipe: Recipe, folder: StageFolder) -> TrainResult:
    """Runs the loop; its own checkpoint lies among the stage's parts, so a killed run goes on from there."""
    from audit.pair.load import load_single
    from training.loop import train
    from training.lora import attach_lora, save_adapter

    config, method = recipe.config, recipe.config.method()
    options = LoadOptions(config.allow_pickle, config.trust_remote_code)
    with _training_errors():
        reward = reward_of(recipe.suite, config.reward)
        with recipe.progress.task("Loading the model"):
            loaded = load_single(recipe.base, dtype=config.dtype, device=config.device, options=options)
        _check_reach(reward, loaded.tokenizer, config.new_tokens)
        prompts = prompts_of(recipe.suite, loaded.tokenizer, config.form)
        model = attach_lora(loaded.model, method)
        records = []
        steps = method.steps * method.inner_epochs
        with recipe.progress.task("Training with GRPO", steps) as advance:
            for record in train(model, loaded.tokenizer, prompts, reward, method, checkpoint=folder.parts):
                records.append(record)
                advance(1)
    with output_errors(folder.path):
        save_adapter(model, folder.path / ADAPTER, base_name=_base_name(recipe.base))
    result = _write(folder, recipe, records)
    write_json(folder.path / ADAPTER / BINDING, how_it_was_made(recipe, reward, records, result))
    return result


def prompts_of(suite: Suite, tokenizer: PreTrainedTokenizerBase, form: str) -> list[Prompt]:
    """The training half of a suite as prompts, in plain form, chat form or both."""
    from training.types import Prompt

    items = [item for item in suite.items if item.split == "train"]
    template = tokenizer.chat_template if isinstance(tokenizer.chat_template, str) else None
    found: list[Prompt] = []
    if form in ("plain", "both"):
        found += [Prompt(item.id, item.prompt) for item in items if item.prompt]
    if form in ("chat", "both") and template:
        texts = (
            (item.id, render_chat(tokenizer, item.messages, template)) for item in items if item.messages
        )
        found += [Prompt(name, text, rendered=True) for name, text in texts]
    if not found:
        raise UsageError(
            f"The suite has no training prompts in {form} form for this model.",
            where=f"suite {suite.card.name!r}",
            fix="choose another --form, or a suite with items of split 'train'",
        )
    return found


def reward_of(suite: Suite, choice: str) -> PronounParity | ContinuationParity:
    """The reward that `--reward` names; `auto` rewards even pronouns where a suite's continuations are such.

    Raises:
        TrainingError: the suite's two sides share a continuation.
    """
    from training.rewards import ContinuationParity, PronounParity, is_pronoun

    showing = tuple(dict.fromkeys(text for item in suite.items for text in item.showing))
    other = tuple(dict.fromkeys(text for item in suite.items for text in item.not_showing))
    if choice == "auto":
        choice = "pronoun-parity" if all(map(is_pronoun, showing + other)) else "suite-parity"
    return PronounParity() if choice == "pronoun-parity" else ContinuationParity(showing, other)


def _check_reach(
    reward: PronounParity | ContinuationParity, tokenizer: PreTrainedTokenizerBase, new: int
) -> None:
    """Refuses rollouts too short for a side: no group could ever be even."""
    from training.rewards import ContinuationParity

    if not isinstance(reward, ContinuationParity):
        return
    for name in ("showing", "not_showing"):
        texts = getattr(reward, name)
        needed = min(len(tokenizer.encode(text, add_special_tokens=False)) for text in texts)
        if needed > new:
            raise UsageError(
                f"Rollouts of {new} token(s) cannot hold any continuation of the side {name!r}.",
                where="--new-tokens",
                fix=f"sample at least {needed} tokens",
            )


def how_it_was_made(
    recipe: Recipe, reward: PronounParity | ContinuationParity, records: list[StepRecord], result: TrainResult
) -> dict[str, Any]:
    """The file beside the adapter: which base it binds to, and command, seed and reward curve."""
    return {
        "base_identity": recipe.base.base_identity,
        "base": recipe.base.reference.text,
        "method": result.method,
        "command": command_line(),
        "seed": recipe.config.seed,
        "settings": recipe.config.resolved(),
        "suite": {"name": recipe.suite.card.name, "sha256": recipe.suite.sha256, "split": "train"},
        "reward": {"name": type(reward).__name__, **asdict(reward)},
        "reward_curve": [round(_total(record), 4) for record in records],
        "exact_kl_curve": [round(record.exact_kl, 6) for record in records],
        "dead_groups": round(result.dead_groups, 4),
    }


def _write(folder: StageFolder, recipe: Recipe, records: list[StepRecord]) -> TrainResult:
    folder.write_table("train_steps", pd.DataFrame([row for record in records for row in record.step_rows()]))
    tokens = [pd.DataFrame(record.tokens) for record in records if record.tokens]
    folder.write_table("tokens", pd.concat(tokens, ignore_index=True))
    rewards = [_total(record) for record in records]
    tenth = max(1, len(rewards) // 10)
    return TrainResult(
        method="grpo",
        suite=recipe.suite.card.name,
        steps=len(records),
        reward_first=sum(rewards[:tenth]) / tenth,
        reward_last=sum(rewards[-tenth:]) / tenth,
        dead_groups=1 - sum(r.live_groups for r in records) / sum(r.sampled_groups for r in records),
        exact_kl_last=records[-1].exact_kl,
        had_gradient=any(record.live_groups for record in records),
        adapter=f"stages/{STAGE}/{ADAPTER}",
    )


def _total(record: StepRecord) -> float:
    return next(channel.reward for channel in record.channels if channel.channel == "total")


def _base_name(base: Checkpoint) -> str:
    """What the adapter's config calls its base: a hub id stays one, a local path does not travel."""
    return base.reference.location if base.reference.kind == "hub" else base.reference.kind


@contextmanager
def _training_errors() -> Iterator[None]:
    try:
        yield
    except TrainingError as error:
        raise AuditError(error.problem, where=error.where, fix=error.fix) from error
