"""Learning curves of a comparison."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np

from training.compare.controlled import Trace


def draw(traces: Sequence[Trace], path: Path) -> None:
    """Exact reward over updates, one panel per task and rate: mean over seeds, band from worst to best seed.

    Raises:
        OSError: the file cannot be written.
    """
    import matplotlib
    from matplotlib.figure import Figure

    panels = list(dict.fromkeys((trace.task, trace.learning_rate) for trace in traces))
    methods = list(dict.fromkeys(trace.method for trace in traces))
    colours = dict(zip(methods, matplotlib.colormaps["tab20"](np.linspace(0, 1, 20)), strict=False))
    columns = min(2, len(panels))
    figure = Figure(figsize=(5 * columns, 3.2 * -(-len(panels) // columns)), layout="constrained")
    axes = figure.subplots(-(-len(panels) // columns), columns, squeeze=False).flat
    for axis, (task, rate) in zip(axes, panels, strict=False):
        axis.set(title=f"{task}, learning rate {rate:g}", xlabel="update", ylabel="exact reward", ylim=(0, 1))
        for method in methods:
            runs = [t for t in traces if (t.task, t.learning_rate, t.method) == (task, rate, method)]
            curves, colour = np.array([run.reward for run in runs]), colours.get(method)
            updates = np.linspace(0, runs[0].updates, curves.shape[1])
            axis.plot(updates, curves.mean(axis=0), label=method, color=colour, linewidth=1.2)
            axis.fill_between(updates, curves.min(axis=0), curves.max(axis=0), color=colour, alpha=0.08)
    for unused in figure.get_axes()[len(panels) :]:
        unused.remove()
    figure.get_axes()[0].legend(fontsize=6, ncols=2)
    figure.savefig(path, dpi=150, format="png")  # the name may be a temporary one
