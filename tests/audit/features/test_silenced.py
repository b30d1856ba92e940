from __future__ import annotations

from typing import Any

import pandas as pd
import pytest

from audit.features.silenced import silenced_latents

FEATURE: dict[str, Any] = {
    "hook": "h", "latent": 3, "candidate": "shared",
    "rate_base": 0.1, "rate_tuned": 0.1, "mean_base": 2.0, "mean_tuned": 2.0,
}  # fmt: skip
EFFECT: dict[str, Any] = {
    "hook": "h", "latent": 3, "behaviour": "b", "effect_base": -1.0, "effect_tuned": 0.1,
    "difference": 1.1, "low": 0.9, "high": 1.2, "q_value": 0.01,
}  # fmt: skip


@pytest.mark.parametrize(
    ("change", "silent"),
    [
        ({}, True),
        ({"candidate": "tuned only"}, False),
        ({"rate_tuned": 0.05}, False),
        ({"mean_tuned": 3.0}, False),
        ({"effect_tuned": -0.5}, False),
        ({"effect_base": 0.0, "effect_tuned": 0.0}, False),
        ({"q_value": 0.2}, False),
        ({"q_value": None}, False),
    ],
)
def test_silenced_is_shared_unchanged_and_without_effect(change: dict[str, Any], silent: bool) -> None:
    feature = {**FEATURE, **{k: v for k, v in change.items() if k in FEATURE}}
    effect = {**EFFECT, **{k: v for k, v in change.items() if k in EFFECT}}
    found = silenced_latents(pd.DataFrame([feature]), pd.DataFrame([effect]))
    assert list(found.columns) == list(EFFECT)
    assert len(found) == int(silent)
