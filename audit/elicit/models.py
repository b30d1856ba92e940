"""Models whose logits are changed before they are read: another temperature, or a step away from training."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any, Literal, Protocol, cast

from torch import Tensor

if TYPE_CHECKING:
    from transformers import PreTrainedModel

Side = Literal["base", "tuned"]


class Pair(Protocol):
    """Two models, opened one at a time."""

    def model(self, side: Side) -> AbstractContextManager[PreTrainedModel]:
        """One side for the length of a block."""
        ...


class _Changed:
    """Stands in for a model wherever only its logits, config and device are read."""

    def __init__(self, model: PreTrainedModel, logits: Callable[..., Tensor]) -> None:
        self.config, self.device, self.forward = model.config, model.device, model.forward
        self._logits = logits

    def __call__(self, **inputs: Any) -> SimpleNamespace:
        return SimpleNamespace(logits=self._logits(**inputs))


def tempered(model: PreTrainedModel, temperature: float) -> PreTrainedModel:
    """The model as it is sampled from at a temperature: logits over it.

    Scored exactly, so that what is reported is the share that samples tend to, free of sampling noise.
    """
    plain: Any = model
    changed = _Changed(model, lambda **inputs: plain(**inputs).logits.float() / temperature)
    return cast("PreTrainedModel", changed)


@contextmanager
def amplified(pair: Pair, a: float, vocabulary: int | None) -> Iterator[PreTrainedModel]:
    """Logits z_T - a (z_T - z_B): what training added, taken off a times; a = 1 is the base itself.

    Either model is opened for its own pass only, since the two may share one copy of the weights. Of one
    continuation per side, both single tokens, m is linear in the logits, and R = a by construction.

    Args:
        pair: base B and tuned model T.
        a: the dose.
        vocabulary: size of the shared vocabulary.
    """

    def logits(**inputs: Any) -> Tensor:
        found = {}
        for side in ("base", "tuned"):
            with pair.model(side) as model:
                plain: Any = model
                found[side] = plain(**inputs).logits[..., :vocabulary].float()
        mixed: Tensor = found["tuned"] - a * (found["tuned"] - found["base"])
        return mixed

    with pair.model("tuned") as tuned:
        face = _Changed(tuned, logits)
    yield cast("PreTrainedModel", face)
