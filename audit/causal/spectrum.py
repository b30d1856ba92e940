"""Which singular components of a weight change are more than noise has, too."""

from __future__ import annotations

import torch
from torch import Tensor

from audit.causal.deltas import COMPONENTS, Deltas, leading_factors

FLIPS = 3
MARGIN = 1.1
"""Over the largest singular value of the flips, which moves by a few percent from flip to flip."""
LOW_RANK = 0.25
"""A change whose whole rank is at most this share of what it could be is of low rank, flips or not."""


def standing_out(deltas: Deltas, module: str) -> int:
    """How many leading components of a module's weight change stand out of its bulk.

    A component of a change without structure is no unit: any direction would do as well, and another seed
    gives another one. The bulk is read off the change itself with random signs, which keep the size of every
    entry and break all directions; components found are taken out before the next comparison (signflip
    parallel analysis, Hong, Sheng and Dobriban 2020, arXiv 2012.02985; deflation as in Dobriban and Owen
    2019, arXiv 1711.04155).

    Returns:
        The number of components from 0 on, at most `audit.causal.deltas.COMPONENTS`; 0 where the weight did
        not change.
    """
    factors, change = deltas.factors(module), deltas.of(f"{module}.weight")
    if factors is None or change is None:
        return 0
    kept, most = len(factors.sigma), min(change.shape)
    if kept < min(COMPONENTS, most) and kept <= LOW_RANK * most:
        return kept
    found, rest = 0, change
    while found < kept:
        above = int((factors.sigma > MARGIN * _edge(rest)).sum())
        if above <= found:
            break
        found = above
        rest = change - (factors.u[:, :found] * factors.sigma[:found]) @ factors.v[:, :found].T
    return found


def _edge(change: Tensor) -> float:
    """Largest singular value over some flips of the signs of all entries."""
    generator = torch.Generator().manual_seed(0)
    flips = (torch.randint(0, 2, change.shape, generator=generator) * 2 - 1 for _ in range(FLIPS))
    return max(float(leading_factors(change * signs).sigma[0]) for signs in flips)
