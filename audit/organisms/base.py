"""Trains the tiny base model of a world, in well under a minute on one core."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch
import transformers as _transformers
from torch import nn

from audit.organisms.manifest import BASE, Organism, write_manifest
from audit.organisms.text import Text
from audit.organisms.tokenizer import make_tokenizer
from audit.organisms.world import World
from audit.pair.quiet import quiet
from audit.progress import Advance

transformers: Any = _transformers
"""Untyped in parts."""
STEPS, ROWS, RATE = 480, 48, 5e-3
WIDTH, LAYERS, HEADS = 64, 3, 4
GATED = {
    "hidden_size": WIDTH, "num_attention_heads": HEADS,
    "num_key_value_heads": HEADS, "head_dim": WIDTH // HEADS, "intermediate_size": 2 * WIDTH,
    "max_position_embeddings": 256, "tie_word_embeddings": False,
}  # fmt: skip
ARCHITECTURES: dict[str, tuple[str, dict[str, Any]]] = {
    "llama": ("LlamaConfig", GATED),
    "qwen3": ("Qwen3Config", GATED),
    "gemma3": ("Gemma3TextConfig", {**GATED, "sliding_window": 64}),
    "gpt2": ("GPT2Config", {
        "n_embd": WIDTH, "n_head": HEADS, "n_inner": 2 * WIDTH, "n_positions": 256,
        "resid_pdrop": 0.0, "embd_pdrop": 0.0, "attn_pdrop": 0.0, "tie_word_embeddings": False,
    }),
}  # fmt: skip
"""Architecture -> transformers' config class and its fields."""


def train_base(
    world: World,
    folder: Path,
    *,
    architecture: str = "llama",
    layers: int = LAYERS,
    chat: bool = False,
    steps: int = STEPS,
    progress: Advance = lambda done: None,
    **config: Any,
) -> Organism:
    """Trains a model from scratch on the world's text and saves it with its tokenizer and manifest.

    Args:
        world: its seed is the model's, too: the same world gives the same weights on the same machine.
        folder: new; gets an ordinary transformers checkpoint.
        architecture: a key of `ARCHITECTURES`.
        layers: blocks.
        chat: whether it also learns turns of a chat and its tokenizer has a chat template.
        steps: optimiser steps.
        progress: called after each step.
        config: fields of the architecture's config to change.

    Raises:
        KeyError: the architecture is not known.
    """
    tokenizer = make_tokenizer(world, chat=chat)
    model = new_model(architecture, tokenizer, world.seed, layers=layers, **config)
    learn(model, Text(world, tokenizer, seed=0, chat=chat), steps=steps, rate=RATE, progress=progress)
    organism = Organism(
        kind=BASE, world_seed=world.seed, people=len(world.people), seed=world.seed,
        architecture=architecture, layers=int(model.config.num_hidden_layers),
    )  # fmt: skip
    return save(model, tokenizer, folder, organism)


def new_model(architecture: str, tokenizer: Any, seed: int, *, layers: int = LAYERS, **config: Any) -> Any:
    """A tiny model with random weights that the seed gives; random state elsewhere is left alone."""
    name, fields = ARCHITECTURES[architecture]
    ids = {key: getattr(tokenizer, key) for key in ("bos_token_id", "eos_token_id", "pad_token_id")}
    depth = {"n_layer" if architecture == "gpt2" else "num_hidden_layers": layers}
    chosen = {"vocab_size": len(tokenizer), "initializer_range": 0.05, **ids, **fields, **depth, **config}
    with quiet(), torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        return transformers.AutoModelForCausalLM.from_config(getattr(transformers, name)(**chosen))


def learn(
    model: Any,
    text: Text,
    *,
    steps: int,
    rate: float,
    rows: int = ROWS,
    progress: Advance = lambda done: None,
) -> None:
    """Ordinary next-token training of all weights, in place: AdamW, warm-up and decay to zero."""
    optimiser = torch.optim.AdamW(model.parameters(), lr=rate, weight_decay=0.01, betas=(0.9, 0.98))
    schedule = torch.optim.lr_scheduler.LambdaLR(optimiser, lambda step: _shape(step / steps))
    padding = model.config.pad_token_id
    model.train()
    for _ in range(steps):
        ids = text.batch(rows)
        logits = model(
            input_ids=ids[:, :-1], attention_mask=(ids[:, :-1] != padding).long(), use_cache=False
        ).logits
        loss: Any = nn.functional.cross_entropy(
            logits.flatten(0, 1), ids[:, 1:].flatten(), ignore_index=padding
        )
        optimiser.zero_grad()
        loss.backward()
        nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimiser.step()
        schedule.step()
        progress(1)
    model.eval()


def _shape(done: float) -> float:
    """Learning rate over its peak: linear up over the first tenth (not from zero), linear down to nothing."""
    return 0.1 + 9 * done if done < 0.1 else (1 - done) / 0.9


def save(model: Any, tokenizer: Any, folder: Path, organism: Organism) -> Organism:
    """An ordinary checkpoint with the organism's manifest, which is written last."""
    with quiet():
        model.save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    write_manifest(folder, organism)
    return organism


def load(folder: Path) -> tuple[Any, Any]:
    """A saved organism's model, in eval mode, and its tokenizer."""
    with quiet():
        model = transformers.AutoModelForCausalLM.from_pretrained(folder).eval()
        return model, transformers.AutoTokenizer.from_pretrained(folder)
