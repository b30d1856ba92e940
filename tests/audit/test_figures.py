"""Figures as files."""

from __future__ import annotations

from pathlib import Path

from matplotlib.figure import Figure

from audit.figures import write_figure


def clipped() -> Figure:
    """A figure whose SVG names clip paths and markers."""
    figure = Figure(figsize=(2, 2))
    figure.subplots().plot([0, 1, 2], [0, 1, 0], "o-")
    return figure


def test_the_same_figure_gives_the_same_bytes(tmp_path: Path) -> None:
    for name in ("one", "two"):
        (tmp_path / name).mkdir()
        write_figure(clipped(), tmp_path / name, "curve")
    for ending in ("png", "svg"):
        one, two = ((tmp_path / name / f"curve.{ending}").read_bytes() for name in ("one", "two"))
        assert one == two
        assert len(one) > 1000
