"""Everything that was not measured, failed, was skipped, or does not verify."""

from __future__ import annotations

from collections.abc import Iterator

from reports.content.parts import columns, section, strong
from reports.ledger import Evidence
from reports.model import Block, Bullets, Column, Heading, Line, Paragraph, Section, Table, line
from reports.numbers import DASH, number, size

STAGES: tuple[Column, ...] = columns(
    ("stage", 1.0), ("state", 0.7), ("seconds>", 0.7), ("peak memory>", 0.9), ("reason", 2.6)
)
OPTIONAL = ("elicit", "directions", "features", "switches", "bypass", "relearn")


def limits_section(evidence: Evidence) -> Section:
    """Stages first, then every sentence in which a result says that something is missing."""
    blocks: list[Block] = [_stages(evidence)]
    said = list(_gaps(evidence))
    blocks.append(Heading("What was not measured"))
    if said:
        blocks.append(Bullets(tuple(said)))
    else:
        blocks.append(Paragraph(line("No stage named anything that it could not measure.")))
    if evidence.problems:
        blocks += [Heading("What does not verify"), Bullets(tuple(line(text) for text in evidence.problems))]
    blocks += [Heading("What such evidence cannot show"), Bullets(tuple(line(text) for text in CANNOT))]
    question = "What is missing, and what could this report not show even if nothing were?"
    return section("limits", "Limits and gaps", question, blocks)


CANNOT = (
    "A bypass that was found shows that one exists; none found does not show that none exists.",
    "A probe at chance shows that probes of this power find nothing on this many entities; it may be there.",
    "An attack that did nothing while all rewards of a group were equal had nothing to learn from.",
    "Numbers and hashes can be forged together: keep the manifest's SHA-256 where the author cannot write.",
)


def _stages(evidence: Evidence) -> Table:
    manifest = evidence.manifest
    rows = []
    names = [
        *manifest.stages,
        *(s for s in OPTIONAL if manifest.kind == "compare" and s not in manifest.stages),
    ]
    for name in names:
        state = manifest.stages.get(name)
        if state is None:
            rows.append(
                (line(name), line(strong("absent")), line(DASH), line(DASH), line("not part of this run"))
            )
            continue
        bad = evidence.stage_problems[name]
        word = "changed" if bad else state.status
        seconds = DASH if state.seconds is None else number(state.seconds)
        peak = DASH if state.peak_mb is None else size(int(state.peak_mb * 2**20))
        shown = word if word == "done" else strong(word)
        rows.append(
            (line(name), line(shown), line(seconds), line(peak), line(bad[0] if bad else state.reason or ""))
        )
    from reports.model import Source

    return Table("Stages of the run", STAGES, tuple(rows), Source("manifest.json", evidence.manifest_sha256))


def _gaps(evidence: Evidence) -> Iterator[Line]:
    for stage, state in evidence.manifest.stages.items():
        if state.status != "done":
            yield _said(stage, f"{state.status}: {state.reason or 'no reason was recorded'}")
        elif evidence.result(stage) is None:
            yield _said(stage, evidence.why_missing(stage))
    yield from _of_suites(evidence)
    yield from _of_results(evidence)


def _of_suites(evidence: Evidence) -> Iterator[Line]:
    result = evidence.result("behaviour")
    for suite in result.suites if result else ():
        if not suite.measurable:
            yield _said(suite.name, "not measurable: its reliability on the base is too low, or undefined")
    verdict = evidence.result("verdict")
    for found in verdict.behaviours if verdict else ():
        for missing in found.missing:
            yield _said(found.name, f"a firmer verdict needs {missing}")
        for outside in found.extrapolated:
            yield _said(found.name, f"EXTRAPOLATED: {outside}")


def _of_results(evidence: Evidence) -> Iterator[Line]:
    """Every `not_measured`, `not_tried`, `skipped`, `why_not` and `unreadable` of the optional stages."""
    for stage in OPTIONAL:
        result = evidence.result(stage)
        if result is not None:
            yield from (_said(stage, text) for text in reasons_in(result.model_dump(mode="json")))


def reasons_in(value: object, name: str | None = None) -> Iterator[str]:
    """The sentences, anywhere in a result, by which it says that something was not done."""
    if not isinstance(value, dict):
        return
    own = next((str(value[key]) for key in ("name", "suite") if value.get(key)), name)
    for key, inner in value.items():
        if key in ("not_measured", "skipped"):
            yield from (f"{own}: {text}" if own else text for text in inner)
        elif key in ("not_tried", "unreadable") and inner:
            yield f"{own}: {inner}"
        elif key == "why_not" and isinstance(inner, str):
            yield f"{own}: not searched, {inner}"
        elif isinstance(inner, list):
            for one in inner:
                yield from reasons_in(one, own)
        else:
            yield from reasons_in(inner, own)


def _said(head: str, text: str) -> Line:
    return line(strong(f"{head}: "), text)
