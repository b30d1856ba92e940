"""A model whose forward passes run through nnsight: on this machine, or on one that holds it (NDIF).

It is called like a model of transformers, so that whatever scores a model scores this one, too. The same
interventions as `audit.causal.interventions` are changes of activations here (`audit.causal.plan`).

nnsight: Fiotto-Kaufman et al., "NNsight and NDIF: Democratizing Access to Open-Weight Foundation Model
Internals", arXiv 2407.14561.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import cached_property
from typing import TYPE_CHECKING, Any, NamedTuple

import torch
from torch import Tensor

from audit.causal.decompose import plain_copy
from audit.causal.interventions import Intervention
from audit.causal.plan import visits
from audit.causal.units import Layout
from audit.causal.weight_edits import WeightDeltas

if TYPE_CHECKING:
    from transformers import PreTrainedModel, PreTrainedTokenizerBase

SHIPPED = "audit.causal.arithmetic"
"""Sent by value with each forward pass."""
DROPPED = ("use_cache",)
READERS = ("without_outputs", "without_inputs", "without_rows")
"""Functions that read the input of the layer whose output they change."""


class Logits(NamedTuple):
    """What a forward pass gives."""

    logits: Tensor


@dataclass
class Traced:
    """A causal language model behind nnsight, with the interventions it currently runs under.

    Its own forward passes alone run under them: a model in memory is left as it is.
    """

    nnsight: Any
    """The wrapper; on a remote model its weights are on the meta device."""
    backend: Callable[[], Any] = field(default=lambda: None)
    """Makes what runs a trace; None is this machine."""
    _visits: list[Any] = field(default_factory=list)

    @classmethod
    def here(cls, model: PreTrainedModel, tokenizer: PreTrainedTokenizerBase) -> Traced:
        """A model in memory: its weights are shared, its modules copied, its adapter merged into copies."""
        from nnsight import TransformersModel

        return cls(TransformersModel(plain_copy(model), tokenizer=tokenizer))

    @property
    def config(self) -> Any:
        """The model's own."""
        return self._module.config

    @property
    def device(self) -> torch.device:
        """Where its inputs are made: a remote machine moves them itself."""
        device: torch.device = self._module.device
        return torch.device("cpu") if device.type == "meta" else device

    @property
    def forward(self) -> Any:
        """The model's own forward, for its signature."""
        return type(self._module).forward

    @cached_property
    def layout(self) -> Layout:
        """Units of the model."""
        return Layout(self._module)

    @contextmanager
    def under(
        self, interventions: Sequence[Intervention], deltas: WeightDeltas | None = None
    ) -> Iterator[None]:
        """For the length of a block, forward passes run with interventions, after those of outer blocks.

        Raises:
            ValueError: one cannot be told as a change of activations, or does not fit the model.
        """
        kept = self._visits
        added = [visit.as_plain() for visit in visits(self._module, self.layout, interventions, deltas)]
        if kept and added:
            raise ValueError("blocks of interventions cannot be nested here: give them as one list")
        self._visits = added
        try:
            yield
        finally:
            self._visits = kept

    def __call__(self, **inputs: Any) -> Logits:
        """One forward pass; `logits_to_keep` saves sending the others home."""
        from nnsight import save

        from audit.causal import arithmetic

        functions = {name: getattr(arithmetic, name) for name in _named(self._visits)}
        plan, readers = self._visits, READERS
        given = {name: value for name, value in inputs.items() if name not in DROPPED or not value}
        model = self.nnsight
        with model.trace(**given, backend=self.backend()):
            for path, before, after in plan:
                module = model.get(path)
                reading = any(name in readers for name, _ in after)
                x = module.input if before or reading else None
                for name, arguments in before:
                    x = functions[name](x, **arguments)
                if before:
                    module.input = x
                whole = module.output if after else None
                y = whole[0] if isinstance(whole, tuple) else whole
                for name, arguments in after:
                    read = {"x": x} if name in readers else {}
                    y = functions[name](y, **read, **arguments)
                if after:
                    module.output = (y, *whole[1:]) if isinstance(whole, tuple) else y
            found = save(model.output.logits.detach().cpu())
        return Logits(found)

    @property
    def _module(self) -> Any:
        return self.nnsight._module


def _named(plan: Sequence[Any]) -> set[str]:
    return {name for _, before, after in plan for name, _ in (*before, *after)}
