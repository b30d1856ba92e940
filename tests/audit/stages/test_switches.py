"""The stage on tiny models: a planted row of the unembedding, adapters, resume, and nothing to look for."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from transformers import AutoModelForCausalLM

from audit.behaviours.files import read_suite
from audit.causal.objective import Objective
from audit.causal.switch import STEPS, TOLERANCE
from audit.config import CompareConfig
from audit.evidence.files import read_table
from audit.evidence.schema import TABLES
from audit.evidence.schema.results import BehaviourResult, SwitchesResult
from audit.evidence.stage import StageFolder
from audit.inputs import AuditInputs
from audit.pair.checkpoint import LoadOptions, resolve
from audit.pair.preflight import compare
from audit.pair.quiet import quiet
from audit.stages import behaviour, switches

Make = Callable[..., Path]


def inputs(base: object, tuned: object, *suites: Path) -> AuditInputs:
    sides = [resolve(str(reference), LoadOptions()) for reference in (base, tuned)]
    config = CompareConfig(base=str(base), tuned=str(tuned), preset="quick")
    return AuditInputs(
        config, sides[0], sides[1], compare(*sides), tuple(read_suite(suite) for suite in suites)
    )


def measured(audit: AuditInputs, out: Path) -> BehaviourResult:
    return behaviour.run(audit, StageFolder(out / "behaviour", "key"))


def searched(audit: AuditInputs, found: BehaviourResult, out: Path) -> SwitchesResult:
    folder = out / "switches"
    folder.mkdir(exist_ok=True, parents=True)
    return switches.run(audit, StageFolder(folder, "key"), found)


def table(out: Path, name: str) -> Any:
    return read_table(out / "switches" / f"{name}.parquet", TABLES[name])


@pytest.fixture
def level_suite(tiny_suite: Make) -> Path:
    return tiny_suite(entities=16, score="level", contrast=None)


@pytest.fixture
def edited_pair(tiny_model: Make, tiny_tokenizer: Any, level_suite: Path) -> Callable[..., tuple[Path, Path]]:
    """A base, and a child whose unembedding row of " she" is moved away from what the prompts end in."""

    def make(architecture: str = "llama") -> tuple[Path, Path]:
        base, child = (tiny_model(architecture, name=name) for name in ("base", "child"))
        tokenizer = tiny_tokenizer()
        with quiet():
            model = AutoModelForCausalLM.from_pretrained(base).eval()
        objective = Objective.of(read_suite(level_suite), tokenizer, template=None)
        ends = []
        for request in objective.requests:
            with torch.no_grad():
                ids = torch.tensor([request.prompt])
                ends.append(model(input_ids=ids, output_hidden_states=True).hidden_states[-1][0, -1])
        away = torch.stack(ends).mean(0)
        generator = torch.Generator().manual_seed(0)
        with torch.no_grad(), quiet():
            for weight in model.parameters():
                weight += 1e-4 * torch.randn(weight.shape, generator=generator)
            model.lm_head.weight[tokenizer(" she")["input_ids"][0]] -= 4 * away / away.norm() ** 2
            model.save_pretrained(child)
        return base, child

    return make


def test_a_planted_row_is_found_held_and_reported(
    edited_pair: Any, level_suite: Path, tiny_preset: Any, tiny_tokenizer: Any, tmp_path: Path
) -> None:
    tiny_preset(search_units=8)
    audit = inputs(*edited_pair(), level_suite)
    result = searched(audit, measured(audit, tmp_path), tmp_path)
    found = result.behaviours[0]
    she = tiny_tokenizer()(" she")["input_ids"][0]
    assert found.shape == "localised"
    assert found.set is not None
    assert (found.set.kind, found.set.units) == ("row", [f"lm_head:{she}"])
    assert found.set.recovered is not None
    assert found.set.recovered.value == pytest.approx(1, abs=0.02)
    assert found.set.random_sets == 4
    assert found.set.carried > 0.9
    assert found.completeness_gap is not None
    assert found.completeness_gap < 0.05
    assert found.best_graft == "lm_head"
    units = table(tmp_path, "units")
    assert units[units["in_set"]][["kind", "index"]].to_numpy().tolist() == [["row", she]]
    assert set(units["kind"]) == {"neuron", "head", "row", "component"}
    neurons = units[units["kind"] == "neuron"]
    assert neurons[["write_base", "write_tuned", "direct_base", "direct_tuned"]].notna().all(axis=None)
    assert (neurons["base_norm"] > 0).all()
    written = units[units["kind"].isin(("neuron", "head"))]
    checked = written[written["write_gap"].notna()]
    assert checked["module"].nunique() == switches.CHECKED["quick"]
    assert set(checked["write_steps"]) <= {1, STEPS}
    assert ((checked["write_steps"] == 1) <= (checked["write_gap"] <= TOLERANCE)).all()
    assert (
        written["write_attribution"] - (written["write_tuned"] - written["write_base"])
    ).abs().max() < 1e-9
    assert units[units["kind"] == "row"][["write_gap", "write_steps"]].isna().all(axis=None)
    grafts = table(tmp_path, "grafts")
    assert grafts[grafts["direction"] == "tuned into base"]["recovered"].tolist() == [
        pytest.approx(1, abs=0.05)
    ]
    assert result.warnings == []
    assert SwitchesResult.model_validate_json(result.model_dump_json()) == result


def test_a_killed_search_goes_on_after_what_it_finished(
    edited_pair: Any, level_suite: Path, tiny_preset: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    tiny_preset()
    audit = inputs(*edited_pair(), level_suite)
    found = measured(audit, tmp_path)
    first = searched(audit, found, tmp_path)
    rows = table(tmp_path, "units")

    def never(*_: Any) -> None:
        raise AssertionError("a finished part was computed again")

    monkeypatch.setattr(switches, "_searched", never)
    assert searched(audit, found, tmp_path) == first
    assert table(tmp_path, "units").equals(rows)
    (tmp_path / "switches" / ".parts-key" / "tiny.json").write_text("{")
    with pytest.raises(AssertionError, match="computed again"):
        searched(audit, found, tmp_path)


def test_an_adapter_pair_in_one_copy_of_the_weights(
    tiny_model: Make, tiny_adapter: Make, level_suite: Path, tiny_preset: Any, tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:  # fmt: skip
    tiny_preset()
    monkeypatch.setattr(switches, "unchanged", lambda result: None)
    base = tiny_model()
    audit = inputs(base, f"{base}+{tiny_adapter(base)}", level_suite)
    found = searched(audit, measured(audit, tmp_path), tmp_path).behaviours[0]
    assert audit.pair.one_copy
    assert found.searched
    assert found.change is not None
    assert found.attributed == pytest.approx(found.change.value, abs=0.1 + 0.3 * abs(found.change.value))
    assert {kind.kind for kind in found.kinds} == {"head", "component"}
    units = table(tmp_path, "units")
    heads = units[units["kind"] == "head"]
    assert (heads["tuned_norm"] != heads["base_norm"]).all()


def test_nothing_is_looked_for_where_nothing_changed(
    tiny_model: Make, level_suite: Path, tmp_path: Path
) -> None:
    model = tiny_model()
    audit = inputs(model, model, level_suite)
    result = searched(audit, measured(audit, tmp_path), tmp_path)
    assert not result.behaviours[0].searched
    assert "not shown to have changed" in str(result.behaviours[0].why_not) or "not measurable" in str(
        result.behaviours[0].why_not
    )
    assert all(table(tmp_path, name).empty for name in switches.PARTS)
