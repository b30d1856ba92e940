"""The words of this room: sides, hook points, documents, paired activations, and what a dictionary is.

Shapes: N tokens, M models (0 the base, 1 the tuned), L hook points, D residual width, F latents.
"""

from __future__ import annotations

from contextlib import AbstractContextManager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal, Protocol

from jaxtyping import Bool, Float, Int
from torch import Tensor

if TYPE_CHECKING:
    from transformers import PreTrainedModel

Side = Literal["base", "tuned"]
SIDES: tuple[Side, Side] = ("base", "tuned")
Role = Literal["none", "system", "user", "assistant", "template"]
ROLES: tuple[Role, ...] = ("none", "system", "user", "assistant", "template")
"""Roles in the order of their codes; none: text without a chat around it."""


class Pair(Protocol):
    """Two models, opened one at a time: they may be one set of weights with an adapter off and on."""

    def model(self, side: Side) -> AbstractContextManager[PreTrainedModel]:
        """One side for the length of a block, in eval mode."""
        ...


@dataclass(frozen=True, order=True)
class HookPoint:
    """The residual stream after one block."""

    layer: int
    """Block whose output is read, from 0."""

    @property
    def name(self) -> str:
        """As TransformerLens and SAELens spell it."""
        return f"blocks.{self.layer}.hook_resid_post"


@dataclass(frozen=True)
class Document:
    """A text as both models read it."""

    tokens: tuple[int, ...]
    roles: tuple[Role, ...]
    """Who speaks each token."""
    source: str
    """Corpus and document, for people."""

    def __post_init__(self) -> None:
        if len(self.tokens) != len(self.roles):
            raise ValueError(f"{self.source}: {len(self.tokens)} tokens and {len(self.roles)} roles")


@dataclass(frozen=True)
class TokenInfo:
    """Where each of N activations comes from."""

    document_N: Int[Tensor, " N"]
    """Index of its document in the corpus."""
    position_N: Int[Tensor, " N"]
    """Place in the document."""
    token_N: Int[Tensor, " N"]
    """Token id that was read there."""
    role_N: Int[Tensor, " N"]
    """Index into `ROLES`."""


@dataclass(frozen=True)
class PairedActivations:
    """The same tokens in both models, at every hook point that was asked for."""

    x_NLMD: Float[Tensor, "N L 2 D"]
    info: TokenInfo


class PairedDictionary(Protocol):
    """What a dictionary has to offer, whichever way it was trained."""

    @property
    def decoder_FMD(self) -> Float[Tensor, "F 2 D"]:
        """Decoder row of each latent in each model, in the units of the raw activations."""
        ...

    @property
    def bias_MD(self) -> Float[Tensor, "2 D"]:
        """What is decoded from empty codes."""
        ...

    def encode(self, x_NMD: Float[Tensor, "N 2 D"]) -> Float[Tensor, "N 2 F"]:
        """Codes >= 0 that each model's reconstruction uses; a crosscoder's two sides are equal."""
        ...

    def decode(self, codes_NMF: Float[Tensor, "N 2 F"]) -> Float[Tensor, "N 2 D"]:
        """Reconstruction of both models."""
        ...


Mask = Bool[Tensor, " N"]
