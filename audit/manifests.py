"""The manifest that every command writes first: what runs, on which models, with which versions."""

from __future__ import annotations

import sys
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from audit.evidence import provenance
from audit.evidence.files import sha256_json
from audit.evidence.schema.documents import AdapterRecord, Manifest, ModelRecord, RunKind, StageState
from audit.evidence.schema.results import STAGES
from audit.pair.checkpoint import Checkpoint


def new_manifest(
    kind: RunKind,
    *,
    base: Checkpoint | ModelRecord,
    tuned: Checkpoint | None,
    dtype: str,
    device: str,
    seed: int,
    data: dict[str, str],
) -> Manifest:
    """The manifest of a run that begins now; a record stands for a base that is no one checkpoint."""
    return Manifest(
        kind=kind,
        version=provenance.package_version(),
        code=provenance.code_version(),
        created=datetime.now(UTC).isoformat(timespec="seconds"),
        command=command_line(),
        base=base if isinstance(base, ModelRecord) else model_record(base),
        tuned=None if tuned is None else model_record(tuned),
        dtype=dtype,
        device=device,
        seed=seed,
        versions=provenance.versions(),
        data=data,
        git=provenance.git_state(),
        stages=dict.fromkeys(STAGES[kind], StageState(status="pending")),
    )


def command_line() -> list[str]:
    """The command as it was typed, with the program's name instead of its path."""
    return [Path(sys.argv[0]).name, *sys.argv[1:]]


def model_record(checkpoint: Checkpoint) -> ModelRecord:
    """What the manifest says of one model."""
    adapter = checkpoint.adapter
    return ModelRecord(
        reference=checkpoint.reference.text,
        path=str(checkpoint.folder),
        revision=checkpoint.revision,
        identity=checkpoint.identity,
        files=dict(checkpoint.hashes),
        adapter=adapter
        and AdapterRecord(reference=str(adapter.folder), binds_to=adapter.binding.get("base_identity")),
        stored_dtype=checkpoint.stored_dtype,
        quantisation=checkpoint.quantisation,
        pickled=checkpoint.pickled,
        remote_code=checkpoint.remote_code,
    )


def default_out(settings: dict[str, Any], *words: str) -> Path:
    """The run folder where the user gives none: the same command finds the same folder again."""
    digest = sha256_json([*words, settings])[:6]
    return Path("runs") / "-".join([*(_slug(word) for word in words), digest])


def _slug(reference: str) -> str:
    last = reference.rstrip("/").rsplit("/", 1)[-1].removesuffix(".gguf")
    return "".join(c if c.isalnum() or c in "._" else "-" for c in last).strip("-.")[:40] or "model"


def to_toml(settings: dict[str, Any]) -> str:
    """Flat settings as TOML: strings, numbers, booleans and lists of strings."""
    import json

    lines = ["# The resolved settings of this run; manifest.json has the command."]
    lines += [f"{key} = {json.dumps(value, ensure_ascii=False)}" for key, value in settings.items()]
    return "\n".join(lines) + "\n"
