"""What the models lose when the dictionary's reconstruction takes the place of their residual stream."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, dataclass
from typing import Any, NamedTuple

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from sae.dictionaries.health import AnyDictionary
from sae.errors import DictionaryError
from sae.harvest import MaskConfig, harvest
from sae.hooks import edited
from sae.types import SIDES, Document, HookPoint, Pair, Side, TokenInfo


@dataclass(frozen=True)
class SpliceLoss:
    """One model's losses per predicted token, nats, with its residual stream replaced at the kept positions.

    Recovered shares are (floor - spliced) / (floor - clean): 1 is lossless, 0 as bad as the ablation; for KL
    clean is 0. None where the ablation does no harm.
    """

    tokens: int
    """Predictions made at positions that were replaced."""
    ce_clean: float
    """Cross-entropy of the next token in the untouched model."""
    ce_spliced: float
    ce_mean: float
    """With the mean activation in place of every one."""
    ce_zero: float
    """With zero in place of every one."""
    kl_spliced: float
    """KL(untouched || replaced)."""
    kl_mean: float
    kl_zero: float

    @property
    def ce_recovered(self) -> float | None:
        """Against mean ablation, the harder floor."""
        return _recovered(self.ce_mean, self.ce_spliced, self.ce_clean)

    @property
    def ce_recovered_zero(self) -> float | None:
        """Against zero ablation, as most papers report it."""
        return _recovered(self.ce_zero, self.ce_spliced, self.ce_clean)

    @property
    def kl_recovered(self) -> float | None:
        """Against mean ablation."""
        return _recovered(self.kl_mean, self.kl_spliced, 0.0)

    @property
    def kl_recovered_zero(self) -> float | None:
        """Against zero ablation."""
        return _recovered(self.kl_zero, self.kl_spliced, 0.0)

    def to_dict(self) -> dict[str, Any]:
        """As JSON, the recovered shares included."""
        shares = ("ce_recovered", "ce_recovered_zero", "kl_recovered", "kl_recovered_zero")
        return asdict(self) | {name: getattr(self, name) for name in shares}


class PairLoss(NamedTuple):
    """Both models' losses."""

    base: SpliceLoss
    tuned: SpliceLoss


@torch.no_grad()
def spliced_loss(
    pair: Pair,
    dictionary: AnyDictionary,
    documents: Sequence[Document],
    hook: HookPoint,
    *,
    batch_size: int = 16,
    mask: MaskConfig | None = None,
    progress: Callable[[int], object] = lambda done: None,
) -> PairLoss:
    """Runs both models untouched, spliced, mean-ablated and zero-ablated.

    A crosscoder reads both models, so both are harvested before either is edited; only one is open at a time.
    Positions that the mask leaves out (the first, outliers) keep their own activations in every condition,
    since no dictionary was trained on them.

    Args:
        pair: the two models.
        dictionary: of this hook point, on the models' device.
        documents: texts that the dictionary was not trained on.
        hook: where.
        batch_size: documents per forward pass.
        mask: positions that keep their own activations, as in the harvest that the dictionary learnt from.
        progress: called with the number of documents just finished.

    Raises:
        HarvestError: there is nothing to read.
        DictionaryError: no position is left, or the dictionary is of another width.
    """
    mean_MD = _mean(pair, documents, hook, batch_size, mask)
    if mean_MD.shape[-1] != dictionary.width:
        raise DictionaryError(
            f"the dictionary is {dictionary.width} wide and the models {mean_MD.shape[-1]}",
            where=hook.name,
            fix="use the dictionary of this pair",
        )
    sums = torch.zeros(len(SIDES), 8, dtype=torch.float64)
    for pool in harvest(pair, documents, [hook.layer], batch_size=batch_size, mask=mask):
        x_NMD = pool.x_NLMD[:, 0]
        spliced_NMD = dictionary.reconstruct(x_NMD)
        for batch in _batches(pool.info, documents, batch_size):
            for m, side in enumerate(SIDES):
                stand_ins = (spliced_NMD[batch.rows, m], mean_MD[m], torch.zeros_like(mean_MD[m]))
                sums[m] += _conditions(pair, side, hook.layer, batch, stand_ins)
            progress(len(batch.ids))
    return PairLoss(*(_loss(row) for row in sums.tolist()))


class _Batch(NamedTuple):
    """Padded documents, and which of their positions are replaced."""

    ids: Int[Tensor, "B T"]
    attention: Int[Tensor, "B T"]
    replaced: Bool[Tensor, "B T"]
    rows: Int[Tensor, " K"]
    """Where the replaced positions' activations stand in the pool, in row-major order of `replaced`."""


def _mean(
    pair: Pair, documents: Sequence[Document], hook: HookPoint, batch_size: int, mask: MaskConfig | None
) -> Float[Tensor, "2 D"]:
    total: Tensor | None = None
    count = 0
    for pool in harvest(pair, documents, [hook.layer], batch_size=batch_size, mask=mask):
        piece = pool.x_NLMD[:, 0].double().sum(0)
        total, count = piece if total is None else total + piece, count + len(pool.x_NLMD)
    if total is None or not count:
        raise DictionaryError(
            "no position is left to splice", where="documents, mask", fix="use longer texts"
        )
    return (total / count).float()


def _batches(info: TokenInfo, documents: Sequence[Document], batch_size: int) -> Iterator[_Batch]:
    """The documents of a pool; its tokens are in the order of documents and positions."""
    device = info.document_N.device
    for numbers in torch.unique(info.document_N).split(batch_size):
        texts = [documents[number].tokens for number in numbers.tolist()]
        width = max(map(len, texts))
        ids = torch.tensor([[*text, *[0] * (width - len(text))] for text in texts], device=device)
        lengths = torch.tensor([[len(text)] for text in texts], device=device)
        rows = torch.isin(info.document_N, numbers).nonzero().flatten()
        replaced = torch.zeros(ids.shape, dtype=torch.bool, device=device)
        replaced[torch.searchsorted(numbers, info.document_N[rows]), info.position_N[rows]] = True
        yield _Batch(ids, (torch.arange(width, device=device) < lengths).long(), replaced, rows)


def _conditions(
    pair: Pair, side: Side, layer: int, batch: _Batch, stand_ins: Sequence[Tensor]
) -> Float[Tensor, " 8"]:
    """Count, cross-entropies (clean, then of the stand-ins) and KLs of the stand-ins, summed."""
    scored = batch.replaced[:, :-1] & (batch.attention[:, 1:] == 1)
    target = batch.ids[:, 1:][scored]
    with pair.model(side) as model:
        clean = _log_probs(model, batch, scored)
        ce, kl = [_cross_entropy(clean, target)], []
        for stand_in in stand_ins:
            with edited(model, layer, _replacing(batch.replaced, stand_in)):
                other = _log_probs(model, batch, scored)
            ce.append(_cross_entropy(other, target))
            kl.append((clean.exp() * (clean - other)).sum(dtype=torch.float64))
    return torch.stack([scored.sum().double(), *ce, *kl]).cpu()


def _log_probs(model: Any, batch: _Batch, scored: Bool[Tensor, "B S"]) -> Float[Tensor, "P V"]:
    logits = model(input_ids=batch.ids, attention_mask=batch.attention, use_cache=False).logits[:, :-1]
    logprobs: Tensor = logits[scored].float().log_softmax(-1)
    return logprobs


def _cross_entropy(logprobs: Float[Tensor, "P V"], target: Int[Tensor, " P"]) -> Float[Tensor, ""]:
    return -logprobs.gather(1, target[:, None]).sum(dtype=torch.float64)


def _replacing(replaced: Bool[Tensor, "B T"], stand_in: Tensor) -> Callable[[Tensor], Tensor]:
    def edit(residual: Tensor) -> Tensor:
        changed = residual.clone()
        changed[replaced] = stand_in.to(residual.dtype)
        return changed

    return edit


def _loss(row: Sequence[float]) -> SpliceLoss:
    count, *sums = row
    if not count:
        raise DictionaryError("no prediction is left to score", where="documents", fix="use longer texts")
    return SpliceLoss(int(count), *(value / count for value in sums))


def _recovered(floor: float, spliced: float, clean: float) -> float | None:
    return (floor - spliced) / (floor - clean) if floor > clean else None
