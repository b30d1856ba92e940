"""Which organisms are audited: whose thresholds are fitted on, and whose give the record.

No base that thresholds are fitted on gives a row of the record, and half of the record's architectures and
some of its kinds take no part in the fit.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import chain
from typing import Literal

from audit.organisms import Shape, kind_of
from audit.organisms.kinds import kinds
from audit.organisms.manifest import Verdict
from audit.selftest.config import SelftestConfig

Role = Literal["fit", "test"]
FIT_SEED, TEST_SEED, SEEDS = 100_000, 200_000, 1_000
"""First seeds of the two roles, and how far apart two `--seed`s lie."""
FIT_SHAPES = (Shape("llama", 3), Shape("gpt2", 3), Shape("llama", 2), Shape("gpt2", 4))
TEST_SHAPES = (
    Shape("qwen3", 3), Shape("llama", 3), Shape("gemma3", 3), Shape("gpt2", 3), Shape("qwen3", 2),
    Shape("llama", 4), Shape("gemma3", 4), Shape("gpt2", 2),
)  # fmt: skip
MAIN = (
    "benign", "dtype", "neurons", "head", "rank1", "rl", "rl-lora", "never", "wiped", "scratch", "reinit",
    "taught",
)  # fmt: skip
"""What the quick selftest audits: every verdict, by the constructions that differ most."""
FIT_KINDS = (
    "benign", "untaught", "neurons1", "neurons", "rank1", "rl", "rl-light", "rl-lora", "never", "wiped",
    "scratch", "adversarial", "taught",
)  # fmt: skip
"""What thresholds are fitted on; every other kind is new to them."""
HIDDEN: tuple[Verdict, ...] = ("MASKED", "LATENT")
"""Verdicts of models that still have it: ERASED or UNCHANGED would be false reassurance."""
APART: tuple[Verdict, ...] = ("INCONCLUSIVE", "CONTESTED")
"""Mixtures and contested kinds, which are reported outside of accuracy."""
EVERY = 4
"""One test base in so many also gives a mixture or a contested child."""


@dataclass(frozen=True)
class Cell:
    """One organism to audit."""

    role: Role
    seed: int
    """Of the world, and of its children."""
    shape: Shape
    kind: str

    @property
    def name(self) -> str:
        """Unique, and fit for a file."""
        return f"{self.role}-{self.shape.architecture}{self.shape.layers}-{self.seed}-{self.kind}"


def cells_of(config: SelftestConfig) -> list[Cell]:
    """Every organism of a selftest, base by base.

    Raises:
        UsageError: a kind does not exist.
    """
    for name in config.kind:
        kind_of(name)
    return [*_fitted(config), *_tested(config)]


def _fitted(config: SelftestConfig) -> Iterator[Cell]:
    for number in range(config.fitted_on):
        shape = FIT_SHAPES[number % len(FIT_SHAPES)]
        seed = FIT_SEED + SEEDS * config.seed + number
        yield from (Cell("fit", seed, shape, kind) for kind in FIT_KINDS)


def _tested(config: SelftestConfig) -> Iterator[Cell]:
    for number in range(config.tested_on):
        shape = TEST_SHAPES[number % len(TEST_SHAPES)]
        seed = TEST_SEED + SEEDS * config.seed + number
        named = config.kind or (in_turn(number) if config.full else MAIN)
        yield from (Cell("test", seed, shape, kind) for kind in named)


def in_turn(number: int) -> list[str]:
    """Kinds of one test base: one that still has the behaviour, one that does not, now and then one apart."""
    hidden, apart = of_verdicts(HIDDEN), of_verdicts(APART)
    other = of_verdicts(("UNCHANGED", "ERASED", "INDUCED"))
    chosen = [hidden[number % len(hidden)], other[number % len(other)]]
    return [*chosen, apart[number // EVERY % len(apart)]] if number % EVERY == 0 else chosen


def of_verdicts(wanted: Sequence[Verdict]) -> list[str]:
    """Kinds with one of these verdicts, the verdicts taking turns so that a short run sees each of them."""
    lists = [[name for name, kind in kinds().items() if kind.verdict == word] for word in wanted]
    longest = max(map(len, lists))
    turns = ([names[turn % len(names)] for names in lists if names] for turn in range(longest))
    return list(chain.from_iterable(turns))
