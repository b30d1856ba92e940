"""`audit intervene`: a run's interventions through nnsight, here and on a stub of another machine."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from rich.console import Console
from transformers import AutoModelForCausalLM
from typer.testing import CliRunner

import audit
from audit.behaviours.files import read_suite
from audit.causal.objective import Objective
from audit.causal.repeat import NO_DIRECTION, NO_WEIGHTS
from audit.causal.traced import Traced
from audit.cli import app
from audit.config import InterveneConfig
from audit.errors import RunFolderError, UsageError
from audit.evidence.files import read_json, write_json, write_table
from audit.evidence.run import RunFolder
from audit.evidence.schema import TABLES
from audit.intervene import print_repeated, run_intervene
from audit.pair.quiet import quiet
from audit.progress import Silent
from audit.stages import bypass_inputs

Make = Callable[..., Path]


@pytest.fixture
def suite(tiny_suite: Make, with_concept: Make) -> Path:
    return with_concept(tiny_suite(entities=16, score="level", contrast=None))


@pytest.fixture
def child(tiny_model: Make, tiny_tokenizer: Any, suite: Path) -> Path:
    """A model whose unembedding row of " she" is moved away from what the prompts end in."""
    folder = tiny_model(name="child")
    tokenizer = tiny_tokenizer()
    with quiet():
        model = AutoModelForCausalLM.from_pretrained(folder).eval().requires_grad_(False)
    ends = []
    for request in Objective.of(read_suite(suite), tokenizer, template=None).requests:
        states = model(input_ids=torch.tensor([request.prompt]), output_hidden_states=True).hidden_states
        ends.append(states[-1][0, -1])
    away = torch.stack(ends).mean(0)
    model.lm_head.weight[tokenizer(" she")["input_ids"][0]] -= 4 * away / away.norm() ** 2
    generator = torch.Generator().manual_seed(0)
    with quiet():
        for weight in model.parameters():
            weight += 1e-3 * torch.randn(weight.shape, generator=generator)
        model.save_pretrained(folder)
    return folder


@pytest.fixture
def run(
    tiny_model: Make,
    child: Path,
    suite: Path,
    tiny_preset: Any,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> RunFolder:
    tiny_preset(random_sets=3)
    monkeypatch.setitem(bypass_inputs.TEXTS, "quick", (8, 6))
    skip = ("elicit", "features")
    return audit.compare(
        str(tiny_model(name="base")), str(child), out=str(tmp_path / "run"), suite=(str(suite),),
        preset="quick", skip=skip,
    )  # fmt: skip


def repeated(run: RunFolder, **settings: Any) -> Any:
    return run_intervene(InterveneConfig(str(run.path), **settings), Silent())


def test_every_chosen_intervention_gives_the_same_through_nnsight(run: RunFolder, capsys: Any) -> None:
    before = {path: path.read_bytes() for path in run.path.rglob("*") if path.is_file()}
    found = repeated(run)
    chosen = run.table("bypass", "doses").query("chosen")
    assert [(row.intervention, row.set, row.dose) for row in found.rows] == list(
        zip(chosen["intervention"], chosen["set"], chosen["dose"], strict=True)
    )
    assert len(found.rows) >= 2
    for row in found.rows:
        assert row.why_not is None
        assert row.repeated == pytest.approx(row.recovered, abs=1e-4)
    assert found.untouched["tiny"] < 1e-5
    assert {path: path.read_bytes() for path in run.path.rglob("*") if path.is_file()} == before
    print_repeated(found, Console(width=200))
    assert "within" in capsys.readouterr().out
    result = CliRunner().invoke(app, ["intervene", str(run.path), "--json"])
    assert result.exit_code == 0, result.output
    printed = json.loads(result.stdout)
    assert printed["remote"] is False
    assert printed["rows"][0]["behaviour"] == "tiny"


def test_a_direction_is_tried_again_and_missed_where_it_is_gone(run: RunFolder) -> None:
    doses = run.table("bypass", "doses")
    steered = doses[(doses["intervention"] == "steer") & (doses["split"] == "train")].iloc[0]
    doses["chosen"] = doses.index == steered.name
    write_table(run.stage_path("bypass") / "doses.parquet", TABLES["doses"], doses)
    (row,) = repeated(run).rows
    assert row.intervention == "steer"
    assert row.repeated is not None
    shutil.rmtree(run.stage_path("bypass") / "directions")
    (row,) = repeated(run).rows
    assert (row.repeated, row.why_not) == (None, NO_DIRECTION)


def as_hub(run: RunFolder) -> RunFolder:
    """The run as if its tuned model were org/name on the hub."""
    manifest = read_json(run.path / "manifest.json")
    for side in ("base", "tuned"):
        manifest[side]["reference"] = f"org/{side}"
    write_json(run.path / "manifest.json", manifest)
    return run


def test_elsewhere_needs_no_weights_here(
    run: RunFolder, child: Path, tiny_tokenizer: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    from nnsight import CONFIG

    from audit.causal import ndif

    monkeypatch.setattr(CONFIG.API, "APIKEY", "secret")
    monkeypatch.setattr(ndif, "hub_tokenizer", lambda reference: tiny_tokenizer())
    with quiet():
        model = AutoModelForCausalLM.from_pretrained(child).eval()

    def there(reference: Any, tokenizer: Any) -> Traced:
        assert reference.location == "org/tuned"
        return Traced.here(model, tokenizer)

    monkeypatch.setattr(ndif, "there", there)
    with pytest.raises(UsageError, match="without an adapter"):
        repeated(run, remote=True)
    found = repeated(as_hub(run), remote=True)
    assert (found.model, found.remote) == ("org/tuned", True)
    assert found.untouched["tiny"] < 1e-5
    for row in found.rows:
        if row.intervention == "revert":
            assert (row.repeated, row.why_not) == (None, NO_WEIGHTS)
        else:
            assert row.repeated == pytest.approx(row.recovered, abs=1e-4)
    assert {row.why_not for row in found.rows} >= {NO_WEIGHTS}
    monkeypatch.setattr(CONFIG.API, "APIKEY", None)
    with pytest.raises(UsageError, match="no API key"):
        repeated(run, remote=True)


def test_other_models_and_suites_than_the_runs_are_refused(run: RunFolder, suite: Path, child: Path) -> None:
    manifest = read_json(run.path / "manifest.json")
    identity = manifest["tuned"]["identity"]
    manifest["tuned"]["identity"] = "0" * 64
    write_json(run.path / "manifest.json", manifest)
    with pytest.raises(RunFolderError, match="model is not the one of this run") as caught:
        repeated(run)
    assert caught.value.where == str(child)
    manifest["tuned"]["identity"] = identity
    write_json(run.path / "manifest.json", manifest)
    suite.write_text(suite.read_text(encoding="utf-8").replace("A tiny suite", "Another"), encoding="utf-8")
    with pytest.raises(RunFolderError, match="suite is not the one of this run"):
        repeated(run)


def test_a_run_without_interventions_is_refused(
    tiny_model: Make, suite: Path, tiny_preset: Any, tmp_path: Path
) -> None:
    tiny_preset()
    model = str(tiny_model())
    skip = ("elicit", "directions", "features", "switches", "bypass")
    run = audit.compare(
        model, model, out=str(tmp_path / "same"), suite=(str(suite),), preset="quick", skip=skip
    )
    with pytest.raises(UsageError, match="tried no intervention"):
        repeated(run)
    manifest = read_json(run.path / "manifest.json") | {"kind": "train"}
    write_json(run.path / "manifest.json", manifest)
    with pytest.raises(UsageError, match="`audit train` has no interventions"):
        repeated(run)
    with pytest.raises(UsageError, match="at least 1"):
        InterveneConfig("run", batch_size=0)
