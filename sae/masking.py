"""Which positions of a harvest are left out, and the count of what was."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass, field, replace
from typing import Any, NamedTuple

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from sae.errors import HarvestError
from sae.types import ROLES, SIDES, Document, PairedActivations, Role, TokenInfo


@dataclass(frozen=True)
class MaskConfig:
    """Which positions are left out.

    Raises:
        HarvestError: a value makes no sense.
    """

    first: int = 1
    """Positions at the start of each document that are left out: models park attention there."""
    outlier: float | None = 10.0
    """Positions with a norm above this many medians, in either model and at any hook point, are left out;
    None: none. The median is that of the wanted tokens of the first pool, for each model and hook point: it
    needs no extra pass, and since pools do not depend on the batch size, neither does the mask."""
    roles: tuple[Role, ...] = ROLES
    """Roles that are kept."""

    def __post_init__(self) -> None:
        for name, wrong, fix in (
            ("first", self.first < 0, "ask for 0 or more"),
            ("outlier", self.outlier is not None and self.outlier <= 1, "ask for more than 1, or None"),
            (
                "roles",
                not self.roles or bool(set(self.roles) - set(ROLES)),
                f"name some of {', '.join(ROLES)}",
            ),
        ):
            if wrong:
                raise HarvestError(f"{getattr(self, name)!r} makes no sense", where=f"mask: {name}", fix=fix)


@dataclass(frozen=True)
class HarvestStats:
    """What a harvest saw and what it left out, in tokens; each token is counted once."""

    documents: int = 0
    seen: int = 0
    """Tokens that both models read."""
    first: int = 0
    """Left out at the start of documents."""
    role: int = 0
    """Left out for their role (later ones than the first)."""
    outlier: int = 0
    """Left out for their norm (of those that were left)."""
    kept_by_role: dict[str, int] = field(default_factory=dict)
    """Role -> tokens given out."""

    @property
    def kept(self) -> int:
        """Tokens given out."""
        return self.seen - self.first - self.role - self.outlier

    @property
    def shares(self) -> dict[str, float]:
        """Role -> its share of the tokens given out."""
        return {role: count / self.kept for role, count in self.kept_by_role.items()}


@dataclass(frozen=True)
class HarvestState:
    """How far a harvest has come: enough to go on from here in another process."""

    pools: int = 0
    """Pools finished."""
    medians_LM: tuple[tuple[float, ...], ...] | None = None
    """Median norm at each hook point in each model, once the first pool is known."""
    stats: HarvestStats = HarvestStats()

    def to_json(self) -> dict[str, Any]:
        """As plain values."""
        return asdict(self)

    @classmethod
    def from_json(cls, value: dict[str, Any]) -> HarvestState:
        """From what `to_json` gave."""
        medians = value["medians_LM"]
        rows = None if medians is None else tuple(tuple(row) for row in medians)
        return cls(value["pools"], rows, HarvestStats(**value["stats"]))


class PoolInfo(NamedTuple):
    """What is known of a pool's tokens before the models read them."""

    tokens: TokenInfo
    wanted_N: Bool[Tensor, " N"]
    """Neither at the start nor of a role that is left out."""
    first: int
    role: int
    documents: int


class Masked(NamedTuple):
    """A pool without what is left out, and how far the harvest is with it."""

    kept: PairedActivations
    state: HarvestState


def pool_info(
    numbers: Sequence[int], documents: Sequence[Document], mask: MaskConfig, device: torch.device
) -> PoolInfo:
    """Where each token of a pool comes from, and whether its place and role are wanted."""
    code = {role: number for number, role in enumerate(ROLES)}
    chosen = [documents[number] for number in numbers]
    lengths = torch.tensor([len(document.tokens) for document in chosen])
    position_N = torch.cat([torch.arange(len(document.tokens)) for document in chosen])
    role_N = torch.tensor([code[role] for document in chosen for role in document.roles])
    tokens = TokenInfo(
        document_N=torch.tensor(list(numbers)).repeat_interleave(lengths).to(device),
        position_N=position_N.to(device),
        token_N=torch.tensor([token for document in chosen for token in document.tokens], device=device),
        role_N=role_N.to(device),
    )
    late_N = position_N >= mask.first
    wanted_N = late_N & torch.isin(role_N, torch.tensor([code[role] for role in mask.roles]))
    dropped = int((~late_N).sum()), int((late_N & ~wanted_N).sum())
    return PoolInfo(tokens, wanted_N.to(device), *dropped, len(numbers))


def masked(x_NLMD: Float[Tensor, "N L 2 D"], info: PoolInfo, mask: MaskConfig, state: HarvestState) -> Masked:
    """A pool without the unwanted and the outliers.

    Raises:
        HarvestError: an activation is not finite.
    """
    norm_NLM = torch.linalg.vector_norm(x_NLMD, dim=-1, dtype=torch.float32)
    _check_finite(norm_NLM)
    medians = state.medians_LM or _medians(norm_NLM[info.wanted_N])
    keep_N = info.wanted_N
    if mask.outlier is not None and medians is not None:
        bound_LM = mask.outlier * torch.tensor(medians, device=norm_NLM.device)
        keep_N = keep_N & (norm_NLM <= bound_LM).all(dim=-1).all(dim=-1)
    at_N = keep_N.nonzero().squeeze(1)
    fields = (info.tokens.document_N, info.tokens.position_N, info.tokens.token_N, info.tokens.role_N)
    kept = PairedActivations(x_NLMD[at_N], TokenInfo(*(values[at_N] for values in fields)))
    stats = _add(state.stats, info, int((info.wanted_N & ~keep_N).sum()), kept.info.role_N)
    return Masked(kept, HarvestState(state.pools + 1, medians, stats))


def _medians(norm_NLM: Float[Tensor, "N L 2"]) -> tuple[tuple[float, ...], ...] | None:
    return tuple(tuple(row) for row in norm_NLM.median(dim=0).values.tolist()) if len(norm_NLM) else None


def _check_finite(norm_NLM: Float[Tensor, "N L 2"]) -> None:
    wrong = (~norm_NLM.isfinite()).nonzero()
    if len(wrong):
        side = SIDES[int(wrong[0, 2])]
        fix = "check the weights, or run with --dtype float32 (float16 overflows in many models)"
        raise HarvestError("activations are not finite", where=f"the {side} model", fix=fix)


def _add(stats: HarvestStats, info: PoolInfo, outliers: int, kept_N: Int[Tensor, " N"]) -> HarvestStats:
    counts = torch.bincount(kept_N, minlength=len(ROLES)).tolist()
    before = stats.kept_by_role
    by_role = {role: before.get(role, 0) + n for role, n in zip(ROLES, counts, strict=True)}
    return replace(
        stats,
        documents=stats.documents + info.documents,
        seen=stats.seen + len(info.wanted_N),
        first=stats.first + info.first,
        role=stats.role + info.role,
        outlier=stats.outlier + outliers,
        kept_by_role={role: n for role, n in by_role.items() if n},
    )
