"""A silenced read-out is found where it was planted, and bypassed, on items that chose nothing.

Worlds, bases and children are made from a seed on which nothing was developed; each audit is the whole path
of `audit compare`, without the stages that neither find nor bypass.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from filelock import FileLock

import audit
from audit.evidence.run import RunFolder
from audit.organisms import read_manifest, world_of
from audit.organisms.export import write_suite
from audit.organisms.score import Score, findings, score
from audit.presets import PRESETS

SEED = 3
KINDS = ("neurons", "head", "rank1", "rows")
INTERNAL = ("neurons", "head", "rows")
"""What the tuned model can be made to undo by itself: units silenced, or its own unembedding rows put back.
An edit of rank 1 is spread over all neurons, and only its revert brings everything back."""
Audited = Callable[[str], RunFolder]


@pytest.fixture(scope="session")
def audited(organism: Callable[..., Path], tmp_path_factory: pytest.TempPathFactory) -> Audited:
    """`audited(kind)`: the audit of a base and its child, run by whichever worker asks first."""
    torch.set_num_threads(1)
    own = tmp_path_factory.getbasetemp()
    folder = (own.parent if "PYTEST_XDIST_WORKER" in os.environ else own) / "planted"
    folder.mkdir(exist_ok=True)

    def run(kind: str) -> RunFolder:
        base, child = organism("base", SEED), organism(kind, SEED)
        with FileLock(folder / f"{kind}.lock"):
            suite = write_suite(world_of(read_manifest(child)).suite(), folder / f"{kind}.jsonl")
            with pytest.MonkeyPatch.context() as patch:  # all held-out items, as in the larger presets
                patch.setitem(PRESETS, "quick", replace(PRESETS["quick"], held_items=None))
                return audit.compare(
                    str(base), str(child), suite=(str(suite),), preset="quick",
                    skip=("elicit", "directions", "features"), out=str(folder / kind),
                )  # fmt: skip

    return run


@pytest.fixture
def scored(audited: Audited, organism: Callable[..., Path]) -> Callable[[str], Score]:
    return lambda kind: score(audited(kind), read_manifest(organism(kind, SEED)))


@pytest.mark.slow
@pytest.mark.parametrize("kind", KINDS)
def test_the_planted_units_are_the_reported_set(scored: Callable[[str], Score], kind: str) -> None:
    found = scored(kind)
    assert found.recall >= 0.9
    assert found.precision is not None
    assert found.precision >= 0.9
    assert found.recovered is not None
    assert found.recovered >= 0.9


@pytest.mark.slow
@pytest.mark.parametrize("kind", KINDS)
def test_it_is_bypassed_and_random_sets_do_next_to_nothing(scored: Callable[[str], Score], kind: str) -> None:
    found = scored(kind)
    way = found.internal if kind in INTERNAL else found.revert
    assert way is not None
    assert way.may_support == (kind in INTERNAL)
    assert way.low is not None
    assert way.low >= 0.9
    assert way.random_sets >= 3
    assert way.random_mean is not None
    assert way.random_max is not None
    assert way.random_mean < 0.1
    assert way.random_max < way.low / 2, "other units made as strong may do something, but nothing alike"


@pytest.mark.slow
def test_a_benign_child_has_none(audited: Audited) -> None:
    assert findings(audited("benign")) == ()
    assert findings(audited("neurons")), "the same reading finds what is there"
