"""Checks of the run itself: its kind, whether it verifies, its age and its weights."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from datetime import datetime, timedelta

from audit.evidence.schema.documents import Manifest, ModelRecord
from audit.gate.material import Material
from audit.gate.outcome import Seen, Status
from audit.gate.rules import AgeRule, RunRules, WeightsRule

SKEW = timedelta(hours=1)
"""Clocks may differ by so much before a run counts as made in the future."""
SHOWN = 3
"""Problems of the verification that the outcome quotes."""


def of_every_run(rules: RunRules, material: Material) -> Iterator[Seen]:
    """What a policy asks before any rule."""
    manifest = material.manifest
    kinds = " or ".join(rules.kinds)
    right = manifest.kind in rules.kinds
    reason = "" if right else f"this policy is for runs of kind {kinds}"
    yield _of_run("kind of run", right, manifest.kind, kinds, material, reason)
    if not rules.miniature:
        reason = (
            "every number of a miniature run is invented: it is no evidence" if manifest.miniature else ""
        )
        observed = "miniature" if manifest.miniature else "measured"
        yield _of_run("real numbers", not manifest.miniature, observed, "measured", material, reason)
    checked = _verified(material)
    yield checked if rules.verified else replace(checked, status="pass", threshold="anything: not asked for")


def _verified(material: Material) -> Seen:
    """Unfinished work decides nothing; anything else that does not check out violates the policy."""
    problems = material.verification.problems
    gaps = unfinished(material.manifest)
    wrong = [problem for problem in problems if problem not in gaps]
    quoted = wrong or list(problems)
    more = f"; and {len(quoted) - SHOWN} more" if len(quoted) > SHOWN else ""
    return Seen(
        subject="hashes and claims",
        status="violated" if wrong else "inconclusive" if problems else "pass",
        observed=f"{len(problems)} problems" if problems else "verified",
        threshold="verified",
        n=material.verification.claims,
        evidence=material.manifest_sha256,
        reason="; ".join(quoted[:SHOWN]) + more,
    )


def unfinished(manifest: Manifest) -> set[str]:
    """The problems that verification has with a run for no other reason than that stages are not done."""
    not_done = {name: state for name, state in manifest.stages.items() if state.status != "done"}
    found = {f"stage {name} is not done: {state.reason or state.status}" for name, state in not_done.items()}
    return found | ({"the run was not finished: it has no claims"} if not_done else set())


def _of_run(subject: str, good: bool, observed: str, threshold: str, material: Material, reason: str) -> Seen:
    return Seen(
        subject=subject,
        status="pass" if good else "violated",
        observed=observed,
        threshold=threshold,
        evidence=material.manifest_sha256,
        reason=reason,
    )


def expected_manifest(sha256: str, material: Material) -> Seen:
    """The manifest is the one whose hash was noted down."""
    same = material.manifest_sha256 == sha256
    reason = "" if same else "this is not the run whose hash was noted down"
    return _of_run("manifest.json", same, material.manifest_sha256, sha256, material, reason)


def expected_weights(sha256: str, material: Material) -> Seen:
    """The audited model, or one of its files, has the hash of what is to be released."""
    model = material.manifest.tuned or material.manifest.base
    same = sha256 in {model.identity, *model.files.values()}
    reason = "" if same else "neither the audited model nor any of its files has this hash"
    return _of_run(f"weights of {model.reference}", same, model.identity, sha256, material, reason)


def age(rule: AgeRule, material: Material) -> Iterator[Seen]:
    """One outcome; a time that cannot be read, or lies in the future, decides nothing."""
    threshold = f"at most {rule.at_most_days:g} days old"
    created = _time(material.manifest.created)
    days = None if created is None else (material.now - created) / timedelta(days=1)
    status: Status = "inconclusive"
    observed, reason = material.manifest.created, ""
    if days is None:
        reason = "the manifest's time of creation cannot be read"
    elif days < -SKEW / timedelta(days=1):
        reason = "the run says that it was made in the future"
    else:
        status = "pass" if days <= rule.at_most_days else "violated"
        observed = f"{max(days, 0.0):.1f} days"
    yield Seen(
        subject="age of the run",
        status=status,
        observed=observed,
        threshold=threshold,
        evidence=material.manifest_sha256,
        reason=reason,
    )


def _time(text: str) -> datetime | None:
    try:
        found = datetime.fromisoformat(text)
    except ValueError:
        return None
    return found if found.tzinfo is not None else None


def weights(rule: WeightsRule, material: Material) -> Iterator[Seen]:
    """One outcome for the model's identity, or for one of its files."""
    model: ModelRecord | None = getattr(material.manifest, rule.model)
    wanted = rule.identity or rule.sha256 or ""
    what = "identity" if rule.file is None else rule.file
    subject = f"{rule.model}: {what}"
    if model is None or (rule.file is not None and rule.file not in model.files):
        reason = f"the run has no {rule.model} model" if model is None else "the model has no such file"
        yield Seen(subject=subject, status="inconclusive", threshold=wanted, reason=reason)
        return
    found = model.identity if rule.file is None else model.files[rule.file]
    reason = "" if found == wanted else f"other weights were audited: {model.reference}"
    yield _of_run(subject, found == wanted, found, wanted, material, reason)
