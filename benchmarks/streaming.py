"""From text to a trained SAE, without a disk in between: ours against SAELens's runner, on one tiny model.

The model is random, four blocks of width 128, read after the second; the text is random tokens from a small
Markov chain, in contexts of 128. SAELens's runner reads every context once. Ours reads both sides of a pair
(here the same model twice) and trains on both, so it is given half the contexts: passes of the model,
activations, width, k, steps and learning rate schedule are equal, and so is about what the shuffling buffers
hold. Each runs whole, in turn; the time includes everything but the making of the model. With `--more 1.1`
ours takes a tenth more steps, and as much more text: the time then compares what both need to reach the same
FVE, if that is what they print.

Run: python benchmarks/streaming.py [--steps 200] [--latents 8192] [--k 32] [--repeats 3] [--threads 1]
[--clock wall|cpu] [--more 1.0]
"""

from __future__ import annotations

import argparse
import contextlib
import io
import logging
import statistics
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from typing import Any

import torch
from torch import Tensor
from transformers import AutoModelForCausalLM, LlamaConfig

from sae.buffer import ShuffleBuffer
from sae.dictionaries import DictionaryConfig, train_dictionary
from sae.harvest import harvest
from sae.types import Document

LAYER, CONTEXT, BATCH, VOCABULARY = 1, 128, 512, 4096
BUFFERED = 64
"""Contexts that the buffers hold."""


class OneModel:
    """A pair whose sides are the same model."""

    def __init__(self, model: Any) -> None:
        self._model = model

    @contextmanager
    def model(self, side: str) -> Iterator[Any]:
        """Always the one."""
        yield self._model


def tiny_model() -> Any:
    """Random weights."""
    torch.manual_seed(0)
    shape = {"hidden_size": 128, "intermediate_size": 512, "num_hidden_layers": 4, "vocab_size": VOCABULARY}
    config = LlamaConfig(num_attention_heads=4, num_key_value_heads=4, **shape)
    return AutoModelForCausalLM.from_config(config).eval().requires_grad_(False)


def contexts(count: int) -> Tensor:
    """Token ids [count, CONTEXT]: each token has 32 successors."""
    g = torch.Generator().manual_seed(1)
    successors = torch.randint(2, VOCABULARY, (VOCABULARY, 32), generator=g)
    ids = torch.randint(2, VOCABULARY, (count, 1), generator=g)
    for _ in range(CONTEXT - 1):
        which = torch.randint(32, (count,), generator=g)
        ids = torch.cat([ids, successors[ids[:, -1], which][:, None]], 1)
    return ids


def ours(model: Any, ids: Tensor, held_out: Tensor, config: DictionaryConfig) -> float:
    """Harvest, ring buffer and trainer; FVE on tokens kept from training."""

    def documents(rows: Tensor) -> list[Document]:
        return [Document(tuple(row), ("none",) * CONTEXT, f"{i}") for i, row in enumerate(rows.tolist())]

    def stream(epoch: int) -> Iterator[Tensor]:
        read = harvest(OneModel(model), documents(ids[: len(ids) // 2]), [LAYER], batch_size=16)
        shuffled = ShuffleBuffer(read, capacity=BUFFERED * CONTEXT // 2, batch_size=BATCH // 2, seed=epoch)
        return (piece.x_NLMD[:, 0] for piece in shuffled)

    def kept() -> Iterator[Tensor]:
        read = harvest(OneModel(model), documents(held_out), [LAYER], batch_size=16)
        return (piece.x_NLMD[:, 0] for piece in read)

    found = train_dictionary(stream, config, held_out=kept)
    return float(found.health.fve[0] or 0)


def saelens(model: Any, ids: Tensor, held_out: Tensor, config: DictionaryConfig) -> float:
    """The runner; FVE on the same tokens."""
    from datasets import Dataset
    from sae_lens import (
        LanguageModelSAERunnerConfig,
        LanguageModelSAETrainingRunner,
        LoggingConfig,
        TopKTrainingSAEConfig,
        logger,
    )
    from sae_lens.load_model import HookedProxyLM

    logger.setLevel(logging.ERROR)
    hook = f"model.layers.{LAYER}"
    settings: Any = LanguageModelSAERunnerConfig(
        sae=TopKTrainingSAEConfig(d_in=128, d_sae=config.latents, k=config.k),
        model_name="tiny",
        model_class_name="AutoModelForCausalLM",
        hook_name=hook,
        context_size=CONTEXT,
        prepend_bos=False,
        streaming=False,
        n_batches_in_buffer=BUFFERED,
        store_batch_size_prompts=16,
        train_batch_size_tokens=BATCH,
        training_tokens=config.steps * BATCH,
        lr=config.lr,
        lr_warm_up_steps=round(config.warm_up * config.steps),
        lr_decay_steps=round(config.decay * config.steps),
        lr_end=config.lr,
        dead_feature_window=config.dead_after // BATCH,
        logger=LoggingConfig(log_to_wandb=False),
        checkpoint_path=None,
        output_path=None,
        verbose=False,
    )
    hooked: Any = HookedProxyLM(model, _Tokens(), hook_names=[hook])
    data = Dataset.from_dict({"input_ids": ids.tolist()})
    runner: Any = LanguageModelSAETrainingRunner(settings, override_dataset=data, override_model=hooked)
    sae = runner.run()
    (_, cache) = hooked.run_with_cache(held_out, names_filter=[hook])
    x = cache[hook][:, 1:].flatten(0, 1)  # the first positions are no part of our health either
    with torch.no_grad():
        missed = (x - sae(x)).square().sum()
    return float(1 - missed / (x - x.mean(0)).square().sum())


class _Tokens:
    """What SAELens asks of a tokenizer when the text is tokens already."""

    bos_token_id = eos_token_id = sep_token_id = pad_token_id = 1
    all_special_ids: tuple[int, ...] = ()
    name_or_path = "tiny"


def main() -> None:
    """Prints the table."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    for name, default in (("steps", 200), ("latents", 8192), ("k", 32), ("repeats", 3), ("threads", 1)):
        parser.add_argument(f"--{name}", type=int, default=default)
    parser.add_argument("--clock", choices=("wall", "cpu"), default="wall")
    parser.add_argument("--more", type=float, default=1.0, help="ours takes so many times the steps")
    chosen = parser.parse_args()
    torch.set_num_threads(chosen.threads)
    clock = time.perf_counter if chosen.clock == "wall" else time.process_time
    config = DictionaryConfig(
        kind="shared", activation="topk", latents=chosen.latents, k=chosen.k, steps=chosen.steps,
        batch_size=BATCH, calibration=BUFFERED * CONTEXT // 2,
    )  # fmt: skip
    longer = replace(config, steps=round(chosen.more * config.steps))
    all_ids = contexts(2 * (max(config.steps, longer.steps) * BATCH // CONTEXT) + 32)
    report(all_ids[:-32], all_ids[-32:], config, longer, chosen.repeats, clock)


def report(
    ids: Tensor,
    held_out: Tensor,
    config: DictionaryConfig,
    longer: DictionaryConfig,
    repeats: int,
    clock: Callable[[], float],
) -> None:
    """Both in turn, the first round left out; ours by the second configuration."""
    ways: dict[str, tuple[Callable[..., float], DictionaryConfig]] = {
        "ours": (ours, longer),
        "SAELens's runner": (saelens, config),
    }
    seconds: dict[str, list[float]] = {name: [] for name in ways}
    fve = {}
    for repeat in range(repeats + 1):
        for name, (way, steps) in ways.items():
            model = tiny_model()
            start = clock()
            with contextlib.redirect_stderr(io.StringIO()), contextlib.redirect_stdout(io.StringIO()):
                fve[name] = way(model, ids, held_out, steps)
            if repeat:
                seconds[name].append(clock() - start)
    print(f"{config.latents} latents, k {config.k}; one process; seconds of a whole run")
    print(f"{'':<18}{'activations':>12}{'per second':>12}{'seconds':>9}{'ours is':>9}   FVE held out")
    for name in ways:
        ratio = statistics.median(b / a for a, b in zip(seconds["ours"], seconds[name], strict=True))
        took = statistics.median(seconds[name])
        activations = ways[name][1].steps * BATCH
        speed = activations / took
        print(f"{name:<18}{activations:>12,}{speed:>12,.0f}{took:>9.1f}{ratio:>8.2f}x   {fve[name]:.3f}")


if __name__ == "__main__":
    main()
