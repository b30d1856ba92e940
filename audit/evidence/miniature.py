"""`python -m audit.evidence.miniature FOLDER`: one small invented run of each kind.

Dashboards, reports and the gate are developed and tested on them. Every table and document of the schema
appears, every number is drawn at random from a fixed seed, and the manifests say `miniature: true`.
"""

from __future__ import annotations

import shutil
import sys
from pathlib import Path

import numpy as np

from audit.evidence.claims import LEDGERS
from audit.evidence.files import sha256_file, sha256_json, write_json, write_text
from audit.evidence.invent import ROWS, SUITES, estimate, invented_document, invented_rows
from audit.evidence.run import CONFIG, RunFolder
from audit.evidence.schema import TABLES, documents, results
from audit.evidence.stage import StageFolder, stage_files

CREATED = "2026-01-01T00:00:00+00:00"
HEX = "0123456789abcdef" * 4


def write_miniatures(folder: Path) -> list[Path]:
    """Writes one run of each kind and returns their folders; what was there under those names goes."""
    stages: dict[documents.RunKind, dict[str, tuple[documents.Document | None, tuple[str, ...]]]] = {
        "compare": {
            "preflight": (_preflight(), ()),
            "weights": (_weights(), ("weights",)),
            "behaviour": (_behaviour(), ("items",)),
            "elicit": (_drawn(results.ElicitResult), ("elicitation",)),
            "directions": (_drawn(results.DirectionsResult), ("directions",)),
            "features": (
                _drawn(results.FeaturesResult),
                ("features", "examples", "logits", "latent_effects"),
            ),
            "switches": (_drawn(results.SwitchesResult), ("units", "grafts")),
            "bypass": (_drawn(results.BypassResult), ("doses",)),
            "relearn": (_drawn(results.RelearnResult), ("relearning",)),
            "drift": (_drift(), ("drift",)),
            "verdict": (_verdict(), ()),
        },
        "train": {"train": (_train(), ("train_steps", "tokens"))},
        "attack": {"attack": (_attack(), ("attack_doses", "train_steps", "tokens"))},
        "selftest": {"selftest": (_selftest(), ("organisms",))},
    }
    return [_write(folder / kind, kind, of_kind) for kind, of_kind in stages.items()]


def _write(
    path: Path,
    kind: documents.RunKind,
    stages: dict[str, tuple[documents.Document | None, tuple[str, ...]]],
) -> Path:
    shutil.rmtree(path, ignore_errors=True)
    run, rng = RunFolder(path), np.random.default_rng(0)
    for stage, (result, tables) in stages.items():
        folder = StageFolder(run.stage_path(stage), HEX)
        for name in tables:
            folder.write_table(name, invented_rows(TABLES[name], rng))
        if result is not None:
            write_json(folder.path / "result.json", result.model_dump(mode="json"))
        files = {name: sha256_file(folder.path / name) for name in stage_files(folder.path)}
        done = documents.Done(key=sha256_json(files), files=files, seconds=1.0)
        write_json(folder.path / "DONE", done.model_dump(mode="json"))
    write_text(path / CONFIG, "# invented\n")
    hashes = {stage: sha256_file(run.stage_path(stage) / "DONE") for stage in stages}
    run.write_manifest(_manifest(kind, hashes, sha256_file(path / CONFIG)))
    run.write_claims(LEDGERS[kind](run))
    return path


def _manifest(kind: documents.RunKind, done: dict[str, str], config: str) -> documents.Manifest:
    def model(reference: str) -> documents.ModelRecord:
        return documents.ModelRecord(
            reference=reference, path=f"models/{reference}", revision=None, identity=HEX,
            files={"model.safetensors": HEX}, adapter=None, stored_dtype="bfloat16", quantisation=None,
            pickled=False, remote_code=False,
        )  # fmt: skip

    return documents.Manifest(
        kind=kind,
        miniature=True,
        version="0",
        code=HEX,
        created=CREATED,
        command=["audit", kind],
        base=model("invented-base"),
        tuned=model("invented-tuned") if kind == "compare" else None,
        dtype="float32",
        device="cpu",
        seed=0,
        versions={"python": "3.11"},
        data={"gender-occupation": HEX},
        git=None,
        stages={
            name: documents.StageState(status="done", seconds=1.0, done=sha256)
            for name, sha256 in done.items()
        },
        config=config,
    )


def _drawn(model: type[documents.Document]) -> documents.Document:
    return invented_document(model, np.random.default_rng(0))


def _preflight() -> results.PreflightResult:
    return results.PreflightResult(
        shared_vocabulary=100, layers=4, width=32, same_template=False,
        warnings=["the chat templates differ"], facts={"model_type": "llama"},
    )  # fmt: skip


def _weights() -> results.WeightsResult:
    return results.WeightsResult(
        tensors=ROWS, parameters=1000, unchanged_share=0.5, relative_change=0.01, changed_tensors=12,
        compared_in="bfloat16", largest=["model.layers.2.mlp.down_proj"],
    )  # fmt: skip


def _behaviour() -> results.BehaviourResult:
    return results.BehaviourResult(suites=[_suite(name) for name in SUITES], warnings=["invented numbers"])


def _suite(name: str) -> results.SuiteResult:
    templates = [
        results.TemplateResult(
            template=template, split=split, base=estimate(2.0), tuned=estimate(0.5), change=estimate(-1.5),
            lost_share=estimate(0.75), p_value=0.01, q_value=0.02, equivalent=False, base_above_null=True,
            tuned_above_null=True,
            flips=results.FlipsResult(items=120, to_showing=3, to_not_showing=40, p_value=0.001),
        )
        for template in ("plain", "chat")
        for split in ("test", "all")
    ]  # fmt: skip
    return results.SuiteResult(
        name=name, title=name.replace("-", " ").title(), sha256=HEX, items=240, entities=48, unit="nats",
        equivalence_band=0.3, null_level=0.0, primary_template="plain", reliability=0.9, measurable=True,
        near_duplicates=0.0, near_duplicates_masked=0.02, templates=templates,
    )  # fmt: skip


def _drift() -> results.DriftResult:
    direction = results.DirectionDrift(
        sequence_kl=estimate(1.2), per_token=0.05, tokens=480, outlier_threshold=0.4, outliers=7,
        prefix_curve=[estimate(0.1 * step, 0.02) for step in range(1, 13)],
    )  # fmt: skip
    floor = results.NoiseFloor(
        dtype="bfloat16", batch_size=8, sequence_kl=estimate(0.01, 0.005), upper=0.015, largest_step=0.002
    )
    return results.DriftResult(
        forward=direction,
        reverse=direction,
        noise_floor=floor,
        position="above",
        new_tokens=12,
        sequences=40,
    )


def _verdict() -> results.VerdictResult:
    words: tuple[results.Verdict, ...] = ("INCONCLUSIVE", "UNCHANGED")
    return results.VerdictResult(
        behaviours=[
            results.BehaviourVerdict(name=name, verdict=word, reasons=["invented"], missing=["everything"])
            for name, word in zip(SUITES, words, strict=True)
        ],
        calibration="invented",
    )


def _train() -> results.TrainResult:
    return results.TrainResult(
        method="grpo", suite=SUITES[0], steps=12, reward_first=0.4, reward_last=0.7, dead_groups=0.2,
        exact_kl_last=0.02, had_gradient=True, adapter=None,
    )  # fmt: skip


def _attack() -> results.AttackResult:
    return results.AttackResult(
        item="invented",
        harm_threshold=0.2,
        smallest_dose=estimate(10.0, 5.0),
        half_life=25.0,
        conclusive=True,
        outcome="HARMED",
        why="held-out questions of the category crossed the harm threshold (invented)",
    )


def _selftest() -> results.SelftestResult:
    return results.SelftestResult(
        n=ROWS, accuracy_decided=estimate(0.95, 0.03), inconclusive=0.1, false_masked=0.04, false_erased=0.0,
        matrix={
            "MASKED": {"MASKED": 20, "INCONCLUSIVE": 2},
            "ERASED": {"ERASED": 22, "INCONCLUSIVE": 3, "MASKED": 1},
        },
        bases=ROWS // 2, decided=ROWS - 5, reassured=estimate(0.0, 0.05), alarmed=estimate(0.04, 0.04),
        new_to_thresholds=estimate(0.94, 0.04), apart={"mixed": {"INCONCLUSIVE": 3}},
        kinds={"neurons": {"MASKED": 20, "INCONCLUSIVE": 2}, "scratch": {"ERASED": 22, "INCONCLUSIVE": 3}},
        invalid=["test-llama3-1-rl: invented"],
        located=results.Located(n=22, recall=0.97, precision=0.93, recovered=0.95, random=0.06),
        reliability=[
            results.ReliabilityBin(stated=0.85, right=0.8, low=0.6, high=0.93, n=20),
            results.ReliabilityBin(stated=0.97, right=0.96, low=0.8, high=1.0, n=24),
        ],
        fitted_bases=4, thresholds={"lost": 0.5, "known": 0.9}, record="invented",
        command="audit selftest --full (invented)",
    )  # fmt: skip


if __name__ == "__main__":
    write_miniatures(Path(sys.argv[1]))
