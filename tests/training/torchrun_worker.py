"""What each of several processes does in `test_torchrun.py`; started by torchrun, not by pytest."""

from __future__ import annotations

import atexit
import json
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from transformers import AutoModelForCausalLM, AutoTokenizer

from training.collect import Batch, Source, collect
from training.config import LoopConfig
from training.loop import train
from training.lora import attach_lora
from training.model import trained
from training.policy import make_policy, reference_texts
from training.reference import make_reference
from training.registry import ADVANTAGES, OBJECTIVES
from training.rewards import GroupReward
from training.step import Learner, _backward_kl, backward_surrogate
from training.team import ALONE, Accelerated, Team
from training.types import Prompt

PROMPTS = tuple(Prompt(word, f"the {word}") for word in ("nurse", "doctor", "engineer", "vote"))
CONFIG = LoopConfig(
    steps=4, prompts_per_step=4, group_size=8, new_tokens=3, learning_rate=0.02, kl_weight=0.3,
    kl_sequences=4, kl_tokens=6, save_every=2, staleness=1, lora_targets=("q_proj", "lm_head"),
)  # fmt: skip


@dataclass(frozen=True)
class Spaces:
    """1 for a completion with a space, decided there: rollouts of several lengths."""

    channels: tuple[str, ...] = ("space",)

    def __call__(self, completions: Sequence[str]) -> GroupReward:
        value = tuple(float(" " in text) for text in completions)
        decided = tuple(text.index(" ") + 1 if " " in text else len(text) for text in completions)
        return GroupReward(value, {"space": value}, decided)


def policy_of(folder: Path) -> tuple[Any, Any]:
    model = AutoModelForCausalLM.from_pretrained(folder, dtype=torch.float32)
    return attach_lora(model, CONFIG), AutoTokenizer.from_pretrained(folder)


def gradient(model: Any, batch: Batch, method: str, texts: torch.Tensor, team: Team) -> torch.Tensor:
    """The gradient of a step, after the team has added theirs."""
    model.zero_grad(set_to_none=True)
    choices = torch.Generator().manual_seed(1)
    reference = make_reference(model, texts, 2)
    optimizer = torch.optim.AdamW(trained(model))
    learner = Learner(model, OBJECTIVES.make(method), optimizer, reference, choices, CONFIG, team=team)
    backward_surrogate(learner, batch, 0)
    _backward_kl(learner)
    team.add_gradients(trained(model))
    return torch.cat([parameter.grad.flatten() for parameter in trained(model)])


def main() -> None:
    base, out = Path(sys.argv[1]), Path(sys.argv[2])
    torch.set_num_threads(1)
    # One write, so that the two processes' lines never mix.
    atexit.register(lambda: print(f"in a group at its end: {torch.distributed.is_initialized()}\n", end=""))
    team = Accelerated(cpu=True)
    found: dict[str, Any] = {"size": team.size}
    model, tokenizer = policy_of(base)
    policy = make_policy(model, tokenizer)
    choices, sampling = torch.Generator().manual_seed(0), torch.Generator().manual_seed(team.rank)
    given = (policy, PROMPTS, Spaces(), ADVANTAGES.make("group"), CONFIG, choices, sampling)
    mine = collect(Source(*given, team=team))
    chunks = [chunk for part in team.gather(mine.chunks) for chunk in part]
    whole = Batch(tuple(chunks), mine.channels, mine.sampled_groups, mine.live_groups)
    texts = reference_texts(policy, CONFIG)
    found["gap"] = {}
    for method in ("grpo", "dapo", "dr_grpo"):
        together, alone = (
            gradient(model, mine, method, texts, team),
            gradient(model, whole, method, texts, ALONE),
        )
        found["gap"][method] = ((together - alone).abs().max() / alone.abs().max()).item()
    found["prompts"] = [len(chunk.rollout.prompts.ids) for chunk in chunks]

    digests = {}
    for name, folder in (("straight", None), ("resumed", out / "run"), ("resumed again", out / "run")):
        model, tokenizer = policy_of(base)
        steps = train(
            model, tokenizer, PROMPTS, Spaces(), CONFIG, objective=OBJECTIVES.make("dapo"),
            checkpoint=folder, team=team,
        )  # fmt: skip
        records = []
        for record in steps:
            records.append(record)
            if name == "resumed" and record.step == 1:
                break
        if name != "resumed":
            values = torch.cat([parameter.detach().flatten() for parameter in trained(model)])
            everyone = team.gather(values)
            found[f"apart, {name}"] = max((values - other).abs().max().item() for other in everyone)
            digests[name] = values
            found[f"rollouts, {name}"] = len(set(records[0].tokens["rollout"].tolist()))
            found[f"losses, {name}"] = [record.loss for record in records]
    found["resume"] = bool(torch.equal(digests["straight"], digests["resumed again"]))
    found["steps"] = len(records)
    if team.rank == 0:
        (out / "found.json").write_text(json.dumps(found))


if __name__ == "__main__":
    main()
