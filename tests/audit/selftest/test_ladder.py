"""The picture of the ladder on invented organisms: who stands in which row, full or hollow, and where."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from audit.calibration import load_thresholds
from audit.figures import write_figure
from audit.selftest.cell import Found
from audit.selftest.ladder import FAR, RIGHT, RUNGS, draw_ladder

MakeFound = Callable[..., Found]
GATES = [rung.title.startswith("gates") for rung in RUNGS].index(True)


def dots(found: list[Found], rung: int = GATES) -> list[tuple[float, int, str, bool]]:
    """R or AUC, row, colour, full or not of every dot of a column."""
    axis = draw_ladder(found, load_thresholds()).axes[rung]
    marks = [line for line in axis.lines if line.get_marker() == "o"]
    return [
        (
            float(mark.get_xdata()[0]),
            round(float(mark.get_ydata()[0])),
            str(mark.get_color()),
            mark.get_markerfacecolor() == mark.get_color(),
        )
        for mark in marks
    ]


def test_each_truth_has_its_row_and_an_error_is_hollow(make_found: MakeFound) -> None:
    found = [
        make_found("MASKED"),
        make_found("ERASED"),
        make_found("LATENT"),
        make_found("MASKED", expected="LATENT"),
    ]
    drawn = dots(found)
    assert [(row, full) for _, row, _, full in drawn] == [(0, True), (1, True), (1, False), (2, True)]
    assert drawn[0][0] == 0.9
    assert drawn[0][2] == RIGHT != drawn[2][2]


def test_what_lost_nothing_or_is_invalid_is_left_out(make_found: MakeFound) -> None:
    found = [
        make_found("UNCHANGED"),
        make_found("MASKED", valid=False, why_invalid="it shows"),
        make_found("ERASED"),
    ]
    assert len(dots(found)) == 1


def test_a_rung_that_was_not_climbed_has_no_dot_and_a_far_one_stands_at_the_end(
    make_found: MakeFound,
) -> None:
    bare = make_found("MASKED", ways={}, relearned=[], known=None, carried=None)
    assert [len(dots([bare], rung)) for rung in range(len(RUNGS))] == [0] * len(RUNGS)
    one = make_found("MASKED")
    far = one.evidence.ways["gates"].model_copy(update={"recovered": 7.0})
    changed = one.evidence.model_copy(update={"ways": {"gates": far}})
    assert dots([one.model_copy(update={"evidence": changed})])[0][0] == FAR


def test_mixtures_are_neither_right_nor_wrong(make_found: MakeFound) -> None:
    ((_, row, ink, full),) = dots([make_found("MASKED", expected="CONTESTED")])
    assert (row, full) == (0, True)
    assert ink != RIGHT


@pytest.mark.parametrize("count", [0, 1, 40])
def test_the_same_organisms_give_the_same_bytes(count: int, make_found: MakeFound, tmp_path: Path) -> None:
    found = [make_found("MASKED", f"llama3-{n}") for n in range(count)]
    drawn = []
    for name in ("one", "two"):
        (tmp_path / name).mkdir()
        write_figure(draw_ladder(found, load_thresholds()), tmp_path / name, "ladder")
        drawn.append([(tmp_path / name / f"ladder.{ending}").read_bytes() for ending in ("png", "svg")])
    assert drawn[0] == drawn[1]
