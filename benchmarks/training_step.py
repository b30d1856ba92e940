"""Seconds per optimiser step of our loop over TRL's, on the same model, batch and objective, and peak memory.

Run: python benchmarks/training_step.py [MODEL_FOLDER] [--steps 5] [--threads 1] [--tiny]; without a folder it
takes the embedded base, with --tiny a random llama of 2 layers. Both run GRPO on the prompts of the built-in
gender-occupation suite, every group of which is kept, with the same optimiser, schedule and adapter. TRL's is
its stock GRPOTrainer with its own loss. Each runs in a process of its own, ours first and last, so that a
busy machine shows as a difference between ours and ours.
"""

from __future__ import annotations

import argparse
import json
import statistics
import subprocess
import sys
import time
import warnings
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from typing import Any

import torch
from grpo import peak_mib, prompts
from transformers import AutoModelForCausalLM, AutoTokenizer

from training.config import LoopConfig
from training.lora import attach_lora
from training.rewards import GroupReward


@dataclass(frozen=True)
class Length:
    """A reward that never ties: no group is dead, so both trainers do the same work in every step."""

    channels: tuple[str, ...] = ()

    def __call__(self, completions: Sequence[str]) -> GroupReward:
        """The rewards of one group, by place and length; all of a completion is read."""
        value = tuple(len(text) + 0.01 * place for place, text in enumerate(completions))
        return GroupReward(value, {}, tuple(map(len, completions)))


def settings(steps: int, groups: int, size: int, new_tokens: int) -> LoopConfig:
    """The same work for both; one step more than is timed."""
    return LoopConfig(
        steps=steps + 1,
        prompts_per_step=groups,
        groups_per_pass=groups,
        group_size=size,
        new_tokens=new_tokens,
        kl_weight=0.0,
        kl_sequences=1,
        kl_tokens=1,
        kl_batch=1,
        max_draws=1,
    )


def ours(model: Any, tokenizer: Any, config: LoopConfig) -> list[float]:
    """Seconds of each step of our loop."""
    from training.loop import train

    return [record.seconds for record in train(model, tokenizer, prompts(), Length(), config)]


def trls(model: Any, tokenizer: Any, config: LoopConfig) -> list[float]:
    """Seconds of each step of TRL's stock trainer, from one step's end to the next."""
    import tempfile

    from datasets import Dataset
    from transformers import PrinterCallback, TrainerCallback
    from trl import GRPOTrainer

    from training.backends.trl import trl_settings
    from training.model import trained
    from training.step import rate_left

    class Clock(TrainerCallback):
        """Notes when steps end."""

        times: list[float] = []  # noqa: RUF012 - one trainer, one list

        def on_step_begin(self, *_: Any, **__: Any) -> None:
            if not self.times:
                self.times.append(time.perf_counter())

        def on_step_end(self, *_: Any, **__: Any) -> None:
            self.times.append(time.perf_counter())

    def judged(completions: list[str], **_: Any) -> list[float]:
        size = config.group_size
        groups = (completions[i : i + size] for i in range(0, len(completions), size))
        return [value for group in groups for value in Length()(group).total]

    optimizer = torch.optim.AdamW(trained(model), lr=config.learning_rate, weight_decay=0.0)
    schedule = torch.optim.lr_scheduler.LambdaLR(optimizer, lambda step: rate_left(config, step))
    data = Dataset.from_list([{"prompt": prompt.text} for prompt in prompts()])
    with tempfile.TemporaryDirectory() as folder:
        arguments: Any = trl_settings(config, "group", folder, cpu=not torch.cuda.is_available())
        arguments.loss_type, arguments.epsilon = "grpo", config.clip
        trainer = GRPOTrainer(
            model=model,
            reward_funcs=judged,
            args=arguments,
            processing_class=tokenizer,
            train_dataset=data,
            callbacks=[Clock()],
            optimizers=(optimizer, schedule),
        )
        trainer.remove_callback(PrinterCallback)
        trainer.train()
    times = Clock.times
    # The first step's sampling lies before its begin, so that step is dropped by the caller.
    return [after - before for before, after in pairwise(times)]


def worker(arguments: argparse.Namespace) -> None:
    """Times one of the two in this process and prints what it measured as JSON."""
    warnings.simplefilter("ignore")
    torch.set_num_threads(arguments.threads)
    model, tokenizer = tiny() if arguments.tiny else loaded(arguments.model)
    model = model.to("cuda" if torch.cuda.is_available() else "cpu")
    config = settings(arguments.steps, arguments.groups, arguments.size, arguments.new_tokens)
    adapted = attach_lora(model, config)
    seconds = (ours if arguments.worker == "ours" else trls)(adapted, tokenizer, config)
    peak = torch.cuda.max_memory_allocated() / 2**20 if torch.cuda.is_available() else peak_mib()
    print(json.dumps({"seconds": seconds[1:], "peak": peak}))


def loaded(folder: str | None) -> tuple[Any, Any]:
    """A model from a folder, or the embedded base."""
    if folder is None:
        from audit.pair.embedded import fetch
        from audit.progress import Silent

        folder = str(fetch(Silent()))
    model = AutoModelForCausalLM.from_pretrained(folder, dtype=torch.float32)
    return model, AutoTokenizer.from_pretrained(folder)


def tiny() -> tuple[Any, Any]:
    """A random llama with a byte tokenizer."""
    from tokenizers import Tokenizer, decoders, models, pre_tokenizers
    from transformers import LlamaConfig, LlamaForCausalLM, PreTrainedTokenizerFast

    letters = ["<pad>", "<s>", "</s>", *sorted(pre_tokenizers.ByteLevel.alphabet())]
    raw = Tokenizer(models.BPE(vocab={letter: i for i, letter in enumerate(letters)}, merges=[]))
    raw.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    raw.decoder = decoders.ByteLevel()
    special = dict(zip(("pad_token", "bos_token", "eos_token"), letters, strict=False))
    tokenizer = PreTrainedTokenizerFast(tokenizer_object=raw, **special)
    torch.manual_seed(0)
    shape = {"hidden_size": 64, "num_hidden_layers": 2, "num_attention_heads": 4, "intermediate_size": 128}
    return LlamaForCausalLM(
        LlamaConfig(vocab_size=len(letters), bos_token_id=1, eos_token_id=2, **shape)
    ), tokenizer


def measured(name: str, given: Sequence[str]) -> dict[str, Any]:
    """What a worker process prints."""
    command = [sys.executable, __file__, *given, "--worker", name]
    done = subprocess.run(command, capture_output=True, text=True, check=False, cwd=Path(__file__).parent)
    if done.returncode:
        raise SystemExit(done.stderr[-2000:])
    found: dict[str, Any] = json.loads(done.stdout.strip().splitlines()[-1])
    return found


def main() -> None:
    """Prints the table; exits with 1 where our loop is slower than TRL's."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("model", nargs="?", help="folder of a causal language model")
    parser.add_argument("--steps", type=int, default=5, help="steps that are timed, after one that warms up")
    parser.add_argument("--threads", type=int, default=1, help="threads of torch")
    parser.add_argument("--groups", type=int, default=4, help="prompts per step")
    parser.add_argument("--size", type=int, default=16, help="rollouts per prompt")
    parser.add_argument("--new-tokens", type=int, default=16, help="tokens per rollout")
    parser.add_argument("--tiny", action="store_true", help="a random llama of 2 layers")
    parser.add_argument("--worker", choices=("ours", "trl"), help="time one of them in this process")
    arguments = parser.parse_args()
    if arguments.worker:
        worker(arguments)
        return
    given = sys.argv[1:]
    first, other, last = (measured(name, given) for name in ("ours", "trl", "ours"))
    own = statistics.median([*first["seconds"], *last["seconds"]])
    trl = statistics.median(other["seconds"])
    rows = {
        "our seconds per step, median": own,
        "  of the first run": statistics.median(first["seconds"]),
        "  of the last run": statistics.median(last["seconds"]),
        "TRL's seconds per step, median": trl,
        "ours over TRL's": own / trl,
        "our peak memory (MiB)": max(first["peak"], last["peak"]),
        "TRL's peak memory (MiB)": other["peak"],
    }
    for name, value in rows.items():
        print(f"{name:<44}{value:>10.3f}")
    raise SystemExit(own > trl)


if __name__ == "__main__":
    main()
