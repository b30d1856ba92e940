from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pandas as pd
import pytest
import torch

from audit.features import summary


@pytest.fixture
def judged(monkeypatch: pytest.MonkeyPatch) -> Any:
    """Four latents: two findings, a silenced one and a shared one."""
    score = torch.tensor([0.9, 0.1, 0.95, 0.2])
    monkeypatch.setattr(summary, "switch_score", lambda statistics, scaling: score)
    return SimpleNamespace(
        statistics=None,
        scaling=None,
        kinds=SimpleNamespace(kind=("tuned only", "shared", "rotated", "silenced")),
        q_values=SimpleNamespace(q_F=torch.tensor([0.04, 0.9, 0.01, 0.5], dtype=torch.float64)),
        recurrence=torch.tensor([0.5, 1.0, torch.nan, 1.0]),
    )


def test_findings_come_with_their_q_values_the_surest_first(judged: Any) -> None:
    first, second = summary._findings(judged)
    assert (first.latent, first.kind, first.seed_recurrence) == (2, "rotated", None)
    assert first.q_value == pytest.approx(0.01)
    assert (second.latent, second.seed_recurrence) == (0, 0.5)
    judged.recurrence = None
    assert summary._findings(judged)[1].seed_recurrence is None


def test_a_silenced_latent_is_listed_once_with_its_largest_loss(judged: Any) -> None:
    columns = {"hook": "h", "effect_base": 1.0, "effect_tuned": 0.0, "low": -1.0, "high": 0.0, "p_value": 0.0}
    rows = [("a", 3, -0.5, 0.01), ("b", 3, -2.0, 0.02), ("a", 1, -9.0, 0.01)]
    effects = pd.DataFrame(
        [
            {**columns, "behaviour": b, "latent": latent, "difference": difference, "q_value": q}
            for b, latent, difference, q in rows
        ]
    )
    (only,) = summary._silenced(judged, effects)
    assert (only.latent, only.behaviour, only.q_value) == (3, "b", 0.02)
    assert summary._silenced(judged, effects[:0]) == []
