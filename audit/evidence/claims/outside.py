"""Sentences on what the models do and how far they moved: verdicts, behaviour, drift, weights."""

from __future__ import annotations

from audit.evidence.claims.ledger import Ledger
from audit.evidence.schema.results import (
    BehaviourResult,
    BehaviourVerdict,
    DriftResult,
    SuiteResult,
    TemplateResult,
    VerdictResult,
    WeightsResult,
)
from audit.evidence.text import share_text, text_of

POSITIONS = {
    "within": "stays within",
    "above": "exceeds",
    "unclear": "is neither clearly within nor clearly above",
}


def verdicts(ledger: Ledger, result: VerdictResult) -> None:
    """What was concluded on each behaviour, and with which error rates."""
    for i, found in enumerate(result.behaviours):
        detail = "" if found.detail is None else f" ({found.detail})"
        statement = f"Verdict on {found.name}: {found.verdict}{detail}, because {'; '.join(found.reasons)}."
        ledger.add(
            f"verdict/{found.name}",
            "verdict",
            f"/behaviours/{i}/verdict",
            statement,
            found.verdict,
            preconditions=[
                *(f"missing: {text}" for text in found.missing),
                *(f"EXTRAPOLATED: {text}" for text in found.extrapolated),
            ],
        )
        if found.margin is not None:
            _margin(ledger, found, f"/behaviours/{i}")
    ledger.add(
        "verdict/calibration",
        "verdict",
        "/calibration",
        f"Error rates: {result.calibration}.",
        result.calibration,
    )


def _margin(ledger: Ledger, found: BehaviourVerdict, at: str) -> None:
    """How firmly a verdict stands on its thresholds, and how often one that stands so is right."""
    name = f"margin/{found.name}"
    statement = (
        f"{found.name}: the weakest number behind the verdict lies {found.margin:.0%} of the way from its "
        "threshold to the far end of its scale."
    )
    ledger.add(name, "verdict", f"{at}/margin", statement, found.margin)
    if found.confidence is not None:
        statement = (
            f"{found.name}: a verdict with this margin is right with probability {found.confidence:.2f}."
        )
        ledger.add(f"{name}/confidence", "verdict", f"{at}/confidence", statement, found.confidence)


def behaviour(ledger: Ledger, result: BehaviourResult) -> None:
    """What every suite says of the two models."""
    for i, suite in enumerate(result.suites):
        at, name = f"/suites/{i}", f"behaviour/{suite.name}"
        reliability = "undefined" if suite.reliability is None else f"{suite.reliability:.2f}"
        ledger.add(
            f"{name}/reliability",
            "behaviour",
            f"{at}/reliability",
            f"Split-half reliability of {suite.title} on the base is {reliability}.",
            suite.reliability,
            n=suite.entities,
            test="correlation of random half-item entity means, Spearman-Brown corrected",
        )
        for j, found in enumerate(suite.templates):
            _template(ledger, suite, found, f"{at}/templates/{j}", f"{name}/{found.template}/{found.split}")
        for metric, value in suite.metrics.items():
            pointer = f"{at}/metrics/{metric.replace('~', '~0').replace('/', '~1')}"
            ledger.add(f"{name}/{metric}", "behaviour", pointer, f"{suite.title}: {metric} = {value}.", value)


def _template(ledger: Ledger, suite: SuiteResult, found: TemplateResult, at: str, name: str) -> None:
    where = f"{suite.title}, {found.template} form, {found.split} entities"
    null = f"null level {suite.null_level:g}; equivalence band ±{suite.equivalence_band:g} {suite.unit}"
    common = {"unit": suite.unit, "null": null}
    for side, estimate in (("base", found.base), ("tuned", found.tuned)):
        statement = f"{where}: the {side} model's effect is {text_of(estimate)}."
        ledger.add(f"{name}/{side}", "behaviour", f"{at}/{side}", statement, estimate, **common)
    ledger.add(
        f"{name}/change",
        "behaviour",
        f"{at}/change",
        f"{where}: the effect changed by {text_of(found.change)} ({_significance(found)}).",
        found.change,
        test="paired bootstrap over entities (interval), sign-flip permutation over entities (p)",
        **common,
    )
    if found.lost_share is not None:
        statement = f"{where}: lost share of the base's effect {text_of(found.lost_share)}."
        ledger.add(f"{name}/lost_share", "behaviour", f"{at}/lost_share", statement, found.lost_share)


def _significance(found: TemplateResult) -> str:
    corrected = "" if found.q_value is None else f", q = {found.q_value:.3g} over the suites of this run"
    return f"p = {found.p_value:.3g}{corrected}"


def drift(ledger: Ledger, result: DriftResult) -> None:
    """How far the model moved along its own text."""
    floor = (
        f"noise floor {result.noise_floor.upper:.3g} nats (the base reloaded in {result.noise_floor.dtype})"
    )
    for direction, found in (("forward", result.forward), ("reverse", result.reverse)):
        pair = "base || tuned" if direction == "forward" else "tuned || base"
        ledger.add(
            f"drift/{direction}",
            "drift",
            f"/{direction}/sequence_kl",
            f"Sequence KL({pair}), {result.new_tokens} sampled tokens: {text_of(found.sequence_kl)} nats.",
            found.sequence_kl,
            unit="nats per sequence",
            test="prefixes sampled from the first model, exact over the vocabulary; bootstrap over sequences",
            null=floor,
        )
    statement = f"The drift {POSITIONS[result.position]} the {floor}."
    ledger.add("drift/position", "drift", "/position", statement, result.position)


def weights(ledger: Ledger, result: WeightsResult) -> None:
    """How much of the weights moved."""
    ledger.add(
        "weights/relative_change",
        "weights",
        "/relative_change",
        f"The weights changed by {result.relative_change:.3g} of their norm in {result.changed_tensors} "
        f"of {result.tensors} tensors.",
        result.relative_change,
        n=result.tensors,
    )
    ledger.add(
        "weights/unchanged_share",
        "weights",
        "/unchanged_share",
        f"{share_text(result.unchanged_share)} of all weights are unchanged (in {result.compared_in}).",
        result.unchanged_share,
        n=result.parameters,
    )
