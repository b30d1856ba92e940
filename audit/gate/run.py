"""`audit gate RUN --policy policy.toml`: the whole path, from two files to an outcome."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path

from audit.errors import UsageError
from audit.evidence.schema.documents import ModelRecord
from audit.gate.config import GateConfig
from audit.gate.evaluate import evaluate
from audit.gate.material import Material, read_material
from audit.gate.outcome import GateResult, Whom
from audit.gate.policy import PolicyFile, read_policy
from audit.gate.words import clean


def run_gate(config: GateConfig, now: datetime | None = None) -> GateResult:
    """Holds a run against a policy, and writes the files that were asked for.

    Args:
        config: what is held against what.
        now: time that ages are counted to; the clock's without it.

    Raises:
        UsageError: the policy cannot be read, asks for what cannot be, or fits nothing in the run.
        RunFolderError: there is no run, or it cannot be read at all.
        OutputError: an outcome file cannot be written.
    """
    _refuse_inside(config)
    policy = read_policy(Path(config.policy))
    material = read_material(Path(config.run), now or datetime.now(UTC))
    result = _result(config, policy, material)
    _write(result, config)
    return result


def _refuse_inside(config: GateConfig) -> None:
    """A file of the outcome inside the run folder would not belong to the run."""
    run = Path(config.run).resolve()
    for name in ("junit", "sarif"):
        path = getattr(config, name)
        if path is not None and Path(path).resolve().is_relative_to(run):
            raise UsageError(
                f"--{name} lies inside the run folder, which is only read.",
                where=path,
                fix="name another place",
            )


def _result(config: GateConfig, policy: PolicyFile, material: Material) -> GateResult:
    manifest = material.manifest
    return GateResult(
        run=config.run,
        kind=manifest.kind,
        created=clean(manifest.created),
        miniature=manifest.miniature,
        manifest_sha256=material.manifest_sha256,
        base=_whom(manifest.base),
        tuned=None if manifest.tuned is None else _whom(manifest.tuned),
        policy=policy.path,
        title=policy.policy.title,
        policy_sha256=policy.sha256,
        inconclusive=policy.policy.inconclusive,
        findings_head=material.findings_head,
        outcomes=evaluate(policy, material, config),
    )


def _whom(model: ModelRecord) -> Whom:
    return Whom(clean(model.reference), clean(model.identity))


def _write(result: GateResult, config: GateConfig) -> None:
    if config.junit is not None:
        from audit.gate.junit import write_junit

        write_junit(result, Path(config.junit))
    if config.sarif is not None:
        from audit.gate.sarif import write_sarif

        write_sarif(result, Path(config.sarif))
