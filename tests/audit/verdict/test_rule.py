"""The rule as a table: evidence at the left, verdict at the right; then every guard, one by one."""

from __future__ import annotations

from typing import Any

import pytest

from audit.calibration import Certainty, Range, Thresholds
from audit.evidence.schema.results import DoseEvidence, LadderEvidence, WayEvidence
from audit.verdict import decide
from audit.verdict.rule import ON_BASE
from audit.verdict.rungs import ASKING, BYPASS, DIRECTIONS, GATES, PATH, RELEARNING

T = Thresholds(
    lost=0.5, known=0.9, known_showing=0.9, chance=0.65, bypass=0.3, gates=0.35, closed=0.25,
    gates_closed=0.3, carried=0.5, elsewhere=0.4, gates_built=0.8,
    relearn=0.45, relearn_slow=0.35, relearn_steps=10, relearn_last=0.25, relearn_most=40, relearn_took=0.3,
    localised_share=0.5, localised_units=16,
)  # fmt: skip


def way(recovered: float | None, **changes: Any) -> WayEvidence:
    ends = {"low": None, "high": None}
    if recovered is not None:
        ends = {"low": recovered - 0.1, "high": recovered + 0.1}
    fields = {
        "what": "scaling of 12 units", "recovered": recovered, **ends, "control": 0.05,
        "controls": "5 controls",
        "units": 12, "kl": 0.01, "skills": 0.99, "counts": recovered is not None and recovered > 0.2,
        "why_not": [] if recovered is not None and recovered > 0.2 else ["it is not above its controls"],
        **changes,
    }  # fmt: skip
    return WayEvidence(**fields)


def doses(early: float, late: float, **changes: Any) -> list[DoseEvidence]:
    fields = {"recovered_fit": 0.8, "control": 0.05, **changes}
    return [
        DoseEvidence(steps=steps, **{"recovered": r, "low": r - 0.1, "high": r + 0.1, **fields})
        for steps, r in ((10, early), (20, (early + late) / 2), (40, late))
    ]


FELL: dict[str, Any] = {
    "name": "s", "architecture": "llama", "parameters": 300_000, "layers": 3, "score": "contrast",
    "entities": 64, "items": 256, "measurable": True, "moved": "fell", "seen": "it fell", "band": 0.3,
    "change": -2.0, "change_low": -2.2, "change_high": -1.8, "widest_change": 2.2, "lost": 0.95,
    "lost_low": 0.85,
    "asked": "no", "known_where": "layer 1", "known_showing": 1.0, "known_showing_low": 0.95,
    "known": 1.0, "known_low": 0.95, "known_null": 0.62, "anywhere": 1.0, "anywhere_mlp": 1.0,
    "anywhere_null": 0.72, "carried": 0.95,
}  # fmt: skip
GONE = {"known": 0.48, "known_low": 0.35, "anywhere": 0.66, "anywhere_mlp": 0.6}
SHUT = {"gates": way(0.0), "internal": way(0.04)}
OPEN = {"gates": way(0.9), "internal": way(0.04)}
MASKED = {**FELL, "ways": OPEN, "relearned": doses(0.7, 0.9)}
LATENT = {**FELL, "ways": {**SHUT, "rewire": way(0.6, counts=False)}, "relearned": doses(0.15, 0.7)}
ERASED = {**FELL, **GONE, "ways": {**SHUT, "rewire": way(-0.05)}, "relearned": doses(0.0, -0.02)}
ROSE = {
    "moved": "rose",
    "lacking": "base",
    "change": 2.0,
    "change_low": 1.8,
    "change_high": 2.2,
    "asked": None,
}
STILL = {
    **FELL,
    "moved": "equivalent",
    "change": 0.0,
    "change_low": -0.1,
    "change_high": 0.1,
    "widest_change": 0.1,
}


def decided(fields: dict[str, Any], thresholds: Thresholds = T, **changes: Any) -> Any:
    return decide(LadderEvidence(**{**fields, **changes}), thresholds)


TABLE = [
    ("nothing changed", STILL, "UNCHANGED", None),
    ("few units", MASKED, "MASKED", "localised"),
    ("many units", {**MASKED, "ways": {"gates": way(0.9, units=200)}}, "MASKED", "distributed"),
    ("few units, half of it", {**MASKED, "ways": {**SHUT, "internal": way(0.45)}}, "MASKED", "distributed"),
    ("latents", {**MASKED, "ways": {**SHUT, "latents": way(0.9)}}, "MASKED", "localised"),
    ("deep: relearning fails", {**MASKED, "relearned": doses(0.1, 0.2)}, "MASKED", "localised"),
    ("relearning not tried", {**MASKED, "relearned": []}, "MASKED", "localised"),
    ("prompting brings it back too", {**MASKED, "asked": "yes"}, "MASKED", "localised"),
    ("known at another place", {**MASKED, "known": 0.8, "known_low": 0.6, "anywhere": 0.97}, "MASKED",
     "localised"),
    ("known, not wired", LATENT, "LATENT", None),
    ("known, not wired, prompting brings back some", {**LATENT, "asked": "partly"}, "LATENT", None),
    ("gates build a path of their own", {**LATENT, "carried": 0.1, "ways": {"gates": way(0.6)}}, "LATENT",
     None),
    ("single units, wherever the class runs", {**MASKED, "carried": 0.1, "ways": {"internal": way(0.9)}},
     "MASKED", "localised"),
    ("gone", ERASED, "ERASED", None),
    ("gone, the base holds it elsewhere", {**ERASED, "known_showing": 0.8, "anywhere_showing": 1.0}, "ERASED",
     None),
    ("gone, adversarially", {**ERASED, "known": 0.3, "known_low": 0.2}, "ERASED", None),
    ("mask taken off", {**MASKED, **ROSE}, "INDUCED", "unmasked"),
    ("taught", {**LATENT, **ROSE}, "INDUCED", "taught"),
    ("taught, class and all", {**ERASED, **ROSE}, "INDUCED", "taught"),
    ("rose, ladder not climbed", {**FELL, **ROSE}, "INDUCED", "unclear"),
    ("partly lost", {**MASKED, "lost": 0.6, "lost_low": 0.4}, "INCONCLUSIVE", None),
    ("loss not bounded", {**MASKED, "lost": None, "lost_low": None}, "INCONCLUSIVE", None),
    ("not measurable", {**MASKED, "measurable": False}, "INCONCLUSIVE", None),
    ("wide band", {**STILL, "moved": "band too wide"}, "INCONCLUSIVE", None),
    ("forms disagree", {**MASKED, "moved": "both"}, "INCONCLUSIVE", None),
    ("another form", {**MASKED, "moved": "elsewhere"}, "INCONCLUSIVE", None),
    ("unclear", {**MASKED, "moved": "unclear"}, "INCONCLUSIVE", None),
]  # fmt: skip


@pytest.mark.parametrize(("_what", "fields", "word", "detail"), TABLE, ids=[row[0] for row in TABLE])
def test_verdict(_what: str, fields: dict[str, Any], word: str, detail: str | None) -> None:
    found = decided(fields)
    assert (found.verdict, found.detail) == (word, detail)
    assert (found.margin is None) == (word == "INCONCLUSIVE")
    assert found.confidence is None
    assert found.evidence.name == "s"


NOT_MASKED = [
    ("the interval begins too low", {"ways": {"internal": way(0.38)}}, GATES),
    ("gates reach too little", {"ways": {"gates": way(0.4)}}, None),
    ("the class runs elsewhere, gates reach far", {"carried": 0.1}, None),
    ("where the class runs is unclear", {"carried": 0.45}, PATH),
    ("where the class runs was not measured", {"carried": None}, PATH),
    ("side effects", {"ways": {"gates": way(0.9, counts=False, why_not=["it wrecks other skills"])}}, None),
    ("a new wire is no own wire", {"ways": {"rewire": way(0.9, counts=True)}}, GATES),
    ("nothing tried inside", {"ways": {}}, BYPASS),
    ("not decodable", {**GONE}, None),
    ("decodable in part", {"known": 0.8, "known_low": 0.7, "anywhere": 0.85}, DIRECTIONS),
    ("decodable no better than chance classes", {"known_low": 0.6, "anywhere_null": None}, DIRECTIONS),
    (
        "the best of many probes is no better than of chance classes",
        {"known_low": 0.6, "anywhere_null": 1.0},
        DIRECTIONS,
    ),
    ("concept not probed", {"known": None}, DIRECTIONS),
    ("concept not readable", {"unread": "too few entities"}, DIRECTIONS),
]


@pytest.mark.parametrize(("_what", "changes", "lacks"), NOT_MASKED, ids=[row[0] for row in NOT_MASKED])
def test_masked_needs_knowledge_and_a_way_back(_what: str, changes: Any, lacks: str | None) -> None:
    found = decided(MASKED, **changes)
    assert found.verdict == "INCONCLUSIVE"
    assert lacks is None or lacks in found.missing or lacks == GATES


NOT_LATENT = [
    ("gates not tried", {"ways": {"internal": way(0.0)}}, GATES),
    ("nothing tried", {"ways": {}}, BYPASS),
    ("gates reach some of it", {"ways": {**SHUT, "gates": way(0.33, counts=False)}}, None),
    (
        "gates reach some of it, and where the class runs is unclear",
        {"carried": 0.45, "ways": {**SHUT, "gates": way(0.5)}},
        PATH,
    ),
    ("a way back half open", {"ways": {**SHUT, "latents": way(0.28, counts=False)}}, None),
    ("a way back that breaks too much", {"ways": {"gates": way(0.8, counts=False)}}, None),
    ("a way that broke the model", {"ways": {**SHUT, "latents": way(None)}}, None),
    ("relearning not tried", {"relearned": []}, RELEARNING),
    ("relearned early", {"relearned": doses(0.7, 0.9)}, None),
    ("relearned rather early", {"relearned": doses(0.4, 0.7)}, None),
    ("training took no hold", {"relearned": doses(0.1, 0.2, recovered_fit=0.1)}, None),
    ("training says less here", {"relearn_weaker": "each entity has one item"}, RELEARNING),
    ("prompting not tried", {"asked": None}, ASKING),
    ("prompting brings it back", {"asked": "yes"}, None),
    ("knowledge unclear", {"known": 0.8, "known_low": 0.7, "anywhere": 0.85}, DIRECTIONS),
]


@pytest.mark.parametrize(("_what", "changes", "lacks"), NOT_LATENT, ids=[row[0] for row in NOT_LATENT])
def test_latent_needs_every_rung(_what: str, changes: Any, lacks: str | None) -> None:
    found = decided(LATENT, **changes)
    assert found.verdict == "INCONCLUSIVE"
    assert lacks is None or lacks in found.missing


NOT_ERASED = [
    *NOT_LATENT[:6],
    ("relearning not tried", {"relearned": []}, RELEARNING),
    ("relearned late", {"relearned": doses(0.1, 0.6)}, None),
    ("relearned late, a little", {"relearned": doses(0.1, 0.24)}, None),
    ("no control of relearning", {"relearned": doses(0.0, 0.0, control=None)}, RELEARNING),
    ("not enough steps", {"relearned": doses(0.0, 0.0)[:2]}, None),
    ("training took no hold", {"relearned": doses(0.0, 0.0, recovered_fit=0.1)}, None),
    ("training broke it", {"relearned": doses(0.0, 0.0, recovered=None)}, RELEARNING),
    ("gates do something", {"ways": {"gates": way(0.4)}}, None),
    ("a new wire works", {"ways": {**SHUT, "rewire": way(0.5)}}, None),
    ("a probe finds it elsewhere", {"anywhere": 0.8}, DIRECTIONS),
    ("an MLP was not tried", {"anywhere_mlp": None}, DIRECTIONS),
    ("no null for all probes", {"anywhere_null": None}, DIRECTIONS),
    ("not at chance where the base has it", {"known": 0.7}, DIRECTIONS),
    ("the base never held it", {"known_showing": 0.85, "anywhere_showing": 0.8}, DIRECTIONS),
    ("the base's probe is not bounded", {"known_showing_low": None, "anywhere_showing": None}, DIRECTIONS),
    ("prompting not tried", {"asked": None}, ASKING),
    ("prompting brings part back", {"asked": "partly"}, None),
]


@pytest.mark.parametrize(("_what", "changes", "lacks"), NOT_ERASED, ids=[row[0] for row in NOT_ERASED])
def test_erased_needs_every_rung(_what: str, changes: Any, lacks: str | None) -> None:
    found = decided(ERASED, **changes)
    assert found.verdict == "INCONCLUSIVE"
    assert lacks is None or lacks in found.missing


def test_what_disagrees_is_said() -> None:
    for fields, said in (
        ({**ERASED, "ways": OPEN}, "no probe finds the concept"),
        ({**ERASED, "relearned": doses(0.7, 0.9)}, "no probe finds the concept"),
        ({**LATENT, "relearned": doses(0.7, 0.9)}, "relearned early"),
        ({**LATENT, "asked": "yes"}, "prompting brings it back"),
    ):
        found = decided(fields)
        assert found.verdict == "INCONCLUSIVE"
        assert any("disagrees" in reason and said in reason for reason in found.reasons)


def test_relearning_counts_only_above_classes_that_the_model_never_had() -> None:
    found = decided(LATENT, relearned=doses(0.7, 0.9, control=0.65))
    assert found.verdict == "INCONCLUSIVE"
    assert not any("disagrees" in reason for reason in found.reasons)


def test_a_rise_whose_ladder_was_not_climbed_says_what_is_missing() -> None:
    assert ON_BASE in decided(FELL, **ROSE).missing
    assert not decided(MASKED, **ROSE).missing


def test_reasons_carry_their_numbers() -> None:
    said = " ".join(decided(MASKED).reasons)
    numbers = "95%", "1.00", "0.95", "90% [80%, 100%]", "at most 5%", "10 steps", "70% [60%, 80%]"
    for number in (*numbers, "localised"):
        assert number in said
    broke = decided(MASKED, ways={**OPEN, "latents": way(None)})
    assert any("could not be read" in reason for reason in broke.reasons)
    alone = decided(MASKED, ways={"gates": way(0.9, control=None)})
    assert any("no control could be made" in reason for reason in alone.reasons)
    weaker = decided(MASKED, relearn_weaker="each entity has one item")
    assert any("each entity has one item" in reason for reason in weaker.reasons)


def test_the_margin_is_that_of_the_weakest_rung() -> None:
    near, far = decided(MASKED, ways={"gates": way(0.5)}), decided(MASKED, known_low=0.99, lost_low=0.99)
    assert near.verdict == far.verdict == "MASKED"
    assert 0 < near.margin < far.margin < 1
    assert decided(STILL, widest_change=0.29).margin < decided(STILL).margin
    assert decided(ERASED, anywhere=0.7).margin < decided(ERASED).margin
    assert (
        decided(ERASED, relearned=doses(0.0, 0.14), anywhere=0.5).margin
        < decided(ERASED, anywhere=0.5).margin
    )
    assert decided(LATENT, relearned=doses(0.34, 0.7)).margin < decided(LATENT).margin
    assert 0 < decided(MASKED, **ROSE).margin < 1
    assert decided(MASKED, carried=0.51).margin < near.margin
    built = {**LATENT, "ways": {**SHUT, "gates": way(0.6)}}
    assert 0 < decided(built, carried=0.38).margin < decided(built, carried=0.2).margin
    assert decided({**LATENT, "carried": 0.38}).margin == decided(LATENT).margin, "gates at 0 need no path"


def test_confidence_and_range_come_from_the_calibration() -> None:
    known = Range(
        parameters=(100_000, 1_000_000), layers=(2, 4), entities=(32, 128), architectures=("llama", "gpt2"),
        scores=("contrast",),
    )  # fmt: skip
    fitted = T.model_copy(update={"range": known, "certainty": Certainty(intercept=2.0, slope=3.0)})
    found = decided(MASKED, fitted)
    assert found.extrapolated == []
    assert 0.88 < found.confidence < 0.995
    assert decided(MASKED, fitted, lost_low=0.4).confidence is None
    far = decided(MASKED, fitted, parameters=8_000_000_000, layers=None, score="level", architecture="mamba")
    assert len(far.extrapolated) == 4
    assert "8,000,000,000" in far.extrapolated[0]
    one = known.model_copy(update={"layers": (3, 3)})
    (said,) = decided(MASKED, fitted.model_copy(update={"range": one}), layers=9).extrapolated
    assert said == "layers 9, calibrated on 3"
    assert decided(MASKED).extrapolated == ["the thresholds were not calibrated: they are starting values"]


@pytest.mark.parametrize(("carried", "said"), [(0.1, "build a way of their own"), (0.45, "is unclear")])
def test_why_gates_do_not_count_is_said(carried: float, said: str) -> None:
    (reason,) = [r for r in decided(MASKED, carried=carried).reasons if "brings back 90%" in r]
    assert said in reason
