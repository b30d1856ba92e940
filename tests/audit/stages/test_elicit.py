"""The stage on tiny models: which suites are asked, one copy of the weights, resume, arms that do not fit."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from audit.behaviours.files import read_suite
from audit.config import CompareConfig
from audit.elicit import arms, score
from audit.evidence.files import read_table
from audit.evidence.schema import TABLES
from audit.evidence.schema.documents import Estimate
from audit.evidence.schema.results import BehaviourResult, ElicitResult
from audit.evidence.stage import StageFolder
from audit.inputs import AuditInputs
from audit.pair.checkpoint import LoadOptions, resolve
from audit.pair.preflight import compare
from audit.stages import behaviour, elicit

Make = Callable[..., Path]


def inputs(base: object, tuned: object, *suites: Path) -> AuditInputs:
    sides = [resolve(str(reference), LoadOptions()) for reference in (base, tuned)]
    config = CompareConfig(base=str(base), tuned=str(tuned), preset="quick")
    return AuditInputs(
        config, sides[0], sides[1], compare(*sides), tuple(read_suite(suite) for suite in suites)
    )


def measured(audit: AuditInputs, out: Path) -> BehaviourResult:
    out.mkdir(exist_ok=True)
    return behaviour.run(audit, StageFolder(out, "behaviour"))


def elicited(found: BehaviourResult, audit: AuditInputs, out: Path, **more: Any) -> tuple[ElicitResult, Any]:
    out.mkdir(exist_ok=True)
    result = elicit.run(found, audit, StageFolder(out, "key"), **more)
    return result, read_table(out / "elicitation.parquet", TABLES["elicitation"])


@pytest.mark.parametrize("form", ["plain", "chat"])
def test_an_adapter_pair_is_asked_again_and_amplified(
    form: str, tiny_model: Make, tiny_adapter: Make, tiny_suite: Make, tmp_path: Path
) -> None:
    base = tiny_model(max_position_embeddings=4096)
    suite = tiny_suite(entities=16, primary_template=form, score="level", contrast=None)
    audit = inputs(base, f"{base}+{tiny_adapter(base)}", suite)
    result, table = elicited(measured(audit, tmp_path / "b"), audit, tmp_path / "e", every=True)
    found = result.suites[0]
    assert (found.form, found.items, found.entities, found.skipped) == (form, 24, 8, [])
    assert [arm.arm for arm in found.arms] == [a.name for a in arms.EFFORTS["quick"].arms()]
    amplified = next(arm for arm in found.arms if arm.arm == "amplify")
    middle = (amplified.b_base + amplified.b_tuned) / 2
    assert amplified.b_arm == pytest.approx(middle, abs=1e-4), "half-way between two opened in turn"
    assert set(table.loc[table.scale == "log-odds", "b_base"]) == {amplified.b_base}
    items = read_table(tmp_path / "e" / "items.parquet", TABLES["items"])
    assert set(items["split"]) == {"test"}
    assert ElicitResult.model_validate_json(result.model_dump_json()) == result


def test_a_suite_that_did_not_change_is_left_alone(
    tiny_model: Make, tiny_suite: Make, tmp_path: Path
) -> None:
    model = tiny_model()
    audit = inputs(model, model, tiny_suite())
    result, table = elicited(measured(audit, tmp_path / "b"), audit, tmp_path / "e")
    assert table.empty
    assert result.suites[0].not_tried == "its change is not clear of 0"
    assert result.suites[0].brings_back == "unknown"


@pytest.mark.parametrize(
    ("low", "high", "changed"),
    [(0.1, 1.0, True), (-1.0, -0.1, True), (-0.1, 0.1, False), (None, None, False)],
)
def test_changed_means_that_the_interval_excludes_none(
    low: float | None, high: float | None, changed: bool, tiny_model: Make, tiny_suite: Make, tmp_path: Path
) -> None:
    model = tiny_model()
    primary = measured(inputs(model, model, tiny_suite()), tmp_path / "b").suites[0].primary
    change = Estimate(value=0.5, low=low, high=high, n=8)
    assert elicit.has_changed(primary.model_copy(update={"change": change})) is changed


def test_arms_that_do_not_fit_are_named_and_left_out(
    tiny_model: Make, tiny_suite: Make, tmp_path: Path
) -> None:
    models = [tiny_model(seed=seed, max_position_embeddings=60) for seed in (0, 1)]
    audit = inputs(*models, tiny_suite(entities=16))
    result, _ = elicited(measured(audit, tmp_path / "b"), audit, tmp_path / "e", every=True)
    found = result.suites[0]
    assert found.skipped
    assert all("the model's context is 60" in reason for reason in found.skipped)
    names = [reason.split(":")[0] for reason in found.skipped]
    tried = [f"{arm.arm}.{arm.variant}.{arm.dose:g}" for arm in found.arms]
    assert sorted(names + tried) == sorted(arm.key for arm in arms.EFFORTS["quick"].arms())


def test_a_killed_stage_goes_on_where_it_was(
    tiny_model: Make, tiny_suite: Make, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    models = [tiny_model(seed=seed, max_position_embeddings=4096) for seed in (0, 1)]
    audit = inputs(*models, tiny_suite(entities=16))
    found = measured(audit, tmp_path / "b")
    original, asked = score.scored, []

    def stop(arm: arms.Arm, *rest: Any, **more: Any) -> Any:
        asked.append((arm.key, rest[2]))
        if len(asked) == 6:
            raise KeyboardInterrupt
        return original(arm, *rest, **more)

    monkeypatch.setattr(score, "scored", stop)
    with pytest.raises(KeyboardInterrupt):
        elicited(found, audit, tmp_path / "stopped", every=True)
    again = elicited(found, audit, tmp_path / "stopped", every=True)[0]
    assert len(asked) == len(set(asked)) + 1, "only the part that was cut off is done twice"
    assert again == elicited(found, audit, tmp_path / "straight", every=True)[0]
