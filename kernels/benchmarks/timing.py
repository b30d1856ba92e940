"""Median time of a call, with its spread, and the memory it takes beyond its inputs."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import NamedTuple

import torch


class Timed(NamedTuple):
    """Milliseconds and megabytes of a call."""

    p20: float
    p50: float
    p80: float
    peak_mb: float
    """Most memory allocated beyond what was there before; nan on a CPU."""


def timed(call: Callable[[], object], device: str, seconds: float = 0.5) -> Timed:
    """Quantiles over calls in `seconds`, after some that warm up; on a device by events."""
    for _ in range(3):
        call()
    if device == "cpu":
        return _on_cpu(call, seconds)
    from triton.testing import do_bench

    torch.cuda.synchronize()
    torch.cuda.reset_peak_memory_stats()
    before = torch.cuda.memory_allocated()
    call()
    torch.cuda.synchronize()
    peak = (torch.cuda.max_memory_allocated() - before) / 1e6
    p20, p50, p80 = do_bench(call, warmup=50, rep=1000 * seconds, quantiles=[0.2, 0.5, 0.8])
    return Timed(p20, p50, p80, peak)


def _on_cpu(call: Callable[[], object], seconds: float) -> Timed:
    taken: list[float] = []
    begin = time.perf_counter()
    while len(taken) < 5 or time.perf_counter() - begin < seconds:
        start = time.perf_counter()
        call()
        taken.append(1e3 * (time.perf_counter() - start))
    p20, p50, p80 = torch.tensor(taken).quantile(torch.tensor([0.2, 0.5, 0.8])).tolist()
    return Timed(p20, p50, p80, float("nan"))
