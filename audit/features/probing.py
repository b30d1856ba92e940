"""A text through a stored dictionary: what its latents do on each token, in both models."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Literal, NamedTuple

import torch
from jaxtyping import Float
from torch import Tensor

from audit.errors import UsageError
from audit.features.frames import token_text
from sae.corpus import Reader, documents
from sae.features.examples import activations
from sae.harvest import MaskConfig, harvest
from sae.records import Record
from sae.types import Document, Pair, PairedDictionary

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase

    from sae.dictionaries import AnyDictionary

Order = Literal["strongest", "difference"]
MOST_TOKENS = 512
FIRST = MaskConfig().first
"""Tokens at the start that audits leave out: models park attention there."""


class TextCodes(NamedTuple):
    """A text as both models and a dictionary read it."""

    tokens: list[str]
    activation_TFM: Float[Tensor, "T F 2"]
    """As in the table `examples`: 0 where a latent is silent or the token is left out."""
    left_out: int
    """Tokens at the start that audits leave out."""
    joint: bool
    """The dictionary has one code for both models."""


def text_document(text: str, tokenizer: PreTrainedTokenizerBase, vocabulary: int, room: int) -> Document:
    """The text as one document of plain text.

    Args:
        text: what is read.
        tokenizer: of the tuned model.
        vocabulary: ids that both models share.
        room: tokens that the models' context holds.

    Raises:
        UsageError: it is longer than a probe may be.
        CorpusError: it has no tokens, or one that only one of the models knows.
    """
    reader = Reader(tokenizer, None, 10 * len(text) + 10, vocabulary)
    document = documents([[Record("the text", text)]], reader)[0]
    most = min(MOST_TOKENS, room)
    if len(document.tokens) > most:
        problem = f"The text has {len(document.tokens)} tokens; a probe reads at most {most}."
        raise UsageError(problem, where="--text", fix="give a shorter text")
    return document


@torch.no_grad()
def text_codes(
    pair: Pair,
    document: Document,
    dictionary: AnyDictionary,
    layer: int,
    tokenizer: PreTrainedTokenizerBase,
) -> TextCodes:
    """Reads the document with both models; no token but the first is left out, however large its norm."""
    keep_all = MaskConfig(first=0, outlier=None)
    piece = next(harvest(pair, [document], [layer], mask=keep_all))
    coder: PairedDictionary = dictionary
    every = torch.arange(dictionary.latents, device=dictionary.decoder_FMD.device)
    x_NMD = piece.x_NLMD[:, 0].to(every.device).float()
    found = activations(coder, x_NMD, every, joint=dictionary.joint).cpu()
    found[:FIRST] = 0
    tokens = [token_text(tokenizer, token) for token in document.tokens]
    return TextCodes(tokens, found, min(FIRST, len(tokens)), dictionary.joint)


def chosen_latents(
    activation_TFM: Float[Tensor, "T F 2"], top: int, order: Order, asked: Sequence[int] = ()
) -> list[int]:
    """Those asked for, then the strongest (or those that differ most between the models).

    Args:
        activation_TFM: of all latents.
        top: how many besides those asked for.
        order: by the largest activation in either model, or by the largest difference at one token.
        asked: latents that are wanted whatever they do.

    Raises:
        UsageError: there is no such latent.
    """
    count = activation_TFM.shape[1]
    wrong = [latent for latent in asked if not 0 <= latent < count]
    if wrong:
        raise UsageError(
            f"There is no latent {wrong[0]}.",
            where="--latent",
            fix=f"use 0 to {count - 1} of this hook point",
        )
    differs_TF = (activation_TFM[..., 0] - activation_TFM[..., 1]).abs()
    score_F = activation_TFM.amax((0, 2)) if order == "strongest" else differs_TF.amax(0)
    ranked = score_F.argsort(descending=True, stable=True)[:top].tolist()
    return list(dict.fromkeys([*asked, *(latent for latent in ranked if score_F[latent] > 0)]))
