"""Every kernel compiles for Hopper without spills, and the matrix kernels use its tensor cores.

The interpreter runs kernels that the device's compiler refuses or spills; this gate needs no device either.
"""

from __future__ import annotations

import importlib.util
from typing import Any

import pytest

if importlib.util.find_spec("triton") is None:
    pytest.skip("Triton is not installed: kernels are not compiled here", allow_module_level=True)

from sae_kernels.device.aot import CASES, compiled
from sae_kernels.device.jit import INTERPRETED

FIRST = {"candidates 128x256", "candidates 128x128, all bits", "select 128", "recompute 128", "decode"}
FIRST |= {"features 1024"}
"""One of each kind; the rest is slow."""
NAMED = [pytest.param(c, id=c.name, marks=() if c.name in FIRST else pytest.mark.slow) for c in CASES]


@pytest.mark.skipif(INTERPRETED, reason="the interpreter's process compiles nothing")
@pytest.mark.parametrize("case", NAMED)
def test_it_fits_in_registers(case: Any) -> None:
    found = compiled(case)
    assert found.stack == 0, f"spills: {found}"
    assert found.registers <= 255
    assert found.shared <= 227 * 1024
    assert (found.wgmma > 0) == case.matrix
