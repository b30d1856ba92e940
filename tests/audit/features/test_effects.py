from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pandas as pd
import torch

from audit.causal.write_attribution import pooled
from audit.features.effects import effects_of, largest_change, no_effects


def rows(behaviour: str, latents: list[int], base: list[float], tuned: list[float]) -> pd.DataFrame:
    columns = {"hook": "h", "latent": latents, "behaviour": behaviour, "effect_base": base}
    return pd.DataFrame({**columns, "effect_tuned": tuned, "q_value": 0.01})


def changes(**values: float) -> Any:
    return [SimpleNamespace(name=name, change=value) for name, value in values.items()]


def test_each_behaviour_has_its_effects_and_silent_latents_none() -> None:
    table = pd.concat([rows("a", [1, 3], [2.0, -1.0], [0.0, -1.0]), rows("b", [3], [4.0], [1.0])])
    first, second = effects_of(table, 4, changes(a=-2.0, b=3.0))
    assert (first.change, second.change) == (-2.0, 3.0)
    assert first.base_F[[1, 3]].tolist() == [2.0, -1.0]
    assert first.tuned_F.isnan().tolist() == [True, False, True, False]
    assert second.q_F.isnan().tolist() == [True, True, True, False]
    assert largest_change([first, second], 4).tolist() == [0.0, -2.0, 0.0, -3.0]


def test_nothing_measured_is_not_zero() -> None:
    assert largest_change(effects_of(no_effects(), 3, []), 3).isnan().all()
    nothing = effects_of(no_effects(), 3, changes(a=1.0))
    assert largest_change(nothing, 3).tolist() == [0.0, 0.0, 0.0]
    assert torch.isnan(nothing[0].q_F).all()


def test_q_values_are_corrected_over_all_that_was_tested() -> None:
    frames = [pd.DataFrame({"p_value": p}) for p in ([0.01, 0.04], [0.02, float("nan")], [])]
    assert pooled(frames)["q_value"].tolist()[:3] == [0.03, 0.04, 0.03]
    assert pooled(frames)["q_value"].isna().tolist() == [False, False, False, True]
    assert pooled(frames[:1])["q_value"].tolist() == [0.02, 0.04]
    assert pooled(frames[2:])["q_value"].empty
