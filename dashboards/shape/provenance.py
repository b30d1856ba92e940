"""What a run was made from and what it holds, as tables."""

from __future__ import annotations

import shlex
from pathlib import PurePosixPath

import pandas as pd
from pydantic import ValidationError

from audit.errors import RunFolderError
from audit.evidence.files import read_json
from audit.evidence.schema.documents import Done, Manifest, ModelRecord
from dashboards.store import LARGEST_JSON, Store

MODEL = ["model", "file", "sha256"]
ARTEFACT = ["file", "bytes", "sha256", "written by"]


def model_rows(manifest: Manifest) -> pd.DataFrame:
    """Every file of both models with its hash."""
    records = {"base": manifest.base, "tuned": manifest.tuned}
    rows = [
        [side, name, sha256]
        for side, record in records.items()
        if record is not None
        for name, sha256 in sorted(record.files.items())
    ]
    return pd.DataFrame(rows, columns=MODEL)


def model_facts(record: ModelRecord) -> dict[str, str]:
    """What the manifest says of one model, in words."""
    adapter = record.adapter
    return {
        "reference": record.reference,
        "path": record.path,
        "revision": record.revision or "none: not fetched from a hub",
        "identity": record.identity,
        "stored in": record.stored_dtype
        + (f", quantised as {record.quantisation}" if record.quantisation else ""),
        "adapter": "none" if adapter is None else adapter.reference,
        "adapter says it was made for": "-" if adapter is None else adapter.binds_to or "does not say",
        "pickled weights": "yes: allowed by a flag" if record.pickled else "no",
        "code of its own": "yes: allowed by a flag" if record.remote_code else "no",
    }


def artefacts(store: Store) -> pd.DataFrame:
    """Every file that a stage says it wrote: its size here, and its hash as written (not recomputed)."""
    rows = []
    for stage in store.manifest.stages:
        for name, sha256 in _listed(store, stage).items():
            relative = f"stages/{stage}/{name}"
            path = None if _leads_out(name) else store.file(relative)
            rows.append([relative, path.stat().st_size if path else None, sha256, stage])
    return pd.DataFrame(rows, columns=ARTEFACT)


def command_text(manifest: Manifest) -> str:
    """The command as it could be typed again, and the version to install first."""
    return shlex.join(manifest.command)


def _listed(store: Store, stage: str) -> dict[str, str]:
    path = store.file(f"stages/{stage}/DONE")
    if path is None or path.stat().st_size > LARGEST_JSON:
        return {}
    try:
        return Done.model_validate(read_json(path)).files
    except (RunFolderError, ValidationError):
        return {}


def _leads_out(name: str) -> bool:
    path = PurePosixPath(name)
    return path.is_absolute() or ".." in path.parts
