"""The texts of a concept as one model's activations: every layer that was asked for, at chosen positions."""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal, NamedTuple

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

from audit.behaviours.suite import Concept, ConceptText
from audit.errors import SuiteError
from sae.hooks import capture

if TYPE_CHECKING:
    from transformers import PreTrainedModel, PreTrainedTokenizerBase

Position = Literal["entity", "last"]
EMBEDDINGS = -1
"""The layer before the first: mean of the token embeddings, in which no word has read another."""


class Tokens(NamedTuple):
    """One text as token ids."""

    ids: tuple[int, ...]
    entity: range | None
    """Tokens of the entity's name; None where the text does not have it."""


@dataclass(frozen=True)
class Reading:
    """A concept's texts in one model."""

    x_PLND: Float[np.ndarray, "P L N D"]
    """Residual streams after the blocks `layers`, the embeddings first, float32."""
    positions: tuple[Position, ...]
    """entity: last token of the entity's name (embeddings: mean over the name); last: last token of the text
    (embeddings: mean over the text)."""
    layers: tuple[int, ...]
    """Blocks, `EMBEDDINGS` first."""
    without_entity: int
    """Texts that do not have their entity's name, read at their last token instead."""


def read_concept(
    model: PreTrainedModel,
    tokenizer: PreTrainedTokenizerBase,
    concept: Concept,
    layers: Sequence[int],
    *,
    batch_size: int,
    progress: Callable[[int], object] = lambda done: None,
) -> Reading:
    """One pass over the texts, which ends after the deepest layer.

    The position `entity` is left out where no text has its entity's name, and where the tokenizer cannot say
    which characters a token covers.

    Args:
        model: in eval mode.
        tokenizer: the model's.
        concept: texts [N].
        layers: blocks whose output is read.
        batch_size: texts per forward pass.
        progress: called with the number of texts done.

    Raises:
        SuiteError: a text has no tokens, or more than the model's context.
    """
    texts = [tokens_of(tokenizer, text) for text in concept.texts]
    _check(model, concept, texts)
    missing = sum(text.entity is None for text in texts)
    positions: tuple[Position, ...] = ("last",) if missing == len(texts) else ("entity", "last")
    order = sorted(range(len(texts)), key=lambda i: len(texts[i].ids))
    rows: list[Float[np.ndarray, "P L D"]] = [np.empty(0)] * len(texts)
    for start in range(0, len(order), batch_size):
        batch = order[start : start + batch_size]
        for i, row in zip(batch, _read(model, [texts[i] for i in batch], layers, positions), strict=True):
            rows[i] = row
        progress(len(batch))
    return Reading(np.stack(rows, axis=2), positions, (EMBEDDINGS, *layers), missing)


def tokens_of(tokenizer: PreTrainedTokenizerBase, text: ConceptText) -> Tokens:
    """A text's tokens, without closing special ones, and which of them spell its entity's name.

    The name is looked for without regard to case, hyphens and spaces being one; its first occurrence counts.
    """
    asked = {"return_offsets_mapping": True} if tokenizer.is_fast else {}
    found = tokenizer(text.text, return_special_tokens_mask=True, **asked)
    ids, special = list(found["input_ids"]), list(found["special_tokens_mask"])
    while ids and special[-1]:
        ids.pop()
        special.pop()
    name = re.search(re.sub(r"\\[-_ ]|_", "[-_ ]", re.escape(text.entity)), text.text, re.IGNORECASE)
    if name is None or not asked:
        return Tokens(tuple(ids), None)
    spelling = [
        place
        for place, (start, stop) in enumerate(found["offset_mapping"][: len(ids)])
        if start < name.end() and stop > name.start() and not special[place]
    ]
    return Tokens(tuple(ids), range(spelling[0], spelling[-1] + 1) if spelling else None)


def _check(model: PreTrainedModel, concept: Concept, texts: Sequence[Tokens]) -> None:
    context = getattr(model.config.get_text_config(), "max_position_embeddings", None)
    for text, tokens in zip(concept.texts, texts, strict=True):
        if not tokens.ids or (context is not None and len(tokens.ids) > context):
            problem = f"A text of the concept has {len(tokens.ids)} tokens; 1 to {context} can be read."
            where = f"concept {concept.name!r}, text {text.text[:60]!r}"
            raise SuiteError(problem, where=where, fix="shorten the text or leave it out")


def _read(
    model: PreTrainedModel, texts: Sequence[Tokens], layers: Sequence[int], positions: Sequence[Position]
) -> list[Float[np.ndarray, "P L D"]]:
    """Padded on the right, where a causal model cannot see it."""
    width = max(len(text.ids) for text in texts)
    ids = torch.zeros(len(texts), width, dtype=torch.long, device=model.device)
    mask = torch.zeros_like(ids)
    for row, text in enumerate(texts):
        ids[row, : len(text.ids)] = torch.tensor(text.ids)
        mask[row, : len(text.ids)] = 1
    stream_LBTD = capture(model, layers, ids, mask)
    embedding: Any = model.get_input_embeddings()
    with torch.inference_mode():
        words_BTD = embedding(ids)
    return [
        np.stack([_at(words_BTD[row], stream_LBTD[:, row], text, position) for position in positions])
        for row, text in enumerate(texts)
    ]


def _at(
    words_TD: Float[Tensor, "T D"], stream_LTD: Float[Tensor, "L T D"], text: Tokens, position: Position
) -> Float[np.ndarray, "L1 D"]:
    whole = range(len(text.ids))
    span = text.entity if position == "entity" and text.entity is not None else None
    words = words_TD[(span or whole).start : (span or whole).stop].float().mean(0)
    read = stream_LTD[:, (span or whole).stop - 1].float()
    found: Float[np.ndarray, "L1 D"] = torch.cat([words[None], read]).cpu().numpy()
    return found
