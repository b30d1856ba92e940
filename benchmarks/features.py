"""Time of the latent-scaling pass over that of the harvest it reads, and of a dense twin, in one run.

The pass gathers rates, means, latent scaling of three targets from both sides and the sums of shuffled labels
in one go; the dense twin computes the betas of the error and the reconstruction alone, with F x N products.
Pool by pool all three take turns, so that a busy machine slows all alike; ratios are medians over pools.

Run: python benchmarks/features.py [--documents 48] [--layer 15] [--latents 1024] [--k 32] [--clock wall|cpu]
"""

from __future__ import annotations

import argparse
import statistics
import time
from collections.abc import Callable, Iterator
from typing import Any, NamedTuple

import torch
from rich.console import Console
from rich.table import Table
from torch import Tensor

from audit.corpora import shipped_sample
from audit.pair.checkpoint import LoadOptions, resolve
from audit.pair.load import ModelPair, open_pair
from sae.dictionaries import Crosscoder, Weights
from sae.features import latent_scaling, latent_statistics
from sae.harvest import harvest
from sae.records import jsonl_records
from sae.types import Document, PairedActivations

CHUNK = 8
"""Documents per turn."""


def random_crosscoder(x_NMD: Tensor, latents: int, k: int) -> Crosscoder:
    """Random directions, with the threshold at which k latents are active per token."""
    generator = torch.Generator().manual_seed(0)
    rows = torch.randn(latents, 1, x_NMD.shape[-1], generator=generator).repeat(1, 2, 1)
    rows = rows / rows.norm(dim=-1, keepdim=True)
    mean = x_NMD.float().mean(0)
    bias = -(rows * mean).sum((1, 2))
    pre = x_NMD[:512].float().flatten(1) @ rows.flatten(1).T + bias
    threshold = pre.flatten().topk(int(k * len(pre))).values[-1].clamp(min=1e-3)
    return Crosscoder(Weights(rows, bias, threshold.repeat(latents), rows, mean))


def dense_twin(piece: PairedActivations, dictionary: Crosscoder) -> Tensor:
    """Betas of error and reconstruction from both sides, every latent on every token."""
    x = piece.x_NLMD[:, 0].float()
    codes = dictionary.encode(x)
    f, decoded, d = codes[:, 0], dictionary.decode(codes), dictionary.decoder_FMD
    own, squares = d.square().sum(-1), f.square().sum(0)
    betas = []
    for y in (x - decoded, decoded - dictionary.bias_MD):
        seen = torch.stack([(f * (y[:, m] @ d[:, p].T)).sum(0) for p in range(2) for m in range(2)], -1)
        betas.append(seen.view(-1, 2, 2) / (own * squares[:, None]).clamp(min=1e-12)[:, :, None])
    return torch.stack(betas)


class Turn(NamedTuple):
    """Seconds for the same tokens."""

    tokens: int
    harvest: float
    scaling: float
    dense: float


def turns(pair: ModelPair, documents: list[Document], options: argparse.Namespace) -> Iterator[Turn]:
    """One turn per few documents; the first warms up and is not counted."""
    clock = time.perf_counter if options.clock == "wall" else time.process_time
    dictionary: Crosscoder | None = None
    for number, start in enumerate(range(0, len(documents), CHUNK)):
        part = documents[start : start + CHUNK]
        begun = clock()
        pieces = list(harvest(pair, part, [options.layer]))
        harvested = clock() - begun
        dictionary = dictionary or random_crosscoder(pieces[0].x_NLMD[:, 0], options.latents, options.k)
        scaling = _timed(clock, latent_scaling_pass, pieces, dictionary)
        dense = _timed(clock, lambda p, d: [dense_twin(piece, d) for piece in p], pieces, dictionary)
        if number:
            yield Turn(sum(len(p.x_NLMD) for p in pieces), harvested, scaling, dense)


def latent_scaling_pass(pieces: list[PairedActivations], dictionary: Crosscoder) -> Any:
    """What the stage does with every token."""
    return latent_scaling(latent_statistics(iter(pieces), dictionary, joint=True))


def _timed(clock: Callable[[], float], work: Callable[..., Any], *arguments: Any) -> float:
    begun = clock()
    with torch.no_grad():
        work(*arguments)
    return clock() - begun


def main() -> None:
    """Runs the turns and prints medians."""
    parser = argparse.ArgumentParser(description=__doc__)
    for name, default in (("documents", 48), ("layer", 15), ("latents", 1024), ("k", 32), ("threads", 1)):
        parser.add_argument(f"--{name}", type=int, default=default)
    parser.add_argument("--clock", choices=("wall", "cpu"), default="wall")
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    records = jsonl_records(shipped_sample().decode(), "shipped")
    documents = [Document(tuple(r.tokens.ids), tuple(r.tokens.roles), r.where) for r in records if r.tokens][
        : options.documents
    ]
    base, tuned = (resolve(name, LoadOptions()) for name in ("embedded:base", "embedded:tuned"))
    with open_pair(base, tuned, dtype="float32", device="cpu") as pair:
        found = list(turns(pair, documents, options))
    tokens, harvested = sum(t.tokens for t in found), sum(t.harvest for t in found)
    table = Table(title=f"{tokens} tokens, {options.latents} latents, k = {options.k}, {options.clock} clock")
    for column in ("", "tokens/s", "share of the harvest's time (median)"):
        table.add_column(column, justify="right")
    table.add_row("harvest, both models", f"{tokens / harvested:.0f}", "1")
    for name in ("scaling", "dense"):
        seconds = sum(getattr(turn, name) for turn in found)
        share = statistics.median(getattr(turn, name) / turn.harvest for turn in found)
        table.add_row(
            f"latent {name}" if name == "scaling" else "dense twin", f"{tokens / seconds:.0f}", f"{share:.3f}"
        )
    Console().print(table)


if __name__ == "__main__":
    main()
