"""`audit train dpo | reward-model | sft`: short runs that learn from pairs of completions."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator
from dataclasses import dataclass, replace
from functools import partial
from itertools import product
from pathlib import Path
from typing import TYPE_CHECKING, Any

from audit.behaviours.chat import render_chat
from audit.behaviours.load import load_suite
from audit.behaviours.suite import Suite
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
from audit.train.config import TrainPreferencesConfig
from audit.train.errors import training_errors
from audit.train.papers import Made, result_of, write_papers, write_tables
from audit.train.run import STAGE

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase

    from training.preferences import PreferencePair
    from training.records import StepRecord

REWARD = "reward"
"""Folder of a reward model inside its stage."""


@dataclass(frozen=True)
class Lesson:
    """Everything that a run on preference pairs starts from."""

    config: TrainPreferencesConfig
    base: Checkpoint
    source: Suite | Path
    data: dict[str, Any]
    progress: Progress


def run_preferences(config: TrainPreferencesConfig, progress: Progress) -> RunFolder:
    """Trains on preference pairs and returns the run folder that holds the result.

    Raises:
        AuditError: something is wrong that the user can mend; nothing half-written stays behind.
    """
    lesson = _prepare(config, progress)
    config, asked = lesson.config, lesson.config.resolved()
    path = Path(config.out) if config.out else default_out(asked, config.objective, config.base)
    manifest = new_manifest(
        "train",
        base=lesson.base,
        tuned=None,
        dtype=config.dtype,
        device=config.device,
        seed=config.seed,
        data={lesson.data["name"]: lesson.data["sha256"]},
    )
    inputs = {"base": lesson.base.identity, "data": lesson.data["sha256"], "versions": versions(), **asked}
    with writing_run(path, manifest, to_toml(asked)) as run, memory_errors():
        run_stage(run, STAGE, inputs, partial(_train, lesson))
        run.write_claims(train_claims(run))
    return run


def _prepare(config: TrainPreferencesConfig, progress: Progress) -> Lesson:
    from audit.pair.load import choose_device, choose_dtype, name_of

    base = resolve(config.base, LoadOptions(config.allow_pickle, config.trust_remote_code), progress)
    if base.adapter is not None:
        fix = "merge it into the weights first, or leave it out"
        raise UsageError("The base already has an adapter.", where=config.base, fix=fix)
    device = choose_device(config.device)
    dtype = name_of(choose_dtype(config.dtype, base.stored_dtype, device))
    source = Path(config.pairs) if config.pairs else load_suite(config.suite)
    if isinstance(source, Suite):
        data = {"name": source.card.name, "sha256": source.sha256, "split": "train"}
    else:
        data = {"name": source.name, "sha256": hashlib.sha256(_read(source)).hexdigest()}
        pairs_of_file(source)
    settled = replace(config, device=str(device), dtype=dtype)
    return Lesson(settled, base, source, data, progress)


def _train(lesson: Lesson, folder: StageFolder) -> TrainResult:
    """Runs the short loop; a killed run begins again."""
    with training_errors():
        made, steps, save = _begin(lesson, folder)
        title = f"Training: {lesson.config.objective}"
        with lesson.progress.task(title, lesson.config.steps) as advance:
            for record in steps:
                made.records.append(record)
                advance(1)
    with output_errors(folder.path):
        result: TrainResult = save(write_tables(folder, made))
    return result


def _begin(lesson: Lesson, folder: StageFolder) -> tuple[Made, Iterator[StepRecord], Any]:
    """The model, the steps that will train it, and how it is saved."""
    from audit.pair.load import load_single
    from training.dpo import train_dpo, train_sft
    from training.lora import attach_lora
    from training.model import CausalLM, unfreeze
    from training.reward_model import RewardModel, save_reward, train_reward

    config, method = lesson.config, lesson.config.method()
    options = LoadOptions(config.allow_pickle, config.trust_remote_code)
    with lesson.progress.task("Loading the model"):
        loaded = load_single(lesson.base, dtype=config.dtype, device=config.device, options=options)
    pairs = _pairs(lesson.source, loaded.tokenizer, config.form)
    model: CausalLM = unfreeze(loaded.model) if config.tune == "full" else attach_lora(loaded.model, method)
    made = Made(
        config.objective, config.resolved(), config.seed, model, loaded.tokenizer, None, lesson.data, []
    )
    if config.objective != "reward-model":
        learn = train_dpo if config.objective == "dpo" else train_sft
        steps = learn(model, loaded.tokenizer, pairs, method)
        return made, steps, partial(write_papers, folder, lesson.base, made)
    reward = RewardModel(model, config.seed)

    def save(values: list[float]) -> TrainResult:
        save_reward(reward, loaded.tokenizer, folder.path / REWARD)
        return result_of(made, values, "model", f"stages/{folder.path.name}/{REWARD}")

    return made, train_reward(reward, loaded.tokenizer, pairs, method), save


def _pairs(source: Suite | Path, tokenizer: PreTrainedTokenizerBase, form: str) -> list[PreferencePair]:
    return pairs_of_suite(source, tokenizer, form) if isinstance(source, Suite) else pairs_of_file(source)


def pairs_of_suite(suite: Suite, tokenizer: PreTrainedTokenizerBase, form: str) -> list[PreferencePair]:
    """Each continuation that does not show the behaviour, preferred to each that does, in the training half.

    Raises:
        UsageError: there is no such item in this form for this model.
    """
    from training.preferences import PreferencePair
    from training.types import Prompt

    template = tokenizer.chat_template if isinstance(tokenizer.chat_template, str) else None
    found: list[PreferencePair] = []
    for item in (item for item in suite.items if item.split == "train"):
        prompts = [Prompt(item.id, item.prompt)] if form in ("plain", "both") and item.prompt else []
        if form in ("chat", "both") and template and item.messages:
            prompts.append(Prompt(item.id, render_chat(tokenizer, item.messages, template), rendered=True))
        found += [
            PreferencePair(prompt, chosen, rejected)
            for prompt, chosen, rejected in product(prompts, item.not_showing, item.showing)
        ]
    if not found:
        raise UsageError(
            f"The suite has no training prompts in {form} form for this model.",
            where=f"suite {suite.card.name!r}",
            fix="choose another --form, or a suite with items of split 'train'",
        )
    return found


def pairs_of_file(path: Path) -> list[PreferencePair]:
    """The pairs of a JSONL file: one object per line with the texts prompt, chosen and rejected.

    Raises:
        UsageError: the file is missing or empty, or a line is no such object.
    """
    from training.preferences import PreferencePair
    from training.types import Prompt

    found = []
    for number, line in enumerate(_read(path).decode("utf-8", errors="replace").splitlines(), 1):
        try:
            values = json.loads(line)
            texts = [values[name] for name in ("prompt", "chosen", "rejected")]
            if not all(isinstance(text, str) for text in texts):
                raise TypeError("not a text")
        except (ValueError, KeyError, TypeError, RecursionError) as error:
            fix = 'write {"prompt": "...", "chosen": "...", "rejected": "..."} on every line'
            raise UsageError("A preference pair is malformed.", where=f"{path}:{number}", fix=fix) from error
        found.append(PreferencePair(Prompt(f"line {number}", texts[0]), texts[1], texts[2]))
    if not found:
        raise UsageError("The file has no preference pairs.", where=str(path), fix="write one per line")
    return found


def _read(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except OSError as error:
        raise UsageError("The pairs cannot be read.", where=str(path), fix="check the path") from error
