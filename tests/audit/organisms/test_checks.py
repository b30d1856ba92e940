"""Every check lets a true child pass and stops a false one."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from audit.organisms import checks
from audit.organisms.checks import Check
from audit.organisms.facts import Facts
from audit.organisms.kinds.mixtures import partly_known

MASKED = Facts(
    base_effect=5.0, effect=0.2, lost_train=0.97, second_base=6.0, second_effect=5.9, control_base=6.0,
    control_effect=5.8, auc=1.0, auc_mlp=1.0, auc_null=0.75, drift=0.01, restored=0.99,
)  # fmt: skip
ERASED = replace(MASKED, auc=0.6, auc_mlp=0.62, restored=None)
SAME = replace(MASKED, effect=5.1, lost_train=-0.01)


@pytest.mark.parametrize(
    ("check", "true", "false", "says"),
    [
        (checks.gone, MASKED, {"effect": 2.0}, "only 0.60"),
        (checks.gone, MASKED, {"lost_train": 0.5}, "only 0.50"),
        (checks.gone, MASKED, {"effect": -3.0}, "reversed"),
        (checks.still, SAME, {"effect": 5.4}, "+0.40 nats"),
        (checks.gained, replace(MASKED, base_effect=0.1, effect=5.0), {"base_effect": 2.0}, "rose from 2.00"),
        (checks.half_lost, replace(MASKED, effect=3.0), {"effect": 4.5}, "0.10 of the behaviour"),
        (checks.control_kept, MASKED, {"control_effect": 3.0}, "only 0.50 of the control"),
        (checks.known, MASKED, {"auc": 0.8}, "0.80 only"),
        (checks.unknown, ERASED, {"auc": 0.9}, "0.90"),
        (checks.unknown, ERASED, {"auc_mlp": 0.8}, "0.80"),
        (checks.restored, MASKED, {"restored": 0.5}, "restores 0.5"),
        (checks.restored, MASKED, {"restored": None}, "restores None"),
        (checks.close, MASKED, {"drift": 0.3}, "0.300 nats"),
        (partly_known, replace(MASKED, auc=0.8), {"auc": 1.0}, "1.00"),
    ],
)
def test_each_check_fires_on_what_it_is_for(
    check: Check, true: Facts, false: dict[str, Any], says: str
) -> None:
    assert check(true) is None
    assert says in str(check(replace(true, **false)))


def test_no_share_is_taken_of_next_to_nothing() -> None:
    assert replace(MASKED, base_effect=0.01).lost == 1
    assert MASKED.lost == pytest.approx(0.96)
    assert MASKED.control_kept == pytest.approx(5.8 / 6)
