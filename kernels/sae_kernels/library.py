"""Registers operations with torch, so that `torch.compile` takes each as one node and looks no further.

`torch.library.custom_op` would do it in less, and imports torch's compiler at the first call: seconds that
someone who compiles nothing waits for nothing.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch

_library: Any = torch.library.Library  # torch has no types for what it does
LIBRARY = _library("sae_kernels", "DEF")


def operation(name: str, function: Callable[..., Any], fake: Callable[..., Any]) -> Any:
    """An operation `torch.ops.sae_kernels.<name>` that changes none of its arguments.

    Args:
        name: short and unique.
        function: what it does, with annotated tensors, numbers and text; no result shares an input's memory.
        fake: the same arguments to empty results of the right shapes and types.
    """
    LIBRARY.define(name + torch.library.infer_schema(function, mutates_args=()))
    LIBRARY.impl(name, function, "CompositeExplicitAutograd")
    torch.library.register_fake(f"sae_kernels::{name}", fake, lib=LIBRARY)
    return getattr(torch.ops.sae_kernels, name).default


def differentiable(name: str, backward: Callable[..., Any], remember: Callable[..., None]) -> None:
    """Gives an operation its gradient; see `torch.library.register_autograd`."""
    torch.library.register_autograd(f"sae_kernels::{name}", backward, setup_context=remember, lib=LIBRARY)
