"""A crosscoder of two models, in one process or in several.

Run: python examples/train_dictionary.py ACTIVATIONS FOLDER
     torchrun --nproc-per-node 2 examples/train_dictionary.py ACTIVATIONS FOLDER

ACTIVATIONS is a safetensors file with `x_NMD`, [tokens, 2 models, width]. Killed and started again, also with
another number of processes (--accumulate has to make up for it), it goes on from FOLDER's checkpoint.
"""

from __future__ import annotations

import argparse
import os
from collections.abc import Iterator
from pathlib import Path

import torch
from safetensors.torch import load_file
from torch import Tensor, distributed

from sae.dictionaries import DictionaryConfig, save, train_dictionary


def main() -> None:
    """Trains, and writes the dictionary in SAELens's layout."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("activations", type=Path)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--accumulate", type=int, default=1)
    parser.add_argument("--steps", type=int, default=300)
    parser.add_argument("--latents", type=int, default=1024)
    asked = parser.parse_args()
    if "RANK" in os.environ:
        distributed.init_process_group("nccl" if torch.cuda.is_available() else "gloo")
    x_NMD = load_file(asked.activations)["x_NMD"]

    def epoch(number: int) -> Iterator[Tensor]:
        order = torch.randperm(len(x_NMD), generator=torch.Generator().manual_seed(number))
        return iter(x_NMD[order].split(4096))

    device = f"cuda:{os.environ.get('LOCAL_RANK', 0)}" if torch.cuda.is_available() else "cpu"
    config = DictionaryConfig(
        latents=asked.latents, steps=asked.steps, accumulate=asked.accumulate, device=device
    )
    trained = train_dictionary(epoch, config, checkpoint=asked.folder / "training.safetensors")
    if not distributed.is_initialized() or distributed.get_rank() == 0:
        save(trained.dictionary, asked.folder)
        print(trained.health)
    if distributed.is_initialized():
        distributed.destroy_process_group()


if __name__ == "__main__":
    main()
