"""The arithmetic of interventions on activations: functions of torch alone.

They can be sent along with a forward pass to a machine that knows nothing of this package, so annotations
name nothing but torch's tensors here. `h` is a residual stream [B, T, D]; `x` and `y` are the input [..., I]
and the output [..., O] of a layer.
"""

from __future__ import annotations

from torch import Tensor
from torch.nn.functional import embedding, linear


def scaled(x: Tensor, scale: Tensor, shift: Tensor) -> Tensor:
    """Entry by entry scale x + shift, in the dtype of x; untouched entries keep their values."""
    return x * scale.to(x) + shift.to(x)


def added(h: Tensor, direction: Tensor, dose: float) -> Tensor:
    """The residual stream with dose x direction added at every position."""
    return h + (dose * direction.to(h.device).float()).to(h.dtype)


def enlarged(h: Tensor, direction: Tensor, centre: Tensor, dose: float) -> Tensor:
    """The residual stream with dose x what it has along a direction, seen from a centre, added.

    What it has counts at most as much as the direction is long.
    """
    direction = direction.to(h.device).float()
    length = direction.norm()
    unit = direction / length
    along = ((h.float() - centre.to(h.device).float()) @ unit).clamp(-length, length)
    moved: Tensor = h + (dose * along[..., None] * unit).to(h.dtype)
    return moved


def rewired(h: Tensor, direction: Tensor, centre: Tensor, write: Tensor, dose: float) -> Tensor:
    """The residual stream with dose x p `write` added, p what it has along a direction, seen from a centre.

    p is 1 where it has half of the direction's length, -1 at the other side, and never more.
    """
    direction = direction.to(h.device).float()
    half = direction.norm() / 2
    along = (h.float() - centre.to(h.device).float()) @ (direction / direction.norm())
    share = (along / half).clamp(-1, 1)
    moved: Tensor = h + (dose * share[..., None] * write.to(h.device).float()).to(h.dtype)
    return moved


def without_outputs(y: Tensor, x: Tensor, index: Tensor, delta: Tensor, dose: float) -> Tensor:
    """A linear layer's output less dose x what the change [K, I] of its outputs `index` [K] gives it."""
    term = linear(x.float(), delta.to(x.device).float())
    return y.index_add(-1, index.to(y.device), (-dose * term).to(y.dtype))


def without_inputs(y: Tensor, x: Tensor, index: Tensor, delta: Tensor, dose: float) -> Tensor:
    """A linear layer's output less dose x what the change [O, K] for its inputs `index` [K] gives it."""
    term = linear(x.index_select(-1, index.to(x.device)).float(), delta.to(x.device).float())
    return y - (dose * term).to(y.dtype)


def without_bias(y: Tensor, index: Tensor, delta: Tensor, dose: float) -> Tensor:
    """A layer's output less dose x the change [K] of the bias at its outputs `index` [K]."""
    term = (-dose * delta.to(y.device)).to(y.dtype)
    return y.index_add(-1, index.to(y.device), term.expand(*y.shape[:-1], -1))


def without_rows(y: Tensor, x: Tensor, delta: Tensor, factor: float) -> Tensor:
    """An embedding's output less factor x the change [V, D] of its rows.

    x are token ids; those beyond the V that both models have keep their rows.
    """
    known = x < delta.shape[0]
    change = embedding(x.where(known, 0), delta.to(y.device).float()) * known[..., None]
    return y - (factor * change).to(y.dtype)
