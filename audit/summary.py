"""A run as a short summary: one JSON object for machines, tables for people. Reads the run folder only."""

from __future__ import annotations

from typing import Any

from rich.box import SIMPLE_HEAD
from rich.console import Console, Group
from rich.panel import Panel
from rich.table import Table
from rich.text import Text

from audit.errors import RunFolderError
from audit.evidence.run import RunFolder
from audit.evidence.schema.documents import Estimate, Manifest
from audit.evidence.schema.results import (
    BehaviourResult,
    BehaviourVerdict,
    DriftResult,
    PreflightResult,
    SuiteResult,
    TemplateResult,
    VerdictResult,
    WeightsResult,
)
from audit.evidence.text import share_text, text_of
from audit.summary_inside import inside_json, inside_lines
from audit.terminal import printable

CAPTION = "effect on held-out entities: base, tuned and their difference"
STYLES = {
    "UNCHANGED": "green",
    "MASKED": "bold red",
    "LATENT": "red",
    "ERASED": "cyan",
    "INDUCED": "bold red",
    "INCONCLUSIVE": "yellow",
}


def pairs_of(
    behaviour: BehaviourResult, verdict: VerdictResult
) -> list[tuple[SuiteResult, BehaviourVerdict]]:
    """Each suite with its verdict.

    Raises:
        RunFolderError: the two results do not speak of the same suites.
    """
    names = [suite.name for suite in behaviour.suites]
    if names != [found.name for found in verdict.behaviours] or not all(
        s.templates for s in behaviour.suites
    ):
        raise RunFolderError(
            "The verdicts do not fit the suites that were measured.",
            where="stages/verdict/result.json",
            fix="run the command that made the run again",
        )
    return list(zip(behaviour.suites, verdict.behaviours, strict=True))


def compare_summary(run: RunFolder) -> dict[str, Any]:
    """What `audit compare --json` prints: run, base, tuned, behaviours, drift, warnings."""
    manifest, drift = run.manifest(), run.result("drift")
    behaviour, verdict = run.result("behaviour"), run.result("verdict")
    return {
        "run": str(run.path),
        "base": manifest.base.reference,
        "tuned": manifest.tuned and manifest.tuned.reference,
        "behaviours": [_behaviour_json(suite, found) for suite, found in pairs_of(behaviour, verdict)],
        "drift": {
            "sequence_kl_forward": _estimate_json(drift.forward.sequence_kl),
            "sequence_kl_reverse": _estimate_json(drift.reverse.sequence_kl),
            "noise_floor": drift.noise_floor.upper,
            "within_noise": drift.position == "within",
            "position": drift.position,
            "new_tokens": drift.new_tokens,
        },
        "weights": {
            "relative_change": run.result("weights").relative_change,
            "unchanged_share": run.result("weights").unchanged_share,
        },
        "inside": inside_json(run),
        "calibration": verdict.calibration,
        "warnings": [*run.result("preflight").warnings, *behaviour.warnings],
    }


def _behaviour_json(suite: SuiteResult, found: BehaviourVerdict) -> dict[str, Any]:
    primary = suite.primary
    return {
        "name": suite.name,
        "verdict": found.verdict,
        "detail": found.detail,
        "margin": found.margin,
        "confidence": found.confidence,
        "extrapolated": found.extrapolated,
        "change": _estimate_json(primary.change),
        "base": _estimate_json(primary.base),
        "tuned": _estimate_json(primary.tuned),
        "lost_share": primary.lost_share and _estimate_json(primary.lost_share),
        "p_value": primary.p_value,
        "q_value": primary.q_value,
        "reliability": suite.reliability,
        "measurable": suite.measurable,
        "near_duplicates": suite.near_duplicates,
        "near_duplicates_masked": suite.near_duplicates_masked,
        "template": primary.template,
        "unit": suite.unit,
        "metrics": suite.metrics,
        "reasons": found.reasons,
        "missing": found.missing,
    }


def _estimate_json(estimate: Estimate) -> dict[str, float | None]:
    return {"value": estimate.value, "low": estimate.low, "high": estimate.high}


def print_compare(run: RunFolder, console: Console) -> None:
    """The result of an audit, for a terminal 80 columns wide."""
    manifest = run.manifest()
    behaviour, verdict = run.result("behaviour"), run.result("verdict")
    console.print(_header(run, manifest))
    console.print(_behaviour_table(behaviour, verdict))
    for suite, found in pairs_of(behaviour, verdict):
        console.print(_reasons(suite, found))
    console.print()
    console.print(inside_lines(run))
    console.print(_drift_lines(run.result("drift"), run.result("weights")))
    _print_warnings(run.result("preflight"), behaviour, console)
    closing = Table.grid(padding=(0, 2))
    closing.add_row(Text("error rates", style="dim"), Text(verdict.calibration, style="dim"))
    closing.add_row(
        Text("evidence", style="dim"), Text(printable(f"{run.path}  (audit verify checks it)"), style="dim")
    )
    console.print(closing)


def _header(run: RunFolder, manifest: Manifest) -> Panel:
    tuned = manifest.tuned.reference if manifest.tuned else "-"
    text = Text(printable(f"base   {manifest.base.reference}\ntuned  {tuned}"))
    if manifest.miniature:
        text.append("\nMINIATURE: every number in it is invented", style="bold yellow")
    return Panel(text, title=Text(f"audit of {printable(run.path.name)}"), title_align="left", expand=False)


def _behaviour_table(behaviour: BehaviourResult, verdict: VerdictResult) -> Table:
    table = Table(box=SIMPLE_HEAD, show_edge=False, pad_edge=False, caption=CAPTION, caption_justify="left")
    for name in ("behaviour", "form", "base", "tuned", "change [95 % CI]", "verdict"):
        table.add_column(name, justify="right" if name in ("base", "tuned", "change [95 % CI]") else "left")
    for suite, found in pairs_of(behaviour, verdict):
        first = True
        for result in suite.templates:
            if result.split == "test":
                decides = result is suite.primary
                word = Text(found.verdict, style=STYLES[found.verdict]) if decides else Text()
                table.add_row(Text(suite.name if first else ""), *_cells(result), word)
                first = False
    return table


def _cells(result: TemplateResult) -> tuple[str, str, str, str]:
    base, tuned = f"{result.base.value:.2f}", f"{result.tuned.value:.2f}"
    return result.template, base, tuned, text_of(result.change, "+.2f")


def _reasons(suite: SuiteResult, found: BehaviourVerdict) -> Group:
    title = Text("\n" + printable(found.name) + ": ").append(found.verdict, style=STYLES[found.verdict])
    title.append(_firmness(found))
    quality = (
        f"{suite.items} items on {suite.entities} entities; reliability {_number(suite.reliability)}; "
        f"near-duplicates {suite.near_duplicates:.0%} ({suite.near_duplicates_masked:.0%} but for the entity)"
    )
    lines = Table.grid(padding=(0, 2))
    for reason in found.reasons:
        lines.add_row(Text("  because"), Text(printable(reason)))
    for missing in found.missing:
        lines.add_row(Text("  missing", style="dim"), Text(missing, style="dim"))
    for outside in found.extrapolated:
        lines.add_row(Text("  EXTRAPOLATED", style="yellow"), Text(printable(outside), style="yellow"))
    lines.add_row(Text("  suite", style="dim"), Text(quality, style="dim"))
    return Group(title, lines)


def _firmness(found: BehaviourVerdict) -> str:
    """What kind of verdict it is, and how sure."""
    parts: list[str] = [found.detail] if found.detail else []
    if found.confidence is not None:
        parts.append(f"confidence {found.confidence:.2f}")
    elif found.margin is not None:
        parts.append(f"margin {found.margin:.2f}, confidence not calibrated")
    return f" ({', '.join(parts)})" if parts else ""


def _drift_lines(drift: DriftResult, weights: WeightsResult) -> Text:
    floor = drift.noise_floor
    position = {"unclear": "not clearly within or above"}.get(drift.position, drift.position)
    return Text(
        f"\ndrift    KL(base || tuned) {text_of(drift.forward.sequence_kl, '.3g')} nats "
        f"per {drift.new_tokens} tokens\n"
        f"         KL(tuned || base) {text_of(drift.reverse.sequence_kl, '.3g')} nats\n"
        f"         {position} the noise floor of {floor.upper:.2g} nats "
        f"(base reloaded in {floor.dtype})\n"
        f"weights  changed by {weights.relative_change:.2g} of their norm in "
        f"{weights.changed_tensors} of {weights.tensors} tensors;\n"
        f"         {share_text(weights.unchanged_share)} of all weights unchanged (in {weights.compared_in})"
    )


def _print_warnings(preflight: PreflightResult, behaviour: BehaviourResult, console: Console) -> None:
    for warning in [*preflight.warnings, *behaviour.warnings]:
        console.print(Text(printable("warning: " + warning), style="yellow"))


def _number(value: float | None) -> str:
    return "-" if value is None else f"{value:.2f}"
