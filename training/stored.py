"""Batches of rollouts that wait for their turn, as tensors of a checkpoint."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from typing import Any

import torch
from torch import Tensor

from training.collect import Batch, Chunk
from training.records import ChannelReward
from training.types import PromptBatch, Rollout

PENDING = "pending"
"""First part of the tensors' names."""


def pack(batches: Sequence[Batch], rank: int) -> dict[str, Tensor]:
    """The tensors of one process's waiting batches; counts and rewards as JSON in bytes.

    Args:
        batches: in the order of their turns.
        rank: of the process.
    """
    start = f"{PENDING}.{rank}"
    tensors: dict[str, Tensor] = {}
    described = []
    for turn, batch in enumerate(batches):
        for place, chunk in enumerate(batch.chunks):
            tensors |= {f"{start}.{turn}.{place}.{name}": value for name, value in _parts(chunk).items()}
        described.append({
            "group_sizes": [chunk.rollout.group_size for chunk in batch.chunks],
            "channels": [asdict(channel) for channel in batch.channels],
            "sampled_groups": batch.sampled_groups,
            "live_groups": batch.live_groups,
        })  # fmt: skip
    text = json.dumps(described).encode()
    return {**tensors, start: torch.frombuffer(bytearray(text), dtype=torch.uint8)}


def unpack(tensors: Mapping[str, Tensor], rank: int, device: torch.device) -> list[Batch]:
    """The batches that `pack` stored for a process.

    Raises:
        KeyError, ValueError: these tensors hold none of this process.
    """
    start = f"{PENDING}.{rank}"
    described: list[dict[str, Any]] = json.loads(bytes(tensors[start].tolist()))
    return [
        Batch(
            tuple(
                _chunk(tensors, f"{start}.{turn}.{place}.", size, device)
                for place, size in enumerate(batch["group_sizes"])
            ),
            tuple(ChannelReward(**channel) for channel in batch["channels"]),
            batch["sampled_groups"],
            batch["live_groups"],
        )
        for turn, batch in enumerate(described)
    ]


def _parts(chunk: Chunk) -> dict[str, Tensor]:
    rollout = chunk.rollout
    parts = {
        "ids": rollout.prompts.ids,
        "prompt_mask": rollout.prompts.mask,
        "tokens": rollout.tokens,
        "mask": rollout.mask,
        "sampler_logp": rollout.sampler_logp,
        "advantage": chunk.advantage,
        **({} if chunk.returns is None else {"returns": chunk.returns}),
    }
    return {name: value.detach().cpu().contiguous() for name, value in parts.items()}


def _chunk(tensors: Mapping[str, Tensor], start: str, group_size: int, device: torch.device) -> Chunk:
    parts = {
        name.removeprefix(start): value.to(device)
        for name, value in tensors.items()
        if name.startswith(start)
    }
    prompts = PromptBatch(parts["ids"], parts["prompt_mask"])
    rollout = Rollout(prompts, group_size, parts["tokens"], parts["mask"], parts["sampler_logp"])
    return Chunk(rollout, parts["advantage"], parts.get("returns"))
