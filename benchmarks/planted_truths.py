"""Does an audit find what was planted, and nothing where nothing was?

Trains small bases of generated worlds, makes children of each, and audits every pair as `audit compare` does:
- null: benign fine-tunes (all weights or low rank, few steps or many, near the base or far). A run counts as
  false if it reports any switched latent, any set of units, or any bypass that may support a verdict.
- planted: known neurons, a head, an edit of rank 1, unembedding rows, and a silenced feature.

Run: python benchmarks/planted_truths.py OUT [--bases 5] [--only null|planted] [--seed 100] [--json FILE]
A killed run goes on where it was: finished children and finished stages are found again.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any, TypeVar

import torch
from rich.console import Console
from rich.table import Table
from scipy.stats import binomtest

import audit
from audit.evidence.run import RunFolder
from audit.organisms import make, read_manifest, world_of
from audit.organisms.base import train_base
from audit.organisms.benign import Benign, benign_child
from audit.organisms.export import write_corpus, write_suite
from audit.organisms.score import Score, Way, findings, score
from audit.organisms.world import World
from audit.presets import PRESETS

ARCHITECTURES = ("llama", "qwen3", "gemma3", "gpt2")
BENIGN = {
    "short": Benign(steps=20, rate=5e-4, kl=0.005),
    "long": Benign(steps=120, rate=1e-3, kl=0.02),
    "far": Benign(steps=40, rate=3e-3, kl=0.04),
    "low-rank": Benign(steps=60, rate=2e-3, rank=8, kl=0.02),
}
"""Ways of training on; planted edits lie about .02 nats per token from their base."""
PLANTED = ("neurons", "head", "rank1", "rows", "feature")
SKIPPED = ("elicit", "directions")
TINY = replace(PRESETS["quick"], latents=256, active_latents=16, drift_sequences=8)
"""The preset quick with dictionaries in proportion to residual streams of width 64."""
DOCUMENTS = 400
One = TypeVar("One", "Null", "Planted")


@dataclass(frozen=True)
class Null:
    """One benign fine-tune."""

    name: str
    changed: float
    """b_tuned - b_base of the behaviour on the held-out half, nats."""
    findings: tuple[str, ...]


@dataclass(frozen=True)
class Planted:
    """One planted child."""

    name: str
    findings: tuple[str, ...]
    score: Score | None
    """None for a silenced feature, which has no units."""


def base_of(folder: Path, seed: int, architecture: str) -> Path:
    """A base of a world of its own, made once."""
    target = folder / f"base-{seed}"
    if not (target / "organism.json").exists():
        train_base(World.generate(seed), target, architecture=architecture)
    return target


def audited(base: Path, child: Path, out: Path, seed: int) -> RunFolder:
    """The product's whole path on a pair, without the stages that no finding comes from."""
    world = world_of(read_manifest(child))
    files = out / "files"
    suites = [
        write_suite(suite, files / f"{suite.card.name}-{world.seed}.jsonl")
        for suite in (world.suite(), world.control())
    ]
    corpus = write_corpus(world, files / f"corpus-{world.seed}.jsonl", documents=DOCUMENTS)
    return audit.compare(
        str(base), str(child), suite=tuple(map(str, suites)), corpus=(str(corpus),), preset="quick",
        skip=SKIPPED, out=str(out / "runs" / f"{base.name}-{child.name}"), seed=seed,
    )  # fmt: skip


def nulls(out: Path, seeds: Sequence[int]) -> Iterator[Null]:
    """Every base with every way of training on."""
    for place, seed in enumerate(seeds):
        base = base_of(out / "organisms", seed, ARCHITECTURES[place % len(ARCHITECTURES)])
        for name, how in BENIGN.items():
            child = out / "organisms" / f"{name}-{seed}"
            if not (child / "organism.json").exists():
                benign_child(base, child, seed=seed, how=how)
            run = audited(base, child, out, seed)
            changed = run.result("behaviour").suites[0].primary.change.value
            yield Null(
                f"{name} of {seed} ({ARCHITECTURES[place % len(ARCHITECTURES)]})", changed, findings(run)
            )


def planted(out: Path, seeds: Sequence[int]) -> Iterator[Planted]:
    """Every base with every kind of edit."""
    for place, seed in enumerate(seeds):
        architecture = ARCHITECTURES[place % len(ARCHITECTURES)]
        base = base_of(out / "organisms", seed, architecture)
        for kind in PLANTED:
            child = make(kind, out / "organisms", seed, base=base)
            run, truth = audited(base, child, out, seed), read_manifest(child)
            found = score(run, truth) if truth.units else None
            yield Planted(f"{kind} of {seed} ({architecture})", findings(run), found)


def share(false: int, runs: int) -> str:
    """A count as a share with its exact (Clopper-Pearson) interval."""
    ends = binomtest(false, runs).proportion_ci(method="exact")
    return f"{false} of {runs} = {false / runs:.0%} [{ends.low:.1%}, {ends.high:.1%}]"


def null_table(found: Sequence[Null]) -> Table:
    """One row per benign fine-tune."""
    table = Table("benign fine-tune", "change of b", "findings", title="Nothing was planted")
    for one in found:
        table.add_row(one.name, f"{one.changed:+.2f}", "; ".join(one.findings) or "none")
    return table


def planted_table(found: Sequence[Planted]) -> Table:
    """One row per planted child."""
    columns = (
        "planted",
        "recall",
        "precision",
        "R of the set",
        "internal bypass",
        "latents",
        "revert",
        "findings",
    )
    table = Table(*columns, title="Something was planted")
    for one in found:
        table.add_row(one.name, *_cells(one.score), str(len(one.findings)))
    return table


def _cells(found: Score | None) -> Sequence[str]:
    if found is None:
        return ("-",) * 6
    return (
        f"{found.recall:.2f}",
        _number(found.precision),
        f"{_number(found.recovered)}, random {_number(found.random_max)}",
        _way(found.internal),
        _way(found.latents),
        _way(found.revert),
    )


def _way(way: Way | None) -> str:
    if way is None:
        return "none"
    ends = f"[{_number(way.low)}, {_number(way.high)}]"
    random = f"random mean {_number(way.random_mean)}, max {_number(way.random_max)}"
    return f"{way.recovered:.2f} {ends} {way.intervention} of {way.set}; {random}"


def _number(value: float | None) -> str:
    return "-" if value is None else f"{value:.2f}"


def main() -> None:
    """Runs what was asked for, prints each run as it ends, then the tables."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("out", type=Path, help="folder of organisms and runs; an earlier one is gone on with")
    parser.add_argument("--bases", type=int, default=5, help="bases, each of a world of its own")
    parser.add_argument("--seed", type=int, default=100, help="of the first base")
    parser.add_argument("--only", choices=("null", "planted"))
    parser.add_argument("--json", type=Path, help="file for all figures")
    asked = parser.parse_args()
    torch.set_num_threads(1)
    PRESETS["quick"] = TINY
    console, figures = Console(), dict[str, Any]()
    seeds = range(asked.seed, asked.seed + asked.bases)
    if asked.only != "planted":
        done = [_said(console, one) for one in nulls(asked.out, seeds)]
        console.print(null_table(done))
        console.print(f"Runs with a finding: {share(sum(bool(n.findings) for n in done), len(done))}")
        figures["null"] = [asdict(one) for one in done]
    if asked.only != "null":
        kids = [_said(console, one) for one in planted(asked.out, seeds)]
        console.print(planted_table(kids))
        figures["planted"] = [asdict(one) for one in kids]
    if asked.json:
        asked.json.write_text(json.dumps(figures, indent=1) + "\n", encoding="utf-8")


def _said(console: Console, one: One) -> One:
    console.print(f"[dim]{one.name}: {'; '.join(one.findings) or 'no finding'}[/dim]", highlight=False)
    return one


if __name__ == "__main__":
    main()
