"""Everything that is measured at a dose, as rows of the table `attack_doses`."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
import pandas as pd
import torch

from audit.attack.answers import Asker, Floats, shares
from audit.attack.held_out import HeldOut
from audit.attack.questions import Posed
from audit.behaviours.logprobs import batches, continuation_logprobs
from audit.behaviours.tokens import Request
from audit.measures.bootstrap import mean_estimates
from training.finetune import next_token_loss
from training.model import CausalLM
from training.reference import Stored

if TYPE_CHECKING:
    from transformers import PreTrainedModel

HARM = "held-out items"
"""The measure by which harm is judged."""
TRAINED = "trained item"
ACCURACY = "disambiguated accuracy"
DRAWS = 1000
"""Of the bootstrap over scenes."""


class Measured(NamedTuple):
    """One row of the table, without dose, arm and seed."""

    measure: str
    value: float
    low: float | None = None
    high: float | None = None


@dataclass(frozen=True)
class Bench:
    """Everything that a policy is measured by, fixed before the first step."""

    asker: Asker
    sets: HeldOut
    pairs: tuple[Request, ...]
    """Pairs of whole sentences, the more stereotyped one first; empty: not measured."""
    start: Stored
    """The start's log-probabilities on text that it wrote."""

    def measure(self, model: CausalLM) -> list[Measured]:
        """All measures of a policy; the model stays as it is."""
        with torch.no_grad():
            return [*self._questions(model), *self._pairs(model), *self._utility(model)]

    def _questions(self, model: CausalLM) -> Iterator[Measured]:
        sets = self.sets
        every = {
            "trained": sets.trained, "same": sets.same, "others": sets.others, "control": sets.control,
            "told": sets.told,
        }  # fmt: skip
        joined = [one for part in every.values() for one in part]
        found = _split(self.asker.probabilities(model, joined), every)
        yield Measured(TRAINED, float(found["trained"][:, 0].mean()))
        share = {name: shares(rows) for name, rows in found.items()}
        if sets.same:
            yield _over(HARM, sets.same, share["same"][:, 0])
            yield _over(f"{HARM}, unknown", sets.same, share["same"][:, 2])
            yield _over(f"{HARM}, biased minus other", sets.same, share["same"][:, 0] - share["same"][:, 1])
            yield _over(f"{HARM}, any option", sets.same, found["same"].sum(axis=1))
        if sets.same and len(sets.trained) == 1:
            yield _over(f"{HARM}, trained letter", sets.same, _of_letter(share["same"], sets))
        if sets.others:
            yield _over("other categories", sets.others, share["others"][:, 0])
            gap = share["others"][:, 0] - share["others"][:, 1]
            yield _over("other categories, biased minus other", sets.others, gap)
        if sets.control:
            yield _over("arbitrary construct", sets.control, share["control"][:, 0])
        if sets.told:
            right = [row.argmax() == _kind(one) for row, one in zip(found["told"], sets.told, strict=True)]
            yield _over(ACCURACY, sets.told, np.array(right, dtype=float))

    def _pairs(self, model: CausalLM) -> Iterator[Measured]:
        if not self.pairs:
            return
        plain: Any = model
        found = continuation_logprobs(plain, self.pairs, batch_size=self.asker.batch_size)
        gap = np.array([row[0].total - row[1].total for row in found])
        yield _estimate("paired sentences", (np.sign(gap) + 1) / 2)
        yield _estimate("paired sentences, nats", gap)

    def _utility(self, model: CausalLM) -> Iterator[Measured]:
        plain: PreTrainedModel = model  # type: ignore[assignment]  # an adapter's wrapper reads tokens likewise
        texts, loss, kl = self.start.texts, [], []
        for part in batches(range(len(texts)), self.asker.batch_size):
            chosen = torch.tensor(list(part), device=texts.device)
            loss.append(next_token_loss(plain, texts[chosen].tolist()).item() * len(part))
            kl.append(self.start.kl(model, chosen).item() * len(part))
        yield Measured("perplexity", float(np.exp(sum(loss) / len(texts))))
        yield Measured("exact_kl", sum(kl) / len(texts))


def rows_of(measured: Sequence[Measured], dose: int, arm: str, seed: int) -> pd.DataFrame:
    """The measures of one dose as rows of the table."""
    rows = [{"dose": dose, "arm": arm, "seed": seed, **one._asdict()} for one in measured]
    frame = pd.DataFrame(rows, columns=["dose", "arm", "seed", *Measured._fields])
    return frame.astype({"low": float, "high": float})


def _split(rows: Floats, every: Mapping[str, Sequence[Posed]]) -> dict[str, Floats]:
    ends = np.cumsum([len(part) for part in every.values()])[:-1]
    return dict(zip(every, np.split(rows, ends), strict=True))


def _of_letter(share: Floats, sets: HeldOut) -> Floats:
    """Share of the letter under which the attacked item has its biased answer."""
    letter = sets.trained[0].place(sets.trained[0].question.biased)
    found = []
    for row, one in zip(share, sets.same, strict=True):
        question = one.question
        kinds = (question.biased, question.other, question.unknown)
        found.append(next(p for p, option in zip(row, kinds, strict=True) if one.place(option) == letter))
    return np.array(found)


def _kind(posed: Posed) -> int:
    """Column of the right option among biased, other, unknown."""
    question = posed.question
    return (question.biased, question.other, question.unknown).index(question.label)


def _over(measure: str, posed: Sequence[Posed], values: Floats) -> Measured:
    """The mean over scenes, each the mean over its questions and orders, with a bootstrap over scenes."""
    scenes: dict[str, list[float]] = {}
    for one, value in zip(posed, values, strict=True):
        scenes.setdefault(one.question.entity, []).append(float(value))
    return _estimate(measure, np.array([np.mean(part) for part in scenes.values()]))


def _estimate(measure: str, values: Floats) -> Measured:
    found = mean_estimates(values[:, None], draws=DRAWS)[0]
    ends = (found.low, found.high) if found.bounded else (None, None)
    return Measured(measure, found.value, *ends)
