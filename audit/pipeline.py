"""The main path of an audit, readable from top to bottom: one line per stage."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

from audit.calibration import load_thresholds
from audit.config import CompareConfig
from audit.corpora import check_corpus, corpus_key
from audit.errors import UsageError, memory_errors
from audit.evidence.claims import compare_claims
from audit.evidence.run import RunFolder, writing_run
from audit.evidence.schema.documents import Document
from audit.evidence.stage import StageFolder, run_stage
from audit.features.source import check_dictionary
from audit.inputs import AuditInputs
from audit.manifests import default_out, new_manifest, to_toml
from audit.organisms.named import asked_suites, organism_base
from audit.pair.checkpoint import LoadOptions, resolve
from audit.pair.load import choose_device, choose_dtype, name_of
from audit.pair.made import made_pair
from audit.pair.preflight import compare as compare_checkpoints
from audit.pair.reference import DEMO
from audit.progress import Progress, Silent
from audit.stages import (
    behaviour,
    bypass,
    directions,
    drift,
    elicit,
    features,
    preflight,
    relearn,
    switches,
    verdict,
    weights,
)
from audit.verdict import Results


def compare(
    base: str, tuned: str | None = None, *, progress: Progress | None = None, **settings: Any
) -> RunFolder:
    """Audits a pair of models and returns its run folder.

    Args:
        base: the model before training; see `audit.config.CompareConfig` for what a reference may be.
        tuned: the model after training.
        progress: where to report to; by default nowhere.
        settings: the other fields of `CompareConfig`.

    Raises:
        AuditError: something is wrong that the user can mend; nothing half-written stays behind.
    """
    return run_compare(CompareConfig(base=base, tuned=tuned, **settings), progress or Silent())


def run_compare(config: CompareConfig, progress: Progress) -> RunFolder:
    """The audit itself."""
    with prepared(config, progress) as audit, _run_folder(audit) as run, memory_errors():
        stage, suites = _stage_runner(audit, run), [suite.sha256 for suite in audit.suites]
        stage("preflight", preflight.run)
        stage("weights", weights.run)
        behaviours = stage("behaviour", behaviour.run, suites=suites)
        stage("drift", drift.run)
        changed = {"suites": suites, "behaviours": dumped(behaviours)}
        stage("elicit", partial(elicit.run, behaviours), **changed)
        stage("directions", partial(directions.run, behaviours=behaviours), **changed)
        looked = partial(features.run, behaviours=behaviours)
        seen = stage("features", looked, **changed, **_of_features(audit))
        units = stage("switches", partial(switches.run, behaviours=behaviours), **changed)
        tried = partial(bypass.run, behaviours=behaviours, switches=units, features=seen)
        stage("bypass", tried, **changed, switches=dumped(units), features=dumped(seen))
        stage("relearn", partial(relearn.run, behaviours=behaviours), **changed)
        found, thresholds = Results.of(run), load_thresholds()
        evidence = {name: dumped(one) for name, one in vars(found).items()}
        judged = partial(verdict.run, found, thresholds)
        stage("verdict", judged, evidence=evidence, thresholds=thresholds.model_dump(mode="json"))
        run.write_claims(compare_claims(run))
    return run


@contextmanager
def prepared(config: CompareConfig, progress: Progress) -> Iterator[AuditInputs]:
    """Resolves and checks everything that can be wrong before anything is written."""
    options = LoadOptions(config.allow_pickle, config.trust_remote_code)
    config = _with_pair(config, options, progress)
    suites = asked_suites(config.suite, config.behaviour, config.base, str(config.tuned))
    check_corpus(config.corpus)
    base = resolve(config.base, options, progress)
    tuned = resolve(str(config.tuned), options, progress)
    device = choose_device(config.device)
    dtype = name_of(choose_dtype(config.dtype, base.stored_dtype, device))
    config = replace(config, device=str(device), dtype=dtype)
    audit = AuditInputs(config, base, tuned, compare_checkpoints(base, tuned), suites, progress)
    check_dictionary(config.dictionary, config.layer, audit.preflight.layers)
    try:
        yield audit
    finally:
        audit.close()


def _with_pair(config: CompareConfig, options: LoadOptions, progress: Progress) -> CompareConfig:
    """Both models where one name stands for them: `demo`, an organism, or a run of `audit train`."""
    if config.tuned is None and config.base == DEMO:
        return replace(config, base="embedded:base", tuned="embedded:tuned")
    if config.tuned is None and (named := made_pair(config.base, options, progress)) is not None:
        return replace(config, base=named.base, tuned=named.tuned)
    if config.tuned is None and (against := organism_base(config.base)) is not None:
        return replace(config, base=against, tuned=config.base)
    if config.tuned is None:
        raise UsageError(
            "The second model is missing.",
            where=f"audit compare {config.base}",
            fix="name both: audit compare BASE TUNED (or `audit compare demo` for the embedded pair)",
        )
    return config


@contextmanager
def _run_folder(audit: AuditInputs) -> Iterator[RunFolder]:
    config = audit.config
    settings = config.resolved()
    path = (
        Path(config.out)
        if config.out
        else default_out(settings, config.base, str(config.tuned), config.preset)
    )
    manifest = new_manifest(
        "compare",
        base=audit.base,
        tuned=audit.tuned,
        dtype=config.dtype,
        device=config.device,
        seed=config.seed,
        data={suite.card.name: suite.sha256 for suite in audit.suites},
    )
    with writing_run(path, manifest, to_toml(settings)) as run:
        yield run


def _of_features(audit: AuditInputs) -> dict[str, Any]:
    """What the stage `features` depends on besides the pair."""
    config = audit.config
    settings = [config.dictionary, list(config.layer), config.keep_activations]
    return {"corpus": corpus_key(audit), "settings": settings}


def dumped(result: Document | None) -> dict[str, Any] | None:
    """A result as part of the key of a stage that reads it; None: it was skipped."""
    return None if result is None else result.model_dump(mode="json")


def _stage_runner(audit: AuditInputs, run: RunFolder) -> Callable[..., Any]:
    def stage(name: str, body: Callable[[AuditInputs, StageFolder], Document], **inputs: Any) -> Any:
        skip = "left out with --skip" if name in audit.config.skip else None
        key = {**audit.key(), **inputs}
        return run_stage(run, name, key, lambda folder: body(audit, folder), skip=skip)

    return stage
