"""Sentences on what was seen inside the models: directions and features."""

from __future__ import annotations

from audit.evidence.claims.ledger import Ledger
from audit.evidence.schema.documents import Estimate
from audit.evidence.schema.results import (
    ConceptDirections,
    DirectionsResult,
    FeaturesResult,
    HookFeatures,
)
from audit.evidence.text import share_text, text_of


def directions(ledger: Ledger, result: DirectionsResult) -> None:
    """Whether each suite's concept is still decodable, and what became of its direction."""
    for i, found in enumerate(result.concepts):
        if found.chosen is not None:
            _direction(ledger, found, f"/concepts/{i}", f"directions/{found.suite}")


def _direction(ledger: Ledger, found: ConceptDirections, at: str, name: str) -> None:
    cell = found.chosen
    if cell is None:
        return
    where = f"{found.concept}, layer {cell.layer}, {cell.position} position"
    chosen = "where the base represents it best, chosen on the base's train entities"
    null = f"shuffled classes: mean {cell.null_mean:.2f}, 95 % quantile {cell.null_high:.2f}"
    for side, auc in (("base", cell.auc_base), ("tuned", cell.auc_tuned)):
        statement = f"{where}: a probe of the {side} model reaches AUC {text_of(auc)} on held-out entities."
        test = f"shrunken LDA, {chosen}"
        ledger.add(
            f"{name}/auc_{side}",
            "directions",
            f"{at}/chosen/auc_{side}",
            statement,
            auc,
            test=test,
            null=null,
        )
    statement = (
        f"{where}: decodable in the tuned model: {found.decodable}; in the base: {found.base_decodable}."
    )
    ledger.add(f"{name}/decodable", "directions", f"{at}/decodable", statement, found.decodable, null=null)
    ceiling = "undefined" if cell.cosine_ceiling is None else f"{cell.cosine_ceiling:.2f}"
    gate = (
        []
        if cell.measurable
        else ["the directions are not reliable enough for their cosine to mean anything"]
    )
    for field, text in (
        ("cosine", "cosine of the two models' directions"),
        ("norm_ratio", "norm ratio, tuned over base"),
    ):
        value: Estimate | None = getattr(cell, field)
        if value is not None:
            statement = f"{where}: {text} {text_of(value)} (split-half ceiling of a cosine {ceiling})."
            ledger.add(
                f"{name}/{field}", "directions", f"{at}/chosen/{field}", statement, value, preconditions=gate
            )


def features(ledger: Ledger, result: FeaturesResult) -> None:
    """What the dictionaries explain, and which of their latents differ beyond the benign nulls."""
    for i, found in enumerate(result.hooks):
        _health(ledger, found, f"/hooks/{i}", f"features/{found.hook}")
        _findings(ledger, found, len(result.nulls), f"/hooks/{i}", f"features/{found.hook}")
        _latents(ledger, found, f"/hooks/{i}", f"features/{found.hook}")
    for i, null in enumerate(result.nulls):
        statement = (
            f"Benign fine-tune {null.seed} lies {null.kl_reached:.3g} nats per token from the base; "
            f"the tuned model lies {null.kl_target:.3g}."
        )
        ledger.add(
            f"features/null/{i}",
            "features",
            f"/nulls/{i}/kl_reached",
            statement,
            null.kl_reached,
            n=null.kl_tokens,
        )


def _health(ledger: Ledger, found: HookFeatures, at: str, name: str) -> None:
    tokens = "tokens kept from training" if found.held_out else "the tokens it was trained on"
    for side in ("base", "tuned"):
        value = getattr(found, f"fve_{side}")
        if value is not None:
            share = f"{share_text(value)} of the {side} model's variance"
            statement = f"The {found.dictionary} at {found.hook} explains {share} on {tokens}."
            ledger.add(f"{name}/fve_{side}", "features", f"{at}/fve_{side}", statement, value)


def _findings(ledger: Ledger, found: HookFeatures, nulls: int, at: str, name: str) -> None:
    against = f"{nulls} benign fine-tunes of matched KL with {found.null_latents} live latents"
    least = found.least_findings
    gate = [] if least is None else [f"{least} must stand out together before any q can reach .05"]
    for kind, count in found.kinds.items():
        statement = f"{count} of {found.latents} latents at {found.hook} are {kind}."
        null = against if nulls else "no null was made"
        pointer = f"{at}/kinds/{kind}"
        ledger.add(
            f"{name}/{kind}",
            "features",
            pointer,
            statement,
            count,
            n=found.live,
            null=null,
            preconditions=gate,
        )


def _latents(ledger: Ledger, found: HookFeatures, at: str, name: str) -> None:
    for i, one in enumerate(found.findings):
        statement = f"Latent {one.latent} at {found.hook} is {one.kind} (q = {one.q_value:.2g})."
        pointer, test = f"{at}/findings/{i}/q_value", "benign fine-tunes and shuffled labels, the larger p"
        ledger.add(f"{name}/latent/{one.latent}", "features", pointer, statement, one.q_value, test=test)
    for i, lost in enumerate(found.silenced):
        statement = (
            f"Latent {lost.latent} at {found.hook} is active as before, but what it writes towards "
            f"{lost.behaviour} went from {lost.effect_base:.3g} to {lost.effect_tuned:.3g} (difference "
            f"[{lost.low:.3g}, {lost.high:.3g}], q = {lost.q_value:.2g})."
        )
        pointer, test = f"{at}/silenced/{i}/effect_tuned", "attribution on the fit half, both models"
        ledger.add(
            f"{name}/silenced/{lost.latent}", "features", pointer, statement, lost.effect_tuned, test=test
        )
