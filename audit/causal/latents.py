"""Latents that may hold a behaviour down, and how strong every latent is on the behaviour's own prompts."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, NamedTuple

import numpy as np
import pandas as pd
import torch
from torch import Tensor
from torch.nn.utils.rnn import pad_sequence

from audit.causal.objective import Objective
from audit.causal.residual_edits import own_codes
from sae.hooks import capture
from sae.types import PairedDictionary

if TYPE_CHECKING:
    from transformers import PreTrainedModel

SIZES = (1, 4, 16)
"""Latents that are taken out together."""
CHANGED = ("tuned only", "rotated", "silenced")
"""Kinds that training changed and that the tuned model can be rid of."""
CHUNK = 1024
"""Tokens that are encoded at a time."""
FIRST, OUTLIER = 1, 10.0
"""Positions at the start, and norms above so many medians, that dictionaries are not made for."""


class LatentSet(NamedTuple):
    """Latents of one dictionary under a name."""

    name: str
    description: str
    indices: tuple[int, ...]


class Strength(NamedTuple):
    """How strong the latents of a dictionary are in the tuned model on some prompts."""

    traits: pd.DataFrame
    """One row per latent: kind, module, index, norm (of its write where it is active), activity (share of
    tokens on which it is), rate (the same on the corpus)."""
    bound: float
    """Norm above which a position is left alone."""


def latent_sets(features: pd.DataFrame, effects: pd.DataFrame, change: float) -> list[LatentSet]:
    """Sets of latents of one hook point whose removal may bring a behaviour back.

    Latents push where their effect in the tuned model has the sign of the change, and where training moved it
    that way; they are ranked by the smaller of the two, which is what removing them can undo of it.

    Args:
        features: rows of the table `features`.
        effects: rows of the table `latent_effects` of this behaviour, measured on the fit half.
        change: b_tuned - b_base.
    """
    if features.empty:
        return []
    hook, sign = str(features["hook"].iloc[0]), 1 if change >= 0 else -1
    push = np.minimum(sign * effects["effect_tuned"], sign * effects["difference"])
    ranked = effects.assign(push=push).sort_values("push", ascending=False, kind="stable")
    pushing = [int(latent) for latent in ranked.loc[ranked["push"] > 0, "latent"]]
    sets = [_top(hook, pushing[:size], len(pushing)) for size in SIZES if pushing]
    kinds = features.set_index("latent")["kind"]
    moved = effects.sort_values("difference", key=abs, ascending=False, kind="stable")["latent"]
    turned = [int(latent) for latent in moved if kinds.get(latent) in CHANGED][: max(SIZES)]
    if turned:
        what = f"{len(turned)} latents of {hook} that training changed ({', '.join(CHANGED)})"
        sets.append(LatentSet(f"{hook} changed latents", what, tuple(sorted(turned))))
    return _distinct(sets)


@torch.no_grad()
def strength(
    model: PreTrainedModel,
    dictionary: PairedDictionary,
    layer: int,
    objective: Objective,
    rates: pd.Series,
    batch_size: int,
) -> Strength:
    """What every latent does in the tuned model on the prompts of a behaviour, by the model's own codes.

    Args:
        model: the tuned model.
        dictionary: of the output of `layer`.
        layer: block.
        objective: whose items are read; those that may be looked at.
        rates: share of the corpus's tokens on which each latent is active in the tuned model.
        batch_size: sequences per pass.
    """
    pieces = []
    for rows in objective.batches(batch_size):
        sequences = [torch.tensor(row.ids) for row in objective.sequences(rows)]
        pieces.append(_residuals(model, layer, sequences))
    h_ND = torch.cat(pieces)
    norm_N = torch.linalg.vector_norm(h_ND, dim=-1, dtype=torch.float32)
    bound = OUTLIER * float(norm_N.median())
    return Strength(_traits(dictionary, h_ND[norm_N <= bound], f"block {layer}", rates), bound)


def _residuals(model: PreTrainedModel, layer: int, sequences: Sequence[Tensor]) -> Tensor:
    """The residual stream at the real tokens of some sequences, without the first ones."""
    ids = pad_sequence(list(sequences), batch_first=True).to(model.device)
    lengths = torch.tensor([len(sequence) for sequence in sequences], device=model.device)
    place = torch.arange(ids.shape[1], device=model.device)
    mask = place[None] < lengths[:, None]
    h_BTD = capture(model, [layer], ids, mask.long())[0]
    return h_BTD[mask & (place[None] >= FIRST)]


def _traits(dictionary: PairedDictionary, h_ND: Tensor, module: str, rates: pd.Series) -> pd.DataFrame:
    fires_F, total_F = torch.zeros(len(rates)), torch.zeros(len(rates))
    for start in range(0, len(h_ND), CHUNK):
        codes_NF = own_codes(dictionary, h_ND[start : start + CHUNK])
        fires_F += (codes_NF > 0).sum(0).cpu()
        total_F += codes_NF.sum(0).cpu()
    row_norm_F = dictionary.decoder_FMD[:, 1].float().norm(dim=-1).cpu()
    return pd.DataFrame(
        {
            "kind": "latent",
            "module": module,
            "index": range(len(rates)),
            "norm": (row_norm_F * total_F / fires_F.clamp(min=1)).double().numpy(),
            "activity": (fires_F / max(1, len(h_ND))).double().numpy(),
            "rate": rates.to_numpy(dtype=np.float64),
        }
    )


def _top(hook: str, latents: Sequence[int], pushing: int) -> LatentSet:
    count = len(latents)
    what = f"the {count} latents of {hook} that pushed it most (of {pushing} that pushed)"
    return LatentSet(f"{hook} top {count} latents", what, tuple(latents))


def _distinct(sets: Sequence[LatentSet]) -> list[LatentSet]:
    """Without sets that hold the same latents as an earlier one."""
    seen: dict[frozenset[int], LatentSet] = {}
    for one in sets:
        seen.setdefault(frozenset(one.indices), one)
    return list(seen.values())
