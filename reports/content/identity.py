"""Which models these were, and what made the run: so that anybody can check that it is the same one."""

from __future__ import annotations

from audit.evidence.schema.documents import ModelRecord
from reports.content.parts import code, columns, quiet, section
from reports.ledger import Evidence
from reports.model import Block, Facts, Heading, Line, Section, Source, Table, line


def identity_section(evidence: Evidence) -> Section:
    """Models, files, data, versions; all from manifest.json."""
    manifest = evidence.manifest
    blocks: list[Block] = [*_model("Base model", manifest.base, evidence)]
    if manifest.tuned is not None:
        blocks += _model("Tuned model", manifest.tuned, evidence)
    blocks += [Heading("Conditions"), _conditions(evidence), _versions(evidence), _data(evidence)]
    question = "Which weights, tokenizers, templates and data were compared, and by what?"
    return section("identity", "Identity and provenance", question, blocks)


def _source(evidence: Evidence) -> Source:
    return Source("manifest.json", evidence.manifest_sha256)


def _model(title: str, model: ModelRecord, evidence: Evidence) -> list[Block]:
    facts: list[tuple[str, Line]] = [
        ("reference", line(code(model.reference))),
        ("revision", line(code(model.revision)) if model.revision else line(quiet("none was given"))),
        ("identity", line(code(model.identity), quiet(" SHA-256 over the hashes of all files"))),
        (
            "stored as",
            line(model.stored_dtype, f", quantised {model.quantisation}" if model.quantisation else ""),
        ),
    ]
    if model.adapter is not None:
        bound = model.adapter.binds_to
        facts.append(("adapter", line(code(model.adapter.reference))))
        facts.append(("bound to", line(code(bound)) if bound else line(quiet("it does not say which base"))))
    if model.pickled or model.remote_code:
        said = [
            text
            for text, on in (("pickled weights", model.pickled), ("code of its own", model.remote_code))
            if on
        ]
        facts.append(("allowed", line(" and ".join(said))))
    files = Table(
        f"{title}: files",
        columns(("file", 1.2), ("SHA-256", 2.6)),
        tuple((line(code(name)), line(code(sha))) for name, sha in sorted(model.files.items())),
        _source(evidence),
    )
    return [Heading(title), Facts(tuple(facts)), files]


def _conditions(evidence: Evidence) -> Facts:
    manifest = evidence.manifest
    git = manifest.git
    checkout = (
        [code(git.commit), " with uncommitted changes" if git.dirty else ", clean"]
        if git
        else [quiet("none")]
    )
    return Facts((
        ("kind of run", line(manifest.kind)),
        ("begun", line(manifest.created)),
        ("device, dtype", line(f"{manifest.device}, {manifest.dtype}")),
        ("seed", line(str(manifest.seed))),
        ("checkout", line(*checkout)),
        ("code", line(code(manifest.code), quiet(" SHA-256 over the sources that ran"))),
        ("manifest", line(code(evidence.manifest_sha256), quiet(" SHA-256 of manifest.json"))),
    ))  # fmt: skip


def _versions(evidence: Evidence) -> Table:
    rows = tuple((line(name), line(code(said))) for name, said in evidence.manifest.versions.items())
    return Table("Versions", columns(("package", 1.0), ("version", 2.0)), rows, _source(evidence))


def _data(evidence: Evidence) -> Table:
    rows = tuple((line(name), line(code(sha))) for name, sha in evidence.manifest.data.items())
    return Table("Suites and data", columns(("name", 1.2), ("SHA-256", 2.6)), rows, _source(evidence))
