"""Where kernels run in tests: under Triton's interpreter, in a process of its own, or on a device.

A test that takes `venue` runs in both: `interpreter` is left to `test_interpreter.py`, which starts pytest
with TRITON_INTERPRET=1 (Triton reads it when it is imported); `cuda` is marked gpu, and skipped without a
device.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from typing import Any, NamedTuple

import pytest
import torch
from torch import Tensor

INTERPRETED = os.environ.get("TRITON_INTERPRET") == "1"


class Problem(NamedTuple):
    """Inputs of an encode, on a device."""

    x: Tensor
    weight: Tensor
    bias: Tensor


@pytest.fixture(params=["interpreter", pytest.param("cuda", marks=pytest.mark.gpu)])
def venue(request: pytest.FixtureRequest) -> str:
    """The device that kernels run on."""
    if request.param == "cuda" and not torch.cuda.is_available():
        pytest.skip("no CUDA device")
    return "cuda" if request.param == "cuda" else "cpu"


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """The interpreter's process runs the interpreter's tests, and no other does."""

    def fits(item: pytest.Item) -> bool:
        if "kernels" not in item.path.parts:
            return True
        parameters = item.callspec.params if hasattr(item, "callspec") else {}
        return (parameters.get("venue") == "interpreter") == INTERPRETED

    dropped = [item for item in items if not fits(item)]
    if dropped:
        config.hook.pytest_deselected(items=dropped)
        items[:] = [item for item in items if fits(item)]


@pytest.fixture(scope="session", autouse=True)
def fast_interpreter() -> None:
    """Spares the interpreter from patching triton.language anew at every call of a device function.

    The patches of a kernel's launch hold while it runs, and those of triton.language.core are never undone.
    """
    if not INTERPRETED:
        return
    import triton.language as tl
    from triton.runtime import interpreter

    patch, core = interpreter._patch_lang, []

    def once(function: Any) -> Any:
        in_core = any(value is tl.core for value in function.__globals__.values())
        if in_core and core:
            return None
        core.extend([True] * in_core)
        return patch(function)

    def call(self: Any, *args: Any, **kwargs: Any) -> Any:
        if any(value is tl.core for value in self.fn.__globals__.values()):
            once(self.fn)
        return self.rewrite()(*args, **kwargs)

    interpreter.InterpretedFunction.__call__ = call


@pytest.fixture
def problem() -> Callable[..., Problem]:
    """Maker of inputs: `problem(tokens, width, latents, device, dtype=float32, kind="random", seed=0)`.

    Kinds: random; negative (no code is active); few (at most two latents of a token are active); tied (small
    whole numbers, so that many scores are equal in every precision); sorted (scores fall with the index, so
    that the first tiles hold all of the largest); duplicated (each latent four times side by side); dense
    (one latent is always the largest); nan (two tokens hold NaN).
    """

    def make(
        tokens: int = 12,
        width: int = 24,
        latents: int = 100,
        device: str = "cpu",
        dtype: torch.dtype = torch.float32,
        kind: str = "random",
        seed: int = 0,
    ) -> Problem:
        g = torch.Generator().manual_seed(seed)
        x = torch.randn(tokens, width, generator=g)
        weight = torch.randn(width, latents, generator=g) / width**0.5
        bias = 0.1 * torch.randn(latents, generator=g)
        if kind == "negative":
            bias -= 100
        elif kind == "few":
            bias[2:] -= 100
        elif kind == "tied":
            x, weight = x.sign(), weight.sign()
            bias = torch.ones(latents)
        elif kind == "sorted":
            bias = torch.linspace(20, 0, latents)
        elif kind == "duplicated":
            weight = weight[:, ::4].repeat_interleave(4, 1)[:, :latents]
            bias = bias[::4].repeat_interleave(4)[:latents]
        elif kind == "dense":
            bias[latents // 2] += 50
        elif kind == "nan":
            x[0, 3], x[tokens - 1] = torch.nan, -torch.nan
        return Problem(x.to(device, dtype), weight.to(device, dtype), bias.to(device))

    return make
