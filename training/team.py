"""The processes that train one policy together; a run without torchrun is a team of one."""

from __future__ import annotations

import atexit
import os
from collections.abc import Iterable
from contextlib import AbstractContextManager, nullcontext
from typing import Any, TypeVar

import torch
from torch import Tensor, nn

T = TypeVar("T")


class Team:
    """One process alone: every sum is its own number, and nothing is sent anywhere."""

    rank = 0
    size = 1
    device: str | None = None
    """Where this process's model belongs; None: wherever the user says."""

    def totals(self, *numbers: float) -> tuple[float, ...]:
        """The sum of each number over the team."""
        return numbers

    def gather(self, mine: T) -> list[T]:
        """What every process brought, in the order of their ranks."""
        return [mine]

    def tell(self, said: T) -> T:
        """What the first process said."""
        return said

    def add_gradients(self, parameters: Iterable[nn.Parameter]) -> None:
        """Replaces every gradient by its sum over the team."""

    def autocast(self) -> AbstractContextManager[Any]:
        """The precision in which the model computes."""
        return nullcontext()


class Accelerated(Team):
    """Processes started by torchrun or `accelerate launch`, and mixed precision, through accelerate.

    Every process holds the whole model, samples its share of the prompts and adds its gradient to the
    others'; sharded models (FSDP, DeepSpeed) are the affair of the TRL backend.
    """

    def __init__(self, precision: str = "no", *, cpu: bool = False) -> None:
        """Joins the team.

        Args:
            precision: no or bf16: that of the forward passes; weights and optimiser keep theirs.
            cpu: whether to leave a GPU alone.
        """
        from accelerate import Accelerator  # type: ignore[import-untyped]  # it ships no types

        self._accelerator = Accelerator(mixed_precision=precision, cpu=cpu)
        # A process that ends while its group's threads still run is aborted by C++ on its way out.
        atexit.register(self._accelerator.end_training)
        self.rank = self._accelerator.process_index
        self.size = self._accelerator.num_processes
        self.device = str(self._accelerator.device) if self.size > 1 else None

    def totals(self, *numbers: float) -> tuple[float, ...]:
        """The sum of each number over the team."""
        if self.size == 1:
            return numbers
        mine = torch.tensor(numbers, dtype=torch.float64, device=self._accelerator.device)
        found: Tensor = self._accelerator.reduce(mine, reduction="sum")
        return tuple(found.tolist())

    def gather(self, mine: T) -> list[T]:
        """What every process brought, in the order of their ranks."""
        from accelerate.utils import gather_object  # type: ignore[import-untyped]  # likewise

        return list(gather_object([mine]))

    def tell(self, said: T) -> T:
        """What the first process said."""
        from accelerate.utils import broadcast_object_list

        said_list: list[T] = broadcast_object_list([said])
        return said_list[0]

    def add_gradients(self, parameters: Iterable[nn.Parameter]) -> None:
        """Replaces every gradient by its sum over the team, sent as one tensor."""
        if self.size == 1:
            return
        those = list(parameters)
        mine = [torch.zeros_like(p) if p.grad is None else p.grad for p in those]
        flat = torch.cat([gradient.flatten() for gradient in mine])
        total: Tensor = self._accelerator.reduce(flat, reduction="sum")
        parts = torch.split(total, [gradient.numel() for gradient in mine])
        for parameter, part in zip(those, parts, strict=True):
            parameter.grad = part.view_as(parameter).clone()

    def autocast(self) -> AbstractContextManager[Any]:
        """The precision in which the model computes."""
        context: AbstractContextManager[Any] = self._accelerator.autocast()
        return context


ALONE = Team()


def make_team(precision: str = "no", device: str = "auto") -> Team:
    """The team that this process belongs to, by the variables that torchrun sets.

    Args:
        precision: no or bf16.
        device: where the model will lie; cpu leaves a GPU alone.
    """
    if precision == "no" and int(os.environ.get("WORLD_SIZE", "1")) == 1:
        return ALONE
    return Accelerated(precision, cpu=device == "cpu")
