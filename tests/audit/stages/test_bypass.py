"""The stage on tiny models: a planted mask brought back on held-out items, resume, nothing to bring back."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
import torch
from transformers import AutoModelForCausalLM

from audit.behaviours.files import read_suite
from audit.causal.gates import read_gates
from audit.causal.objective import Objective
from audit.causal.off_target import KL_BUDGET, SKILLS_BUDGET
from audit.causal.steering_file import load_steering
from audit.causal.units import parameter
from audit.config import CompareConfig
from audit.errors import RunFolderError
from audit.evidence.files import read_table
from audit.evidence.schema import TABLES
from audit.evidence.schema.documents import Estimate
from audit.evidence.schema.results import BehaviourResult, BypassResult, SwitchesResult
from audit.evidence.stage import StageFolder
from audit.inputs import AuditInputs
from audit.pair.checkpoint import LoadOptions, resolve
from audit.pair.preflight import compare
from audit.pair.quiet import quiet
from audit.stages import behaviour, bypass, bypass_inputs, bypass_summary, switches
from audit.verdict.seen import Seen

Make = Callable[..., Path]
DOWN = "model.layers.1.mlp.down_proj"


@pytest.fixture(autouse=True)
def small(tiny_preset: Callable[..., None], monkeypatch: pytest.MonkeyPatch) -> None:
    tiny_preset(random_sets=4)
    monkeypatch.setitem(bypass_inputs.TEXTS, "quick", (8, 6))


@pytest.fixture
def suite(tiny_suite: Make) -> Path:
    return tiny_suite(entities=16, score="level", contrast=None)


@pytest.fixture
def masked(tiny_model: Make, tiny_tokenizer: Any, suite: Path) -> tuple[Path, Path]:
    """A base, and a child in which one neuron writes against " she"; everything else moved a little."""
    base, child = (tiny_model(name=name) for name in ("base", "child"))
    with quiet():
        model = AutoModelForCausalLM.from_pretrained(base).eval().requires_grad_(False)
    objective = Objective.of(read_suite(suite), tiny_tokenizer(), template=None)
    weight = parameter(model, f"{DOWN}.weight")
    neuron = int(gradient_of(objective, model, weight).norm(dim=0).argmax())
    for _ in range(8):
        gradient = gradient_of(objective, model, weight)[:, neuron]
        weight[:, neuron] -= 4.0 * gradient / gradient.norm()
    generator = torch.Generator().manual_seed(0)
    with quiet():
        for tensor in model.parameters():
            tensor += 1e-4 * torch.randn(tensor.shape, generator=generator)
        model.save_pretrained(child)
    return base, child


def gradient_of(objective: Objective, model: Any, weight: torch.nn.Parameter) -> torch.Tensor:
    weight.requires_grad_(True).grad = None
    objective.backward(model, 64)
    weight.requires_grad_(False)
    assert weight.grad is not None
    return weight.grad


def inputs(base: object, tuned: object, *suites: Path, **settings: Any) -> AuditInputs:
    sides = [resolve(str(reference), LoadOptions()) for reference in (base, tuned)]
    config = CompareConfig(base=str(base), tuned=str(tuned), preset="quick", **settings)
    return AuditInputs(config, sides[0], sides[1], compare(*sides), tuple(map(read_suite, suites)))


class Stages:
    """The stages up to this one in a folder, as the pipeline runs them."""

    def __init__(self, audit: AuditInputs, out: Path) -> None:
        self.audit, self.out = audit, out
        self.behaviours: BehaviourResult = behaviour.run(audit, self.folder("behaviour"))

    def folder(self, name: str) -> StageFolder:
        (self.out / name).mkdir(parents=True, exist_ok=True)
        return StageFolder(self.out / name, "key")

    def searched(self) -> SwitchesResult:
        return switches.run(self.audit, self.folder("switches"), self.behaviours)

    def bypassed(self, found: SwitchesResult | None) -> BypassResult:
        return bypass.run(self.audit, self.folder("bypass"), self.behaviours, found)

    @property
    def doses(self) -> pd.DataFrame:
        return read_table(self.out / "bypass" / "doses.parquet", TABLES["doses"])


def test_the_masks_neuron_is_silenced_and_the_behaviour_is_back(
    masked: tuple[Path, Path], suite: Path, tmp_path: Path
) -> None:
    stages = Stages(inputs(*masked, suite), tmp_path)
    result = stages.bypassed(stages.searched())
    found, doses = result.behaviours[0], stages.doses
    assert found.revert is not None
    assert found.internal is not None
    # The revert says where the change sits; that the model's own wiring is intact, only silencing says.
    assert found.revert.intervention == "revert"
    assert found.revert.imports_base
    assert not found.revert.may_support
    assert "it puts weights of the base into the tuned model" in found.revert.why_not
    assert found.revert.recovered is not None
    assert found.revert.recovered.value == pytest.approx(1, abs=0.1)
    internal = found.internal
    assert internal.intervention in ("ablate", "negate", "rescale")
    assert not internal.imports_base
    assert not internal.reads_base
    assert internal.recovered is not None
    assert internal.recovered.value == pytest.approx(1, abs=0.1)
    assert internal.above_random
    # Of what brings it about as near to the base on the fit half, the smallest set: the planted neuron.
    assert (internal.set, internal.size, internal.intervention) == ("switch set", 1, "ablate")
    fit = doses[(doses["split"] == "train") & (doses["set"] == "switch set") & (doses["dose"] == 1)]
    assert internal.recovered_fit == fit.set_index("intervention")["recovered"]["ablate"]
    assert internal.recovered_fit != internal.recovered.value
    chosen = doses[doses["chosen"] & ~doses["imports_base"]].iloc[0]
    assert (chosen["set"], chosen["dose"]) == (internal.set, internal.dose)
    assert chosen["split"] == "test"
    assert internal.recovered.value == chosen["recovered"]
    nulls = doses[doses["is_null"] & (doses["intervention"] == internal.intervention)]
    assert internal.random_sets == nulls["recovered"].notna().sum()
    assert set(nulls["split"]) == {"test"}
    assert set(nulls["dose"]) == {internal.dose}
    assert found.trials == len(doses[doses["split"] == "train"])
    assert internal.off_target_kl is not None
    assert internal.off_target_kl.n == 4  # half of the texts; the others helped to choose
    assert (result.kl_budget, result.skills_budget) == (KL_BUDGET, SKILLS_BUDGET)
    assert BypassResult.model_validate_json(result.model_dump_json()) == result


def test_gates_are_learned_once_and_kept(
    masked: tuple[Path, Path],
    suite: Path,
    tiny_preset: Callable[..., None],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    tiny_preset(random_sets=4, gate_steps=40)
    stages = Stages(inputs(*masked, suite), tmp_path)
    result = stages.bypassed(None)
    found = result.behaviours[0]
    assert found.gates is not None
    assert found.gates.intervention == "gate"
    assert found.gates.recovered is not None
    assert found.gates.recovered.value > 0.5
    assert found.gates.size == len(read_gates(tmp_path / "bypass" / "gates" / "tiny.json"))
    assert not any("gates" in what for what in found.not_measured)
    held = stages.doses[(stages.doses["set"] == "gates") & (stages.doses["split"] == "test")]
    assert held["dose"].tolist() == [0.5, 1.0, 2.0]

    def never(*_: Any, **__: Any) -> Any:
        raise AssertionError("gates were learned again")

    monkeypatch.setattr("audit.causal.gates.learned_gates", never)
    assert stages.bypassed(None) == result


def test_a_killed_stage_goes_on_after_the_part_it_finished(
    with_concept: Make,
    masked: tuple[Path, Path],
    suite: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    straight = Stages(inputs(*masked, with_concept(suite)), tmp_path / "straight")
    expected = straight.bypassed(straight.searched())
    stages = Stages(inputs(*masked, suite), tmp_path / "killed")
    found = stages.searched()
    with monkeypatch.context() as patch:

        def killed(*_: Any) -> Any:
            raise KeyboardInterrupt

        patch.setattr("audit.causal.bypass.Bypass.held_rows", killed)
        with pytest.raises(KeyboardInterrupt):
            stages.bypassed(found)
    assert not (tmp_path / "killed" / "bypass" / "doses.parquet").exists()

    def never(*_: Any) -> Any:
        raise AssertionError("the finished half was run again")

    monkeypatch.setattr("audit.causal.bypass.Bypass.fit_rows", never)
    assert stages.bypassed(found) == expected
    pd.testing.assert_frame_equal(stages.doses, straight.doses)
    kept = [load_steering(s.out / "bypass" / "directions" / "tiny.safetensors") for s in (stages, straight)]
    assert set(kept[0]) == set(kept[1]) == {"entity direction 0", "last direction 0"}
    for name, steering in kept[0].items():
        assert torch.equal(steering.direction, kept[1][name].direction)
        assert steering.layer == 0
        assert steering.centre is None


def test_a_contrast_enlarges_what_tells_classes_apart(
    with_concept: Make,
    masked: tuple[Path, Path],
    tiny_suite: Make,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(bypass, "untouched", lambda result: None)
    suite = with_concept(tiny_suite(entities=16, name="contrast"))
    stages = Stages(inputs(*masked, suite), tmp_path)
    result = stages.bypassed(None)
    doses = stages.doses
    assert set(doses["intervention"]) == {"amplify", "rewire"}
    wire = result.behaviours[0].rewire
    assert wire is not None
    assert not wire.may_support
    assert "it adds a wire of its own, and says nothing of those that are there" in wire.why_not
    assert result.not_measured == [bypass.NO_SWITCHES, bypass.NO_FEATURES]
    assert result.behaviours[0].revert is None
    kept = load_steering(tmp_path / "bypass" / "directions" / "contrast.safetensors")
    assert all(steering.centre is not None for steering in kept.values())
    nulls = doses[doses["is_null"]]
    assert set(nulls["description"]) == {"random directions"}
    assert nulls["intervention"].value_counts().to_dict() == {"amplify": 4, "rewire": 3}


def test_of_a_behaviour_that_rose_the_way_inside_the_base_is_tried_too(
    masked: tuple[Path, Path],
    suite: Path,
    tiny_preset: Callable[..., None],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """The masked child as base: the mask came off, and gates find in it what the other model shows."""
    tiny_preset(random_sets=4, gate_steps=40)
    stages = Stages(inputs(*masked[::-1], suite), tmp_path)
    monkeypatch.setattr(bypass, "seen_in", lambda result: Seen("rose", ""))
    result = stages.bypassed(None)
    (found,) = result.in_base
    assert found.gates is not None
    assert found.gates.recovered is not None
    assert found.gates.recovered.value > 0.5
    assert found.gates_learned == found.gates.size
    assert found.internal is found.revert is None
    assert bypass_inputs.NO_CLASSES in found.not_measured
    kept = [path.name for path in (tmp_path / "bypass" / "gates").iterdir()]
    assert sorted(kept) == ["tiny-in-base.json", "tiny.json"]
    assert stages.bypassed(None) == result


def test_an_adapter_pair_in_one_copy_of_the_weights(
    with_concept: Make,
    tiny_model: Make,
    tiny_adapter: Make,
    suite: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(bypass, "untouched", lambda result: None)
    monkeypatch.setattr(switches, "unchanged", lambda result: None)
    base = tiny_model()
    stages = Stages(inputs(base, f"{base}+{tiny_adapter(base)}", with_concept(suite)), tmp_path)
    result = stages.bypassed(stages.searched())
    assert stages.audit.pair.one_copy
    found = result.behaviours[0]
    assert found.revert is not None
    assert found.internal is not None
    assert found.trials == len(stages.doses[stages.doses["split"] == "train"])
    reverted = stages.doses[(stages.doses["intervention"] == "revert") & ~stages.doses["is_null"]]
    assert reverted["recovered"].notna().all()


def test_nothing_lost_and_nothing_measurable_are_said(tiny_model: Make, suite: Path, tmp_path: Path) -> None:
    model = tiny_model()
    stages = Stages(inputs(model, model, suite), tmp_path)
    found = stages.bypassed(stages.searched()).behaviours[0]
    assert found.internal is found.revert is found.reading_base is None
    assert found.trials == 0
    assert len(found.not_measured) == 1
    assert stages.doses.empty
    one = stages.behaviours.suites[0].model_copy(update={"measurable": False})
    assert bypass.untouched(one) == "the suite is not measurable on this base"


def test_without_candidates_or_concept_it_is_said_that_nothing_was_tried(
    masked: tuple[Path, Path], suite: Path, tmp_path: Path
) -> None:
    stages = Stages(inputs(*masked, suite), tmp_path)
    result = stages.bypassed(None)
    found = result.behaviours[0]
    assert found.trials == 0
    assert found.internal is None
    assert bypass_inputs.NO_CONCEPT in found.not_measured
    assert "nothing could be tried" in found.not_measured
    assert bypass_inputs.NO_GATES.format(preset="quick") in found.not_measured
    assert result.not_measured == [bypass.NO_SWITCHES, bypass.NO_FEATURES]


def test_a_missing_table_of_candidates_is_named(
    masked: tuple[Path, Path], suite: Path, tmp_path: Path
) -> None:
    stages = Stages(inputs(*masked, suite), tmp_path)
    found = stages.searched()
    (tmp_path / "switches" / "units.parquet").unlink()
    with pytest.raises(RunFolderError, match="candidate units are missing"):
        stages.bypassed(found)


def row(**changes: Any) -> dict[str, Any]:
    """A row of the table `doses`: a chosen internal trial that may support a verdict."""
    empty = {column.name: None for column in TABLES["doses"].columns}
    return {
        **empty, "behaviour": "tiny", "template": "plain", "split": "test", "intervention": "ablate",
        "set": "top neurons", "description": "", "size": 2, "dose": 1.0, "recovered": 0.9, "low": 0.7,
        "high": 1.1, "is_null": False, "chosen": True, "reads_base": False, "imports_base": False,
        "off_target_kl": 0.01, "off_target_low": 0.0, "off_target_high": 0.02, "skills": 1.0, **changes,
    }  # fmt: skip


def summarised(masked: Any, suite: Path, tmp_path: Path, chosen: dict[str, Any], nulls: list[Any]) -> Any:
    """The chosen trial of a run in which it has these controls."""
    result = Stages(inputs(*masked, suite), tmp_path).behaviours.suites[0]
    action = chosen.get("intervention", "ablate")
    rows = [row(split="train", chosen=False, intervention=action), row(**chosen)]
    for i, value in enumerate(nulls):
        name = f"top neurons: control {i + 1}"
        null = {"is_null": True, "set": name, "recovered": value, "description": "matched"}
        rows.append(row(chosen=False, intervention=action, **null))
    return bypass_summary.summarise(result, pd.DataFrame(rows), [], texts=4)


@pytest.mark.parametrize(
    ("chosen", "nulls", "why"),
    [
        ({}, [0.1, 0.2, 0.3], None),
        ({}, [0.1, 0.2], "it has 2 controls"),
        ({}, [0.1, 0.2, None], "it has 2 controls"),
        ({}, [0.1, 0.2, 0.75], "above every control"),
        ({"low": -0.1}, [-0.5, -0.4, -0.3], "above 0"),
        ({"low": None, "high": None}, [0.1, 0.2, 0.3], "above every control"),
        ({"off_target_kl": KL_BUDGET + 0.01}, [0.1, 0.2, 0.3], "outside the budgets"),
        ({"skills": SKILLS_BUDGET - 0.01}, [0.1, 0.2, 0.3], "outside the budgets"),
        ({"off_target_kl": None}, [0.1, 0.2, 0.3], "outside the budgets"),
        ({"recovered": 2.5, "low": 2.1, "high": 3.0}, [0.1, 0.2, 0.3], "overshoots"),
        ({"intervention": "steer"}, [0.1, 0.2, 0.3], "may write the answer by itself"),
    ],
)
def test_what_may_support_a_verdict(
    masked: Any, suite: Path, tmp_path: Path, chosen: Any, nulls: Any, why: str | None
) -> None:
    found = summarised(masked, suite, tmp_path, chosen, nulls)
    trial = found.internal
    assert trial is not None
    assert trial.may_support == (why is None)
    if why is not None:
        assert any(why in reason for reason in trial.why_not)


def test_a_revert_or_a_reader_of_the_base_never_supports_a_verdict(
    masked: Any, suite: Path, tmp_path: Path
) -> None:
    nulls = [0.0, 0.1, 0.2]
    reverted = summarised(masked, suite, tmp_path, {"imports_base": True}, nulls)
    assert reverted.internal is None
    assert reverted.revert is not None
    assert not reverted.revert.may_support
    reading = summarised(masked, suite, tmp_path / "b", {"reads_base": True}, nulls)
    assert reading.internal is None
    assert reading.reading_base is not None
    assert not reading.reading_base.may_support


def test_a_revert_of_unembedding_rows_is_told_from_silencing(
    masked: Any, suite: Path, tmp_path: Path
) -> None:
    found = summarised(masked, suite, tmp_path, {"intervention": "revert", "note": "fewer"}, [0.0, 0.1, 0.2])
    assert found.internal is not None
    assert found.internal.note == f"fewer; {bypass_summary.ROWS}"
    silenced = summarised(masked, suite, tmp_path / "b", {}, [0.0, 0.1, 0.2])
    assert silenced.internal is not None
    assert silenced.internal.note is None


def test_where_the_change_is_uncertain_there_is_no_share(masked: Any, suite: Path, tmp_path: Path) -> None:
    result = Stages(inputs(*masked, suite), tmp_path).behaviours.suites[0]
    assert bypass.untouched(result) is None
    for low, high in ((-1.0, 1.0), (None, None)):
        change = Estimate(value=-0.5, low=low, high=high, n=8)
        primary = result.primary.model_copy(update={"change": change})
        templates = [primary if t is result.primary else t for t in result.templates]
        assert bypass.untouched(result.model_copy(update={"templates": templates})) == bypass.NOTHING_LOST
