"""The directions that a bypass tried, kept in one file so that others can try them again."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import torch
from safetensors.torch import load_file, save_file

from audit.causal.arms import Arm
from audit.causal.residual_edits import Steering


def save_steering(arms: Sequence[Arm], path: Path) -> None:
    """Writes the directions of all arms that have one."""
    tensors = {}
    for arm in arms:
        steering = arm.whole.steering
        if steering is not None:
            tensors[f"{arm.set}/direction"] = steering.direction.detach().float().cpu().contiguous()
            tensors[f"{arm.set}/layer"] = torch.tensor(steering.layer)
            for part in ("centre", "write"):
                if (tensor := getattr(steering, part)) is not None:
                    tensors[f"{arm.set}/{part}"] = tensor.detach().float().cpu().contiguous()
    save_file(tensors, path)


def load_steering(path: Path) -> dict[str, Steering]:
    """The directions of a file by the name of their set; none where there is no file."""
    tensors = load_file(path) if path.is_file() else {}
    sets = [name.removesuffix("/direction") for name in tensors if name.endswith("/direction")]
    return {
        name: Steering(
            int(tensors[f"{name}/layer"]),
            tensors[f"{name}/direction"],
            tensors.get(f"{name}/centre"),
            tensors.get(f"{name}/write"),
        )
        for name in sets
    }
