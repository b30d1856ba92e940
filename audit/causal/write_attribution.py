"""What each latent of a dictionary writes towards a behaviour, in each model.

The effect of a write is (activation x decoder row) . gradient of the score at the residual stream:
attribution patching against an activation of zero (Marks et al. 2024, arXiv 2403.19647, eq. 3; integrated:
eq. 4). A silenced latent is active as before, and its effect is gone: activations alone do not show it.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, NamedTuple

import numpy as np
import pandas as pd
import torch
from jaxtyping import Float
from scipy import stats
from torch import Tensor

from audit.causal.objective import Objective
from audit.measures.bootstrap import FloatArray, IntArray, freedom, sum_estimates
from audit.measures.flips import benjamini_hochberg
from audit.measures.layout import lay_out
from audit.progress import Advance
from sae.hooks import edited
from sae.types import SIDES, HookPoint, Pair, PairedDictionary, Side

if TYPE_CHECKING:
    from transformers import PreTrainedModel

CHUNK = 512
"""Latents whose intervals are taken at a time."""


class Point(NamedTuple):
    """The residual stream of one batch at a hook point, and the gradient of each sequence's score there."""

    h_BTD: Float[Tensor, "B T D"]
    gradient_BTD: Float[Tensor, "B T D"]


def residual_gradient(
    model: PreTrainedModel,
    objective: Objective,
    rows: list[int],
    layer: int,
    residual: Float[Tensor, "B T D"] | None = None,
) -> Point:
    """One pass: the residual stream after a block and d m / d residual, m of the item each sequence is of.

    Args:
        model: either model.
        objective: gives the items; the sequences are `objective.sequences(rows)`.
        rows: items of the batch.
        layer: block whose output is read.
        residual: put in the place of the block's output, if given.
    """
    seen: list[Tensor] = []

    def leaf(h: Tensor) -> Tensor:
        seen.append((h if residual is None else residual.to(h)).detach().requires_grad_(True))
        return seen[-1]

    with torch.enable_grad(), edited(model, layer, leaf):
        objective.m(model, rows).sum().backward()  # type: ignore[no-untyped-call]  # torch leaves it untyped
    gradient = seen[0].grad
    if gradient is None:
        raise ValueError(f"the score does not depend on the output of block {layer}")
    return Point(seen[0].detach().float(), gradient.float())


@dataclass(frozen=True)
class LatentSettings:
    """How writes of latents are attributed."""

    first: int = 1
    """Positions at the start of each sequence that are left out, as in the dictionary's training."""
    steps: int = 1
    """Gradients from the reference up to the actual activations: 1 takes the actual one only, more integrate
    (midpoints), which helps where the score saturates."""
    draws: int = 2000
    seed: int = 0


def latent_effects(
    pair: Pair,
    dictionary: PairedDictionary,
    hook: HookPoint,
    objectives: list[Objective],
    *,
    batch_size: int = 16,
    reference_MF: Float[Tensor, "2 F"] | None = None,
    settings: LatentSettings | None = None,
    progress: Advance = lambda done: None,
) -> pd.DataFrame:
    """What each latent's write adds to each behaviour in both models, and the difference.

    effect_m[j] = sum over items of (d b / d m of the item) x sum over tokens of
    (f_j^m - reference) <d_j^m, d m / d h^m>, h the residual stream at the hook point of model m.

    Args:
        pair: both models, opened one after the other.
        dictionary: of this hook point.
        hook: where its activations are read.
        objectives: behaviours on the items that may be looked at; at least one.
        batch_size: sequences per pass.
        reference_MF: activations that the writes are compared with, such as their means; None: zero.
        settings: positions, integration, bootstrap.
        progress: called with the number of items done, summed over the objectives.

    Returns:
        Rows of the table `latent_effects`, one per latent that is active on the items in either model; see
        `pooled`.
    """
    chosen = settings or LatentSettings()
    frames = []
    for objective in objectives:
        effects_MNF = item_effects(
            pair, dictionary, hook, objective, batch_size, reference_MF, chosen, progress
        )
        frames.append(_frame(effects_MNF, objective, hook, chosen))
    return pooled(frames)


def pooled(frames: Sequence[pd.DataFrame]) -> pd.DataFrame:
    """Rows of several behaviours or hook points as one, with q-values corrected over all of them."""
    rows = pd.concat([frame for frame in frames if len(frame)] or frames[:1], ignore_index=True)
    p = rows["p_value"].to_numpy(np.float64)
    q, tested = np.full(len(p), np.nan), ~np.isnan(p)
    q[tested] = benjamini_hochberg(p[tested])
    return rows.assign(q_value=q)


@torch.no_grad()
def item_effects(
    pair: Pair,
    dictionary: PairedDictionary,
    hook: HookPoint,
    objective: Objective,
    batch_size: int,
    reference_MF: Float[Tensor, "2 F"] | None,
    settings: LatentSettings,
    progress: Advance = lambda done: None,
) -> Float[Tensor, "2 N F"]:
    """What each latent's write adds to the score m of each item, in each model; see `latent_effects`."""
    latents = dictionary.decoder_FMD.shape[0]
    found = torch.zeros(2, len(objective), latents)
    for rows in objective.batches(batch_size):
        points = {side: _point(pair, side, objective, rows, hook.layer, None) for side in SIDES}
        x_NMD = torch.stack([points[side].h_BTD for side in SIDES], dim=-2).flatten(0, 1)
        shape = points["base"].h_BTD.shape[:2]
        codes_BTMF = dictionary.encode(x_NMD).reshape(*shape, 2, latents)
        codes_BTMF = codes_BTMF - (0 if reference_MF is None else reference_MF.to(codes_BTMF))
        codes_BTMF[:, : settings.first] = 0
        items = torch.tensor([rows[row.targets[0][0]] for row in objective.sequences(rows)])
        for m, side in enumerate(SIDES):
            codes_BTF, decoder_FD = codes_BTMF[:, :, m], dictionary.decoder_FMD[:, m].to(x_NMD)
            write_BTD = codes_BTF @ decoder_FD
            gradient = _along(
                pair, side, objective, rows, hook.layer, points[side], write_BTD, settings.steps
            )
            effects_BF = (codes_BTF * (gradient @ decoder_FD.T)).sum(1)
            found[m].index_add_(0, items, effects_BF.float().cpu())
        progress(len(rows))
    return found


def _point(
    pair: Pair, side: Side, objective: Objective, rows: list[int], layer: int, residual: Tensor | None
) -> Point:
    with pair.model(side) as model:
        return residual_gradient(model, objective, rows, layer, residual)


def _along(
    pair: Pair,
    side: Side,
    objective: Objective,
    rows: list[int],
    layer: int,
    point: Point,
    write_BTD: Tensor,
    steps: int,
) -> Float[Tensor, "B T D"]:
    """The gradient, averaged between the residual stream without the writes and with them."""
    if steps == 1:
        return point.gradient_BTD
    shares = [(k + 0.5) / steps for k in range(steps)]
    residuals = (point.h_BTD - (1 - share) * write_BTD for share in shares)
    gradients = [_point(pair, side, objective, rows, layer, h).gradient_BTD for h in residuals]
    return torch.stack(gradients).mean(0)


def _frame(
    effects_MNF: Tensor, objective: Objective, hook: HookPoint, settings: LatentSettings
) -> pd.DataFrame:
    active = effects_MNF.any(dim=1).any(dim=0).nonzero().flatten()
    effects = effects_MNF[:, :, active].double().numpy()
    layout = lay_out(
        np.array(objective.entities, dtype=object),
        np.array(objective.groups, dtype=object),
        objective.contrast,
    )
    parts = np.stack([[layout.contributions(column) for column in side.T] for side in effects])
    contributions: FloatArray = parts.transpose(0, 2, 1) if len(active) else np.zeros((2, 1, 0))
    difference = contributions[1] - contributions[0]
    ends = [
        _ends(difference[:, i : i + CHUNK], layout.stratum, settings) for i in range(0, len(active), CHUNK)
    ]
    low, high = np.concatenate([np.zeros((2, 0)), *ends], axis=1)
    base, tuned = contributions.sum(axis=1)
    return pd.DataFrame(
        {
            "hook": hook.name, "latent": active.numpy(), "behaviour": objective.suite, "effect_base": base,
            "effect_tuned": tuned, "difference": tuned - base, "low": low, "high": high,
            "p_value": _p_values(difference, layout.stratum), "q_value": np.nan,
        }
    )  # fmt: skip


def _ends(difference: FloatArray, stratum: IntArray, settings: LatentSettings) -> FloatArray:
    found = sum_estimates(difference, stratum, settings.draws, settings.seed).estimates
    return np.array([[e.low for e in found], [e.high for e in found]])


def _p_values(difference: FloatArray, stratum: IntArray) -> FloatArray:
    """Two-sided Welch t-tests over entities, one per latent; NaN with too few entities."""
    if freedom(stratum) == 0 or difference.shape[1] == 0:
        return np.full(difference.shape[1], np.nan)
    blocks = [difference[stratum == s] for s in np.unique(stratum)]
    parts = np.stack([len(block) * block.var(axis=0, ddof=1) for block in blocks])
    variance = np.maximum(parts.sum(axis=0), 1e-300)
    spare = np.array([len(block) - 1 for block in blocks])[:, None]
    degrees = variance**2 / np.maximum((parts**2 / spare).sum(axis=0), 1e-300)
    t = np.abs(difference.sum(axis=0)) / np.sqrt(variance)
    return np.asarray(2 * stats.t.sf(t, np.maximum(degrees, 1)), dtype=np.float64)
