r"""Training of one SAE against SAELens, sparsify and dictionary_learning on the same stored activations.

One stream (the tuned model's), the same batches, width, k, steps, learning rate schedule and AuxK for all,
and a peak learning rate for each (`RATES`). They take turns of a few steps in one process, so that
a busy machine slows all alike; ratios are medians over turns. The floor is the encoder's product and a top-k,
nothing else: no trainer that computes every pre-activation can be faster.

Run: python benchmarks/trainers.py [--rivals FOLDER] [--tokens 12000] [--layer 15] [--steps 300]
[--latents 4096] [--k 32] [--threads 1] [--clock wall|cpu] [--synthetic] [--stored FILE] [--lr RATE]. Rivals
that are not installed are left out, and it says so. Sparsify and dictionary_learning ask for old versions of
what this project needs new; so put them, without what they ask for, into a folder of their own:

    pip install --target FOLDER --no-deps eai-sparsify dictionary-learning natsort schedulefree einops \\
        simple-parsing docstring-parser
"""

from __future__ import annotations

import argparse
import contextlib
import io
import os
import statistics
import sys
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch
from activations import Data, embedded, synthetic
from dictionaries import race
from rivals import Contestant, Floor, Learning, Lens, Ours, Setting, Sparsify
from safetensors.torch import load_file, save_file
from torch import Tensor

from sae.dictionaries import DictionaryConfig
from sae.dictionaries.coder import centre_and_scale

RATES = {
    "ours, TopK": 4e-3,
    "ours, BatchTopK": 4e-3,
    "SAELens": 4e-3,
    "sparsify": 4e-3,
    "dictionary_learning": 4e-3,
}
"""Peak learning rate of each: of 1e-3, 4e-3 and 8e-3 the one with the best FVE held out after 100 steps."""


def contestants(data: Data, config: DictionaryConfig, lr: float | None) -> dict[str, Any]:
    """All that are installed, each at its learning rate."""
    normal = centre_and_scale(data.train_NMD[:, 1:])
    makers: dict[str, tuple[Callable[[Setting], Any], dict[str, Any]]] = {
        "ours, TopK": (Ours, {"activation": "topk"}),
        "ours, BatchTopK": (Ours, {"activation": "batchtopk"}),
        "SAELens": (Lens, {}),
        "sparsify": (Sparsify, {}),
        "dictionary_learning": (Learning, {}),
    }
    found: dict[str, Any] = {}
    for name, (maker, settings) in makers.items():
        here = replace(config, lr=lr or RATES[name], **settings)
        torch.manual_seed(here.seed)
        try:
            with contextlib.redirect_stdout(io.StringIO()):
                found[name] = maker(Setting(data, here, normal))
        except ImportError as error:
            print(f"{name}: not installed, left out ({error})")
    return found | {"floor": Floor(Setting(data, config, normal))}


def activations(chosen: argparse.Namespace) -> Tensor:
    """x_NMD as asked for: planted, stored by an earlier run, or harvested."""
    if chosen.stored and chosen.stored.is_file():
        return load_file(chosen.stored)["x_NMD"]
    x = synthetic(chosen.tokens) if chosen.synthetic else embedded(chosen.tokens, chosen.layer)
    if chosen.stored:
        save_file({"x_NMD": x.contiguous()}, chosen.stored)
    return x


def measured(contestant: Contestant, x: Tensor) -> str:
    """FVE, L0 and dead share of raw activations [N, D]."""
    with torch.no_grad():
        codes, found = contestant.coded(x)
    fve = 1 - (x - found).square().sum() / (x - x.mean(0)).square().sum()
    on = codes > 0
    return f"{fve:.3f}  {on.sum(1).float().mean():.1f}  {(~on.any(0)).float().mean():.3f}"


def report(
    data: Data, config: DictionaryConfig, racing: dict[str, Any], seconds: dict[str, list[float]]
) -> None:
    """The table."""
    tokens, held_out = len(data.train_NMD), len(data.held_out_NMD)
    print(f"{tokens} tokens, {held_out} held out; {config.steps} steps of {config.batch_size}")
    print(f"{'':<20}{'tokens/s':>9}{'ours is':>9}   FVE, L0, dead: held out | in training")
    for name, contestant in racing.items():
        pairs = zip(seconds[name], seconds["ours, TopK"], strict=True)
        ratio = statistics.median(other / own for other, own in pairs)
        speed = config.batch_size / statistics.median(seconds[name])
        sides = (data.held_out_NMD, data.train_NMD) if name != "floor" else ()
        quality = "  |  ".join(measured(contestant, x[:, 1]) for x in sides)
        print(f"{name:<20}{speed:>9,.0f}{ratio:>8.2f}x   {quality}")


def main() -> None:
    """Prints the table."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    for name, default in (("tokens", 12_000), ("layer", 15), ("steps", 300), ("latents", 4096), ("k", 32)):
        parser.add_argument(f"--{name}", type=int, default=default)
    parser.add_argument("--threads", type=int, default=1, help="threads of torch")
    parser.add_argument("--clock", choices=("wall", "cpu"), default="wall")
    parser.add_argument("--synthetic", action="store_true", help="planted activations, no model")
    parser.add_argument("--rivals", help="folder of packages that are not installed here")
    parser.add_argument("--stored", type=Path, help="safetensors file of the activations; made if missing")
    parser.add_argument("--lr", type=float, help="one peak learning rate for all")
    chosen = parser.parse_args()
    if chosen.rivals:
        sys.path.append(chosen.rivals)
    os.environ["SPARSIFY_DISABLE_TRITON"] = "1"  # its kernels want a GPU
    torch.set_num_threads(chosen.threads)
    x = activations(chosen)
    x = x[torch.randperm(len(x), generator=torch.Generator().manual_seed(0))]
    data = Data(x[len(x) // 8 :], x[: len(x) // 8])
    config = DictionaryConfig(
        kind="shared",
        reads="tuned",
        latents=chosen.latents,
        k=chosen.k,
        k_start=2 * chosen.k,
        steps=chosen.steps,
    )
    racing = contestants(data, config, chosen.lr)
    seconds = race(racing, config.steps, time.perf_counter if chosen.clock == "wall" else time.process_time)
    report(data, config, racing, seconds)


if __name__ == "__main__":
    main()
