"""From results to rows of evidence: of both models, of what was tried and of what was not."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from audit.evidence.invent import estimate, invented_document
from audit.evidence.run import open_run
from audit.evidence.schema.results import (
    BehaviourBypass,
    BehaviourRelearning,
    BehaviourResult,
    BypassResult,
    BypassTrial,
    ConceptDirections,
    DirectionsResult,
    ElicitResult,
    FlipsResult,
    PreflightResult,
    RelearnDose,
    RelearnResult,
    SuiteElicitation,
    SuiteResult,
    TemplateResult,
    WeightsResult,
)
from audit.verdict import Results, evidence_of

RUNS = Path(__file__).parents[2] / "data" / "runs"


def drawn(model: Any, **given: Any) -> Any:
    return invented_document(model, np.random.default_rng(1), **given)


def behaviour(change: float) -> BehaviourResult:
    """One suite that fell, or rose."""
    found = TemplateResult(
        template="plain", split="test", base=estimate(2.0), tuned=estimate(2.0 + change),
        change=estimate(change), lost_share=estimate(0.8, 0.05), gained_share=estimate(0.6, 0.05),
        p_value=0.001,
        q_value=0.001, equivalent=False, base_above_null=True, tuned_above_null=True,
        flips=FlipsResult(items=10, to_showing=0, to_not_showing=9, p_value=0.01),
    )  # fmt: skip
    suite = SuiteResult(
        name="s", title="S", sha256="0", items=60, entities=20, unit="nats", score="contrast",
        equivalence_band=0.3, null_level=0.0, primary_template="plain", reliability=0.9, measurable=True,
        near_duplicates=0.0, near_duplicates_masked=0.0, templates=[found],
    )  # fmt: skip
    return BehaviourResult(suites=[suite], warnings=[])


def bypassed(share: float, **given: Any) -> BehaviourBypass:
    trial = drawn(BypassTrial, recovered=estimate(share), may_support=True, why_not=[], size=7)
    own = {
        "name": "s",
        "internal": trial,
        "gates": trial,
        "latents": None,
        "rewire": None,
        "gates_learned": 7,
    }
    return drawn(BehaviourBypass, **{**own, **given})


def probed(auc: float) -> ConceptDirections:
    found = drawn(ConceptDirections, suite="s", unreadable=None, highest_auc_tuned=auc)
    assert found.chosen is not None
    return found.model_copy(update={"chosen": found.chosen.model_copy(update={"auc_tuned": estimate(auc)})})


def relearned(lacking: str) -> RelearnResult:
    doses = [RelearnDose(steps=10, recovered=estimate(0.4), recovered_fit=0.9, controls=[0.02, 0.07]),
             RelearnDose(steps=20, recovered=None, recovered_fit=None)]  # fmt: skip
    one = BehaviourRelearning(name="s", template="plain", lacking=lacking, doses=doses, weaker="why")
    return RelearnResult(behaviours=[one], rate=2e-4, items_per_step=32)


def row(change: float, **changes: Any) -> Any:
    given = {
        "bypass": drawn(BypassResult, behaviours=[bypassed(0.9)], in_base=[bypassed(0.3)]),
        "directions": drawn(DirectionsResult, concepts=[probed(0.95)], in_base=[probed(0.55)]),
        "relearn": relearned("base" if change > 0 else "tuned"),
        "elicit": ElicitResult(suites=[SuiteElicitation(suite="s", form="plain", brings_back="partly")]),
        **changes,
    }
    (found,) = evidence_of(Results(behaviour(change), **given))
    return found


def test_of_a_behaviour_that_fell_the_tuned_model_is_climbed() -> None:
    found = row(-1.8)
    assert (found.moved, found.lacking) == ("fell", "tuned")
    assert (found.lost, found.lost_low) == (0.8, 0.75)
    assert found.known == found.anywhere == 0.95
    assert found.ways["gates"].recovered == 0.9
    assert found.ways["gates"].units == 7
    assert set(found.ways) == {"internal", "gates"}
    assert found.asked == "partly"
    assert found.widest_change == pytest.approx(1.9)


def test_of_a_behaviour_that_rose_the_base_is() -> None:
    found = row(1.8)
    assert (found.moved, found.lacking) == ("rose", "base")
    assert found.lost == 0.6
    assert found.known == 0.55
    assert found.ways["gates"].recovered == 0.3
    assert found.relearned


def test_doses_carry_their_largest_control_and_what_broke_is_none() -> None:
    first, second = row(-1.8).relearned
    assert (first.steps, first.recovered, first.control, first.recovered_fit) == (10, 0.4, 0.07, 0.9)
    assert second.recovered is second.low is second.control is None
    assert row(-1.8).relearn_weaker == "why"


def test_relearning_of_the_other_model_says_nothing() -> None:
    assert row(-1.8, relearn=relearned("base")).relearned == []


def test_gates_that_were_looked_for_in_vain_are_a_way_that_does_nothing() -> None:
    none = drawn(BypassResult, behaviours=[bypassed(0.1, gates=None, gates_learned=0)])
    gates = row(-1.8, bypass=none).ways["gates"]
    assert (gates.recovered, gates.counts, gates.control) == (0.0, False, None)
    untried = drawn(BypassResult, behaviours=[bypassed(0.1, gates=None, gates_learned=None)])
    assert "gates" not in row(-1.8, bypass=untried).ways


def test_what_was_skipped_leaves_no_evidence() -> None:
    found = row(-1.8, bypass=None, directions=None, relearn=None, elicit=None)
    assert found.known is found.asked is found.parameters is found.unread is None
    assert found.ways == {}
    assert found.relearned == []
    not_asked = ElicitResult(suites=[SuiteElicitation(suite="s", form="plain", not_tried="why")])
    assert row(-1.8, elicit=not_asked).asked is None
    unreadable = drawn(ConceptDirections, suite="s", unreadable="no texts", chosen=None).model_copy(
        update={"unreadable": "no texts"}
    )
    assert row(-1.8, directions=drawn(DirectionsResult, concepts=[unreadable])).unread == "no texts"


def test_size_and_architecture_come_from_the_pair() -> None:
    facts: Any = {"architecture": {"base": "llama", "tuned": "llama"}}
    found = row(
        -1.8,
        preflight=drawn(PreflightResult, layers=3, facts=facts),
        weights=drawn(WeightsResult, parameters=12345),
    )
    assert (found.architecture, found.layers, found.parameters) == ("llama", 3, 12345)
    assert (found.score, found.entities, found.items) == ("contrast", 20, 60)


def test_a_run_folder_is_read_whole() -> None:
    run = open_run(RUNS / "compare")
    found = evidence_of(run)
    assert [one.name for one in found] == [suite.name for suite in run.result("behaviour").suites]
    assert any(one.ways for one in found)
