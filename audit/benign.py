"""Benign fine-tunes of the base: as far from it as the tuned model, but trained on nothing in particular.

Each is a low-rank change of the base, trained for a few steps on half of the corpus and then scaled until
KL(base || null) per token on the other half equals KL(base || tuned) there. Where its activations are then
nearer to the base's than the tuned model's are, it is scaled further, until they are as far: training moves
features without moving predictions, and a null has to move them as much.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple, Protocol

import torch
from jaxtyping import Float
from safetensors.torch import load_file, save_file
from torch import Tensor

from audit.benign_shift import ShiftProbe
from audit.evidence.files import read_json, write_json
from audit.evidence.schema.results import BenignNull
from sae.types import Document, Pair, Side
from training.finetune import FinetuneConfig, LowRankChange, finetune, padded

if TYPE_CHECKING:
    from transformers import PreTrainedModel

    from audit.inputs import AuditInputs

KL_TOKENS = 512
"""Tokens on which the KLs are matched."""
TEXT = 48
"""Tokens of each text that are read for it."""
CLOSE = 0.05
"""The KL is matched when it is within this share of its target."""
TRIES = 8
WIDEST = 4.0
"""Times the scale of the matched KL to which a null may be widened."""
WEIGHTS, NOTES = "change.safetensors", "null.json"


@dataclass(frozen=True)
class BenignPair:
    """The base and one benign fine-tune of it, as a pair of models."""

    pair: Pair
    change: LowRankChange

    @contextmanager
    def model(self, side: Side) -> Iterator[PreTrainedModel]:
        """The base itself, or the base with the change for the length of the block."""
        with self.pair.model("base") as base:
            if side == "base":
                yield base
                return
            with self.change.on(base):
                yield base


@dataclass(frozen=True)
class Benign:
    """A benign fine-tune and how well its KL matches."""

    pair: BenignPair
    facts: BenignNull


def settings_for(audit: AuditInputs, seed: int) -> FinetuneConfig:
    """Rank and layers of the tuned model's adapter where it is one, else rank 8 on all linear layers."""
    adapter = audit.tuned.adapter or audit.base.adapter
    if adapter is None or adapter.config.get("peft_type") != "LORA":
        return FinetuneConfig(seed=seed)
    targets = adapter.config.get("target_modules")
    names = tuple(sorted(name.rsplit(".", 1)[-1] for name in targets)) if isinstance(targets, list) else None
    return FinetuneConfig(rank=int(adapter.config.get("r", 8)), targets=names, seed=seed)


def benign_fine_tune(
    pair: Pair,
    documents: Sequence[Document],
    config: FinetuneConfig,
    *,
    vocabulary: int,
    folder: Path,
    layers: Sequence[int] = (),
    batch_size: int = 8,
    progress: Callable[[int], object] = lambda done: None,
) -> Benign | None:
    """Trains, scales and keeps one benign fine-tune, or reads back the one that an earlier try kept.

    Args:
        pair: base and tuned model; one is open at a time.
        documents: every other one is trained on, the rest are for the KL.
        config: how it is trained.
        vocabulary: tokens that both models know.
        folder: where it is kept.
        layers: blocks whose output has to lie as far from the base as the tuned model's; none: only the KL.
        batch_size: texts per forward pass of the KL.
        progress: called with the number of training steps just done.

    Returns:
        None where tuned and base give the same predictions: there is no distance to match.

    Raises:
        TrainingError: the base has no layer that could be trained, or training it fails.
    """
    with pair.model("base") as base:
        kept = _kept(folder, base)
    if kept is not None:
        return Benign(BenignPair(pair, kept[0]), kept[1])
    rows = _rows(documents[1::2] or documents)
    probe = KLProbe.of(pair, rows, vocabulary, batch_size)
    with pair.model("tuned") as tuned:
        target = probe.kl(tuned)
    if not target > 0:
        return None
    with pair.model("base") as base:
        change = finetune(base, [d.tokens for d in documents[::2]], config, progress=progress)
        with change.on(base):
            reached = match_kl(change, target, lambda: probe.kl(base))
    if layers and _widen(pair, change, ShiftProbe.of(pair, probe.batches, layers)):
        with pair.model("base") as base, change.on(base):
            reached = probe.kl(base)
    facts = BenignNull(
        seed=config.seed,
        steps=config.steps,
        scale=change.scale,
        kl_target=target,
        kl_reached=reached,
        kl_tokens=probe.tokens,
    )
    _keep(folder, change, facts)
    return Benign(BenignPair(pair, change), facts)


def _widen(pair: Pair, change: LowRankChange, probe: ShiftProbe) -> bool:
    """Scales a change up until activations move as far as the tuned model's; whether that was needed.

    It ends at `WIDEST` times the scale: activations of models that have nothing in common differ by more
    than any scale of a fine-tune can reach.
    """
    with pair.model("tuned") as tuned:
        wanted, start = probe.shift(tuned), change.scale
    with pair.model("base") as base, change.on(base):
        while change.scale < WIDEST * start:
            now, before = probe.shift(base), change.scale
            if not 0 < now < (1 - CLOSE) * wanted:
                break
            change.scale = min(before * min(math.sqrt(wanted / now), 2.0), WIDEST * start)
            if not math.isfinite(probe.shift(base)):
                change.scale = before
                break
    return change.scale != start


class Scaled(Protocol):
    """A change that can be made larger or smaller."""

    scale: float


def match_kl(change: Scaled, target: float, kl: Callable[[], float]) -> float:
    """Scales a change until its KL is within `CLOSE` of the target; returns the KL that it has then.

    Regula falsi in the logarithms of scale and KL: the KL grows as a power of the scale, at first taken for
    the square and then read off the last two tries. What falls outside the bracket is replaced by its middle.
    """
    tries: list[_Try] = []
    for _ in range(TRIES):
        found = kl()
        finite = math.isfinite(found)
        tries.append(_Try(change.scale, found if finite else math.inf))
        if tries[-1].miss(target) <= math.log1p(CLOSE) or found == 0:
            break
        change.scale = _next(tries, target)
    best = min(tries, key=lambda one: one.miss(target))
    change.scale = best.scale
    return best.kl


class _Try(NamedTuple):
    scale: float
    kl: float

    def miss(self, target: float) -> float:
        """Distance from the target, in the logarithm."""
        return abs(math.log(self.kl / target)) if 0 < self.kl < math.inf else math.inf


def _next(tries: Sequence[_Try], target: float) -> float:
    low = max((one.scale for one in tries if one.kl < target), default=0.0)
    high = min((one.scale for one in tries if one.kl >= target), default=math.inf)
    last, power = tries[-1], 2.0
    if len(tries) > 1 and math.isfinite(tries[-2].kl * last.kl) and tries[-2].scale != last.scale:
        power = math.log(last.kl / tries[-2].kl) / math.log(last.scale / tries[-2].scale)
    if math.isfinite(last.kl) and power > 0:
        factor: float = (target / last.kl) ** (1 / power)
        wanted = last.scale * min(factor, 10.0)
        if low < wanted < high:
            return wanted
    if not math.isfinite(high):
        return last.scale * 4
    return math.sqrt(low * high) if low > 0 else high / 4


@dataclass(frozen=True)
class KLProbe:
    """Texts and the base's predictions on them, kept to hold other models against."""

    batches: tuple[tuple[tuple[int, ...], ...], ...]
    log_p: tuple[Float[Tensor, "K V"], ...]
    vocabulary: int
    tokens: int

    @classmethod
    def of(cls, pair: Pair, rows: Sequence[tuple[int, ...]], vocabulary: int, batch_size: int) -> KLProbe:
        """Reads the texts with the base."""
        batches = tuple(tuple(rows[i : i + batch_size]) for i in range(0, len(rows), batch_size))
        with pair.model("base") as base:
            log_p = tuple(_log_p(base, batch, vocabulary) for batch in batches)
        return cls(batches, log_p, vocabulary, sum(map(len, log_p)))

    def kl(self, model: PreTrainedModel) -> float:
        """KL(base || model) per predicted token, nats."""
        total = 0.0
        for batch, log_p in zip(self.batches, self.log_p, strict=True):
            log_q = _log_p(model, batch, self.vocabulary)
            total += float((log_p.exp() * (log_p - log_q)).sum(dtype=torch.float64))
        return total / self.tokens


@torch.no_grad()
def _log_p(model: PreTrainedModel, rows: Sequence[tuple[int, ...]], vocabulary: int) -> Float[Tensor, "K V"]:
    ids, mask = padded(rows, model.device)
    plain: Any = model
    logits: Tensor = plain(input_ids=ids, attention_mask=mask, use_cache=False).logits
    return logits[mask.bool()][:, :vocabulary].float().log_softmax(-1)


def _rows(documents: Sequence[Document]) -> list[tuple[int, ...]]:
    """The first texts that together have `KL_TOKENS` tokens."""
    rows, count = [], 0
    for document in documents:
        if count >= KL_TOKENS:
            break
        rows.append(document.tokens[: min(TEXT, KL_TOKENS - count)])
        count += len(rows[-1])
    return rows


def _keep(folder: Path, change: LowRankChange, facts: BenignNull) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    save_file({name: t.cpu().contiguous() for name, t in change.state_dict().items()}, folder / WEIGHTS)
    notes = {"names": list(change.names), "facts": facts.model_dump(mode="json")}
    write_json(folder / NOTES, notes)  # last: it says that the weights are whole


def _kept(folder: Path, base: PreTrainedModel) -> tuple[LowRankChange, BenignNull] | None:
    if not (folder / NOTES).is_file():
        return None
    notes, tensors = read_json(folder / NOTES), load_file(folder / WEIGHTS)
    shapes = {
        name: (tensors[f"down.{i}"].shape[1], tensors[f"up.{i}"].shape[0])
        for i, name in enumerate(notes["names"])
    }
    facts = BenignNull.model_validate(notes["facts"])
    change = LowRankChange(shapes, rank=len(tensors["down.0"]), seed=0)
    change.load_state_dict(tensors)
    change.scale = facts.scale
    return change.to(base.device).requires_grad_(False), facts
