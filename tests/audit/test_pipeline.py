"""The whole audit on tiny models: identical models, moved weights, adapters, resume, refusals."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

import audit
from audit.errors import AuditError, OutputError, RunFolderError, SuiteError, UsageError
from audit.evidence.run import RunFolder
from audit.evidence.verify import verify_run
from audit.pair.load import ModelPair
from audit.stages import behaviour

Maker = Callable[..., Path]


@pytest.fixture(autouse=True)
def small_preset(tiny_preset: Callable[..., None]) -> None:
    tiny_preset()


@pytest.fixture
def run_audit(tmp_path: Path, tiny_suite: Maker) -> Callable[..., RunFolder]:
    suite = tiny_suite()

    def run(base: Path | str, tuned: Path | str, out: str = "run", **settings: Any) -> RunFolder:
        chosen = {"suite": (str(suite),), "preset": "quick", **settings}
        return audit.compare(str(base), str(tuned), out=str(tmp_path / out), **chosen)

    return run


def verdicts(run: RunFolder) -> set[str]:
    return {found.verdict for found in run.result("verdict").behaviours}


def test_a_model_against_itself_is_unchanged_and_within_the_noise(
    tiny_model: Maker, run_audit: Callable[..., RunFolder]
) -> None:
    model = tiny_model()
    run = run_audit(model, model)
    assert verdicts(run) == {"UNCHANGED"}
    assert run.result("drift").position == "within"
    assert run.result("weights").changed_tensors == 0
    assert verify_run(run).passed


def test_the_same_weights_in_another_folder_take_the_same_path(
    tiny_model: Maker, run_audit: Callable[..., RunFolder], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    model = tiny_model()
    shutil.copytree(model, tmp_path / "copy")
    scored = []
    original = behaviour._score
    monkeypatch.setattr(behaviour, "_score", lambda *a: scored.append(a[2]) or original(*a))
    run = run_audit(model, tmp_path / "copy")
    assert scored == ["base", "tuned"], "both models are scored: no shortcut by hash"
    assert verdicts(run) == {"UNCHANGED"}
    assert run.result("drift").position == "within"


def test_another_model_drifts_beyond_the_noise(
    tiny_model: Maker, run_audit: Callable[..., RunFolder]
) -> None:
    run = run_audit(tiny_model(seed=0), tiny_model(seed=1))
    drift = run.result("drift")
    assert drift.position == "above"
    assert drift.forward.sequence_kl.low > drift.noise_floor.upper
    assert verdicts(run) != {"UNCHANGED"}
    assert set(run.table("behaviour", "items")["template"]) == {"plain", "chat"}


def test_an_adapter_pair_shares_one_copy(
    tiny_model: Maker, tiny_adapter: Maker, run_audit: Callable[..., RunFolder]
) -> None:
    base = tiny_model()
    run = run_audit(base, f"{base}+{tiny_adapter(base)}")
    assert run.result("weights").changed_tensors == 4
    assert run.manifest().tuned.adapter is not None
    assert verify_run(run).passed


def test_a_suite_without_reliability_carries_no_verdict(
    tiny_model: Maker, tiny_suite: Maker, run_audit: Callable[..., RunFolder]
) -> None:
    run = run_audit(
        tiny_model(), tiny_model(), suite=(str(tiny_suite("two", entities=2, score="level", contrast=None)),)
    )
    found = run.result("behaviour").suites[0]
    assert not found.measurable
    assert verdicts(run) == {"INCONCLUSIVE"}
    assert any("not measurable" in warning for warning in run.result("behaviour").warnings)


def test_a_finished_run_loads_no_model_again(
    tiny_model: Maker, run_audit: Callable[..., RunFolder], monkeypatch: pytest.MonkeyPatch
) -> None:
    base, tuned = tiny_model(seed=0), tiny_model(seed=1)
    first = (run_audit(base, tuned).path / "claims.json").read_bytes()
    monkeypatch.setattr(ModelPair, "model", lambda *_: pytest.fail("a finished run opened a model"))
    assert (run_audit(base, tuned).path / "claims.json").read_bytes() == first


def test_an_interrupted_run_goes_on_and_ends_with_the_same_claims(
    tiny_model: Maker, run_audit: Callable[..., RunFolder], monkeypatch: pytest.MonkeyPatch
) -> None:
    base, tuned = tiny_model(seed=0), tiny_model(seed=1)
    undisturbed = (run_audit(base, tuned, "straight").path / "claims.json").read_bytes()
    original = behaviour._score

    def stop(audit_: Any, suite: Any, side: str) -> Any:
        if side == "tuned":
            raise KeyboardInterrupt
        return original(audit_, suite, side)

    with monkeypatch.context() as patch:
        patch.setattr(behaviour, "_score", stop)
        with pytest.raises(KeyboardInterrupt):
            run_audit(base, tuned, "stopped")
    again: list[str] = []
    monkeypatch.setattr(behaviour, "_score", lambda *a: again.append(a[2]) or original(*a))
    assert (run_audit(base, tuned, "stopped").path / "claims.json").read_bytes() == undisturbed
    assert again == ["tuned"], "the part that was finished is not done again"


def test_a_changed_table_is_made_again(tiny_model: Maker, run_audit: Callable[..., RunFolder]) -> None:
    model = tiny_model()
    run = run_audit(model, model)
    claims = (run.path / "claims.json").read_bytes()
    (run.stage_path("weights") / "weights.parquet").write_bytes(b"broken")
    assert not verify_run(run).passed
    run_audit(model, model)
    assert verify_run(run).passed
    assert (run.path / "claims.json").read_bytes() == claims


def test_a_run_of_another_pair_is_refused_and_left_alone(
    tiny_model: Maker, run_audit: Callable[..., RunFolder]
) -> None:
    first, second = tiny_model(seed=0), tiny_model(seed=1)
    run = run_audit(first, first)
    before = {p: p.read_bytes() for p in run.path.rglob("*") if p.is_file() and p.name != ".lock"}
    with pytest.raises(RunFolderError, match="another tuned"):
        run_audit(first, second)
    with pytest.raises(RunFolderError, match="another seed"):
        run_audit(first, first, seed=3)
    assert {p: p.read_bytes() for p in before} == before


@pytest.mark.parametrize(
    ("settings", "error", "says"),
    [
        ({"behaviour": ("nonsense",)}, SuiteError, "no built-in behaviour 'nonsense'"),
        ({"suite": ("missing.jsonl",)}, SuiteError, "missing.jsonl"),
        ({"device": "cuda:7"}, UsageError, "cuda:7"),
    ],
)
def test_nothing_half_written_stays_behind(
    settings: dict[str, Any],
    error: type[AuditError],
    says: str,
    tiny_model: Maker,
    run_audit: Callable[..., RunFolder],
    tmp_path: Path,
) -> None:
    model = tiny_model()
    with pytest.raises(error, match=says):
        run_audit(model, model, "deep/er", **settings)
    assert not (tmp_path / "deep").exists()


@pytest.mark.parametrize(
    ("settings", "option"), [({"layer": (99,)}, "--layer"), ({"dictionary": "nope"}, "--dictionary")]
)
def test_a_dictionary_that_cannot_be_is_refused_before_anything_is_measured(
    settings: dict[str, Any], option: str, tiny_model: Maker, run_audit: Any, tmp_path: Path
) -> None:
    with pytest.raises(UsageError) as caught:
        run_audit(str(tiny_model()), str(tiny_model()), **settings)
    assert caught.value.where == option
    assert not list(tmp_path.glob("*/manifest.json"))


def test_two_suites_of_one_name_are_refused(tiny_model: Maker, tiny_suite: Maker, run_audit: Any) -> None:
    suite = str(tiny_suite())
    with pytest.raises(SuiteError, match="Two suites are called 'tiny'"):
        run_audit(tiny_model(), tiny_model(), suite=(suite, suite))


def test_the_output_may_not_be_a_file_or_a_foreign_folder(
    tiny_model: Maker, run_audit: Callable[..., RunFolder], tmp_path: Path
) -> None:
    model = tiny_model()
    (tmp_path / "file").write_text("mine")
    with pytest.raises(OutputError, match="is a file"):
        run_audit(model, model, "file")
    (tmp_path / "folder").mkdir()
    (tmp_path / "folder" / "thesis.txt").write_text("mine")
    with pytest.raises(RunFolderError, match="not a run"):
        run_audit(model, model, "folder")
    assert [p.name for p in (tmp_path / "folder").iterdir()] == ["thesis.txt"]


def test_one_model_is_not_enough() -> None:
    with pytest.raises(UsageError, match="second model is missing"):
        audit.compare("somewhere")


@pytest.mark.parametrize(
    ("settings", "option"),
    [
        ({"batch_size": 0}, "--batch-size"),
        ({"seed": -1}, "--seed"),
        ({"preset": "huge"}, "--preset"),
        ({"dtype": "int8"}, "--dtype"),
    ],
)
def test_settings_that_make_no_sense_are_refused(settings: dict[str, Any], option: str) -> None:
    with pytest.raises(UsageError, match=option):
        audit.compare("demo", **settings)


def test_templates_cross_the_weights_only_where_they_differ() -> None:
    assert behaviour.templates_of("a", "a") == {"plain": None, "chat": "a"}
    assert behaviour.templates_of("a", "b") == {"plain": None, "chat-base": "a", "chat-tuned": "b"}
    assert behaviour.templates_of(None, "b") == {"plain": None, "chat-tuned": "b"}
    assert behaviour.templates_of(None, None) == {"plain": None}


def test_a_manifest_names_every_file_of_both_models(
    tiny_model: Maker, run_audit: Callable[..., RunFolder]
) -> None:
    model = tiny_model()
    run = run_audit(model, model)
    found = json.loads((run.path / "manifest.json").read_text())
    assert {"model.safetensors", "config.json", "tokenizer.json"} <= set(found["base"]["files"])
    assert found["stages"]["drift"]["status"] == "done"
    assert found["data"].keys() == {"tiny"}
