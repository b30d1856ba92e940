"""A run folder as large as they get: invented latents and texts in the schema's own tables.

`python benchmarks/big_run.py FOLDER`. Made from the miniature run; every number in it is invented.
"""

from __future__ import annotations

import shutil
import sys
from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq

from audit.evidence.claims import LEDGERS
from audit.evidence.files import read_json, sha256_file, write_json
from audit.evidence.run import RunFolder
from audit.evidence.schema import TABLES, documents
from audit.evidence.stage import DONE, stage_files

MINIATURE = Path(__file__).resolve().parents[1] / "tests" / "data" / "runs" / "compare"
HOOK = "blocks.2.hook_resid_post"
LATENTS, EXAMPLES, WINDOW = 65_536, 2_000_000, 16
PER_GROUP = 2**20
"""Rows of a row group, as pyarrow writes them by default."""
KINDS = ("shared", "unsure", "dead", "tuned only", "base only", "rotated", "silenced")
SHARES = (0.90, 0.05, 0.03, 0.008, 0.006, 0.004, 0.002)
WORDS = np.array(
    [" the", " nurse", " said", ",", " that", " she", " <b>", " 漢", " works", "\n", " vote", " tax"]
)


def write_big_run(folder: Path, latents: int = LATENTS, examples: int = EXAMPLES) -> Path:
    """Writes the run and returns its folder; what was there goes."""
    shutil.rmtree(folder, ignore_errors=True)
    shutil.copytree(MINIATURE, folder)
    stage, rng = folder / "stages" / "features", np.random.default_rng(0)
    _write(stage, "features", _features(latents, rng))
    _write(stage, "logits", _logits(latents // 64))
    _write(stage, "latent_effects", _effects(latents, rng))
    _write_examples(stage / "examples.parquet", latents, examples, rng)
    _finish(RunFolder(folder))
    return folder


def _write(stage: Path, name: str, frame: pd.DataFrame) -> None:
    pq.write_table(TABLES[name].to_arrow(frame), stage / f"{name}.parquet", compression="zstd")


def _features(latents: int, rng: np.random.Generator) -> pd.DataFrame:
    rate = 10 ** rng.normal(-3, 0.7, latents)
    moved = rate * 10 ** rng.normal(0, 0.2, latents)
    columns = {c.name: rng.random(latents) for c in TABLES["features"].columns}
    kind = rng.choice(KINDS, latents, p=SHARES)
    return pd.DataFrame(
        columns
        | {
            "hook": HOOK, "latent": np.arange(latents), "rate": np.maximum(rate, moved), "rate_base": rate,
            "rate_tuned": moved, "candidate": kind, "kind": kind,
            "label": [f"invented label {n}" for n in range(latents)],
        }
    )  # fmt: skip


def _logits(latents: int) -> pd.DataFrame:
    index = pd.MultiIndex.from_product([range(latents), ("base", "tuned"), ("top", "bottom"), range(10)])
    frame = index.to_frame(index=False, name=["latent", "model", "sign", "rank"])
    tokens = WORDS[frame["rank"] % len(WORDS)]
    return frame.assign(hook=HOOK, token=tokens, value=1.0 - frame["rank"] / 10)


def _effects(latents: int, rng: np.random.Generator) -> pd.DataFrame:
    base, tuned = rng.normal(0, 0.05, (2, latents))
    return pd.DataFrame(
        {
            "hook": HOOK, "latent": np.arange(latents), "behaviour": "gender-occupation", "effect_base": base,
            "effect_tuned": tuned, "difference": tuned - base, "low": tuned - base - 0.05,
            "high": tuned - base + 0.05, "p_value": rng.random(latents), "q_value": rng.random(latents),
        }
    )  # fmt: skip


def _write_examples(path: Path, latents: int, examples: int, rng: np.random.Generator) -> None:
    """Rows sorted by latent, as the stage writes them, a row group at a time."""
    with pq.ParquetWriter(path, TABLES["examples"].arrow, compression="zstd") as writer:
        for start in range(0, examples, PER_GROUP):
            writer.write_table(_examples(start, min(PER_GROUP, examples - start), examples, latents, rng))


def _examples(start: int, rows: int, examples: int, latents: int, rng: np.random.Generator) -> pa.Table:
    number = np.arange(start, start + rows)
    per_latent = max(1, examples // latents)
    rank = number % per_latent
    active = rng.random(rows * WINDOW) < 0.15
    values = np.where(active, np.round(rng.exponential(8, rows * WINDOW), 3), 0.0)
    offsets = np.arange(0, (rows + 1) * WINDOW, WINDOW, dtype=np.int32)
    tokens = pa.array(WORDS).take(pa.array(rng.integers(0, len(WORDS), rows * WINDOW)))
    columns = {
        "hook": pa.array(np.full(rows, HOOK)),
        "latent": pa.array(np.minimum(number // per_latent, latents - 1)),
        "stratum": pa.array(np.array(["top", "quantile", "random"])[rank * 3 // per_latent]),
        "rank": pa.array(rank),
        "tokens": pa.ListArray.from_arrays(offsets, tokens),
        "position": pa.array(np.full(rows, WINDOW // 2)),
        "activation_base": pa.ListArray.from_arrays(offsets, pa.array(values)),
        "activation_tuned": pa.ListArray.from_arrays(offsets, pa.array(np.round(values * 0.97, 3))),
        "role": pa.array(np.full(rows, "user")),
        "source": pa.array(np.char.add("invented:", (number % 5000).astype(str))),
    }
    schema = TABLES["examples"].arrow
    return pa.table([columns[name].cast(schema.field(name).type) for name in schema.names], schema=schema)


def _finish(run: RunFolder) -> None:
    """Makes the hashes of the run fit what was written."""
    path, manifest = run.stage_path("features"), run.manifest()
    done = documents.Done.model_validate(read_json(path / DONE))
    files = {name: sha256_file(path / name) for name in stage_files(path)}
    write_json(path / DONE, done.model_copy(update={"files": files}).model_dump(mode="json"))
    state = manifest.stages["features"].model_copy(update={"done": sha256_file(path / DONE)})
    run.write_manifest(manifest.model_copy(update={"stages": {**manifest.stages, "features": state}}))
    run.write_claims(LEDGERS[manifest.kind](run))


if __name__ == "__main__":
    write_big_run(Path(sys.argv[1]))
