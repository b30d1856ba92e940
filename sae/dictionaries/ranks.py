"""Several processes that train one dictionary, as torchrun starts them.

A caller that has made torch's process group gets data parallelism: each process takes its share of every
batch, gradients are averaged by torch's DistributedDataParallel, and all end with the same weights.
"""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from typing import Any, NamedTuple

from torch import Tensor, distributed, nn


class Ranks(NamedTuple):
    """Which process this is."""

    rank: int = 0
    processes: int = 1

    def share(self, x: Tensor, parts: int) -> list[Tensor]:
        """This process's part of a batch, in `parts` of equal size."""
        return list(x.chunk(self.processes * parts)[self.rank * parts :][:parts])

    def summed(self, tensor: Tensor) -> Tensor:
        """A sum over the processes."""
        if self.processes > 1:
            distributed.all_reduce(tensor)
        return tensor


def ranks() -> Ranks:
    """The process group's, or one process alone."""
    if not (distributed.is_available() and distributed.is_initialized()):
        return Ranks()
    return Ranks(distributed.get_rank(), distributed.get_world_size())


class Pass(nn.Module):
    """A forward pass as a module, which is what torch's data parallelism wraps."""

    def __init__(self, coder: nn.Module, objective: Callable[..., Any]) -> None:
        """Takes the coder, whose gradients are to be averaged, and what is computed with it."""
        super().__init__()
        self.coder, self.objective = coder, objective

    def forward(self, *inputs: Any) -> Any:
        """The objective's outcome."""
        return self.objective(self.coder, *inputs)


def parallel(module: Pass, at: Ranks) -> Pass:
    """The module, with gradients averaged over the processes if there are several."""
    if at.processes == 1:
        return module
    wrapped: Any = nn.parallel.DistributedDataParallel(module, broadcast_buffers=False)
    return wrapped  # type: ignore[no-any-return]  # it calls as the module does


def unsynchronised(module: Any, last: bool) -> AbstractContextManager[Any]:
    """Holds the averaging back until the last part of a batch."""
    if last or not isinstance(module, nn.parallel.DistributedDataParallel):
        return nullcontext()
    waiting: AbstractContextManager[Any] = module.no_sync()
    return waiting
