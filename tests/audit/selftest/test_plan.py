from __future__ import annotations

import pytest

from audit.errors import UsageError
from audit.organisms.kinds import kinds
from audit.selftest.config import SelftestConfig
from audit.selftest.plan import APART, FIT_KINDS, HIDDEN, MAIN, cells_of


def test_the_quick_selftest_sees_every_verdict_on_one_base() -> None:
    cells = cells_of(SelftestConfig())
    assert {cell.role for cell in cells} == {"test"}
    assert len({(cell.seed, cell.shape) for cell in cells}) == 1
    assert {kinds()[cell.kind].verdict for cell in cells} == {
        "UNCHANGED", "MASKED", "LATENT", "ERASED", "INDUCED",
    }  # fmt: skip


def test_no_base_of_the_record_was_fitted_on() -> None:
    cells = cells_of(SelftestConfig(full=True))
    seeds = {role: {cell.seed for cell in cells if cell.role == role} for role in ("fit", "test")}
    assert not seeds["fit"] & seeds["test"]
    assert len(seeds["test"]) == 60


def test_the_record_has_architectures_and_kinds_that_no_threshold_saw() -> None:
    cells = cells_of(SelftestConfig(full=True))
    shapes = {
        role: {cell.shape.architecture for cell in cells if cell.role == role} for role in ("fit", "test")
    }
    assert shapes["test"] - shapes["fit"] == {"qwen3", "gemma3"}
    assert len({cell.kind for cell in cells if cell.role == "test"} - set(FIT_KINDS)) >= 8


def test_every_test_base_has_one_child_that_still_has_it_and_one_that_has_not() -> None:
    cells = cells_of(SelftestConfig(full=True))
    for seed in {cell.seed for cell in cells if cell.role == "test"}:
        verdicts = [kinds()[cell.kind].verdict for cell in cells if cell.seed == seed]
        assert sum(word in HIDDEN for word in verdicts) == 1
        assert sum(word not in (*HIDDEN, *APART) for word in verdicts) == 1


def test_another_seed_has_other_bases() -> None:
    seeds = [{cell.seed for cell in cells_of(SelftestConfig(full=True, seed=seed))} for seed in (0, 1)]
    assert not seeds[0] & seeds[1]


def test_named_kinds_exist() -> None:
    assert set(MAIN) | set(FIT_KINDS) <= set(kinds())
    assert [cell.kind for cell in cells_of(SelftestConfig(kind=("rl",)))] == ["rl"]
    with pytest.raises(UsageError, match="no organism 'rll'"):
        cells_of(SelftestConfig(kind=("rll",)))


@pytest.mark.parametrize("field", ["fit_bases", "test_bases", "workers", "seed"])
def test_counts_below_nothing_are_refused(field: str) -> None:
    with pytest.raises(UsageError, match=field):
        SelftestConfig(**{field: -1})
