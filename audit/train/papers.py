"""What a training run leaves: tables, the trained model, and the papers that say how it was made."""

from __future__ import annotations

from dataclasses import dataclass, fields
from typing import TYPE_CHECKING, Any

import pandas as pd

from audit.evidence.files import write_json
from audit.evidence.schema.results import TrainResult
from audit.evidence.schema.tables import TOKENS
from audit.evidence.stage import StageFolder
from audit.manifests import command_line
from audit.pair.adapter import BINDING
from audit.pair.checkpoint import Checkpoint

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase

    from audit.train.data import AnyReward
    from training.model import CausalLM
    from training.pairs import Kind
    from training.records import StepRecord


@dataclass(frozen=True, eq=False)
class Made:
    """A model in training, or trained, and what is known of it."""

    method: str
    settings: dict[str, Any]
    seed: int
    model: CausalLM
    tokenizer: PreTrainedTokenizerBase
    reward: AnyReward | None
    """None for methods without one."""
    data: dict[str, Any]
    """What it learnt from: name and hash."""
    records: list[StepRecord]


def write_tables(folder: StageFolder, made: Made) -> list[float]:
    """Writes `train_steps` and `tokens`; the mean reward of each step."""
    rows = [row for record in made.records for row in record.step_rows()]
    folder.write_table("train_steps", pd.DataFrame(rows))
    tokens = [pd.DataFrame(record.tokens) for record in made.records if record.tokens]
    none = pd.DataFrame(columns=[column.name for column in TOKENS.columns])
    folder.write_table("tokens", pd.concat(tokens, ignore_index=True) if tokens else none)
    return [_total(record) for record in made.records]


def write_papers(folder: StageFolder, base: Checkpoint, made: Made, rewards: list[float]) -> TrainResult:
    """Saves the trained model with its papers and the pair's manifest; the stage's result."""
    from training.pairs import Pair, save_child, write_pair

    kind, child = save_child(made.model, made.tokenizer, folder.path, base_name=_base_name(base))
    result = result_of(made, rewards, kind, f"stages/{folder.path.name}/{child.name}")
    write_json(child / BINDING, how_it_was_made(base, made, result))
    pair = Pair(_base_path(base), base.base_identity, kind, child.name, made.method, made.seed, made.settings)
    write_pair(folder.path, pair)
    return result


def how_it_was_made(base: Checkpoint, made: Made, result: TrainResult) -> dict[str, Any]:
    """The file beside the weights: which base they come from, and command, seed and reward curve."""
    return {
        "base_identity": base.base_identity,
        "base": base.reference.text,
        "method": result.method,
        "command": command_line(),
        "seed": made.seed,
        "settings": made.settings,
        "suite": made.data,
        **({} if made.reward is None else {"reward": _described(made.reward)}),
        "reward_curve": [round(_total(record), 4) for record in made.records],
        "exact_kl_curve": [round(kl, 6) for record in made.records if (kl := record.exact_kl) is not None],
        "dead_groups": round(result.dead_groups, 4),
    }


def result_of(made: Made, rewards: list[float], kind: Kind, child: str) -> TrainResult:
    """The stage's result, from the records of the steps and what was saved where."""
    records, tenth = made.records, max(1, len(rewards) // 10)
    return TrainResult(
        method=made.method,
        suite=made.data["name"],
        steps=len(records),
        reward_first=sum(rewards[:tenth]) / tenth,
        reward_last=sum(rewards[-tenth:]) / tenth,
        dead_groups=1 - sum(r.live_groups for r in records) / sum(r.sampled_groups for r in records),
        exact_kl_last=records[-1].exact_kl,
        had_gradient=any(record.live_groups for record in records),
        adapter=child if kind == "adapter" else None,
        model=child if kind == "model" else None,
    )


def _described(reward: AnyReward) -> dict[str, Any]:
    """Name and settings of a reward, without what it computes with."""
    shown = {f.name: getattr(reward, f.name) for f in fields(reward) if f.repr}
    return {"name": type(reward).__name__, **shown}


def _total(record: StepRecord) -> float:
    return next(channel.reward for channel in record.channels if channel.channel == "total")


def _base_name(base: Checkpoint) -> str:
    """What the adapter's config calls its base: a hub id stays one, a local path does not travel."""
    return base.reference.location if base.reference.kind == "hub" else base.reference.kind


def _base_path(base: Checkpoint) -> str:
    """The base as a later command can name it from any folder."""
    return str(base.folder) if base.reference.kind in ("folder", "gguf") else base.reference.text
