"""From a run's evidence to the document that all formats print: one module per group of sections."""

from __future__ import annotations

from importlib.metadata import version

from audit.evidence.schema.documents import Manifest
from reports.content.attack import attack_section
from reports.content.behaviour import behaviour_section, confounds_section
from reports.content.causal import bypass_section, relearn_section, switches_section
from reports.content.crosswalk import crosswalk_section
from reports.content.findings import findings_section
from reports.content.gate import Gate
from reports.content.identity import identity_section
from reports.content.inside import directions_section, elicitation_section, features_section
from reports.content.limits import limits_section
from reports.content.movement import drift_section
from reports.content.power import power_section
from reports.content.reproduction import index_section, reproduction_section
from reports.content.scope import scope_section
from reports.content.verdict import verdict_section
from reports.ledger import Evidence
from reports.model import Report

FIRST = (identity_section, scope_section)
"""After the first page, in the order of the report."""
OF_A_PAIR = (
    behaviour_section, confounds_section, elicitation_section, directions_section, features_section,
    switches_section, bypass_section, relearn_section, drift_section, attack_section,
)  # fmt: skip
"""A selftest audits many pairs and reports on none of them: it has none of these."""
LAST = (
    power_section, findings_section, limits_section, reproduction_section, crosswalk_section, index_section,
)  # fmt: skip
PACKAGES = ("unmask", "typst", "matplotlib")
"""What a report's bytes depend on, apart from the run."""
TITLES = {
    "compare": "Audit report",
    "train": "Training report",
    "attack": "Attack report",
    "selftest": "Selftest report",
}


def report_of(evidence: Evidence, gate: Gate | None = None, name: str | None = None) -> Report:
    """The whole report of a run; `name` stands on every page, the folder's by default."""
    manifest = evidence.manifest
    sections = (*FIRST, *(() if manifest.kind == "selftest" else OF_A_PAIR), *LAST)
    return Report(
        run=name or evidence.run.path.resolve().name,
        title=TITLES[manifest.kind],
        kind=manifest.kind,
        subject=_subject(manifest),
        created=manifest.created,
        manifest=evidence.manifest_sha256,
        miniature=manifest.miniature,
        made_with=", ".join(f"{package} {version(package)}" for package in PACKAGES),
        sections=(verdict_section(evidence, gate), *(make(evidence) for make in sections)),
    )


def _subject(manifest: Manifest) -> str:
    base = manifest.base.reference
    return base if manifest.tuned is None else f"{base} \N{RIGHTWARDS ARROW} {manifest.tuned.reference}"
