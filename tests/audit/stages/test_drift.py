from __future__ import annotations

import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pandas as pd
import pytest
import torch

from audit.config import CompareConfig
from audit.errors import CheckpointError
from audit.evidence.files import read_table
from audit.evidence.schema import TABLES
from audit.evidence.schema.results import DriftResult
from audit.evidence.stage import StageFolder
from audit.inputs import AuditInputs
from audit.measures.sequence import prefix_curve, sequence_kl
from audit.pair.checkpoint import LoadOptions, resolve
from audit.pair.preflight import compare
from audit.presets import PRESETS
from audit.stages import drift
from audit.stages.openings import starts

Make = Callable[..., Path]
SMALL = replace(PRESETS["quick"], drift_sequences=8, drift_tokens=6, draws=200)
COUNTS = {"draws": SMALL.draws, "seed": 0}


@pytest.fixture(autouse=True)
def small_preset(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(PRESETS, "quick", SMALL)


class Run(NamedTuple):
    audit: AuditInputs
    result: DriftResult
    table: pd.DataFrame


def opened(base: object, tuned: object, **settings: Any) -> AuditInputs:
    sides = [resolve(str(reference), LoadOptions()) for reference in (base, tuned)]
    config = CompareConfig(base=str(base), tuned=str(tuned), preset="quick", **settings)
    return AuditInputs(config, sides[0], sides[1], compare(*sides), ())


def measured(folder: Path, base: object, tuned: object, **settings: Any) -> Run:
    audit = opened(base, tuned, **settings)
    folder.mkdir()
    result = drift.run(audit, StageFolder(folder, "key"))
    return Run(audit, result, read_table(folder / "drift.parquet", TABLES["drift"]))


def test_the_same_weights_in_another_folder_stay_within_the_floor(tiny_model: Make, tmp_path: Path) -> None:
    base = tiny_model()
    shutil.copytree(base, tmp_path / "copy")
    _, result, table = measured(tmp_path / "out", base, tmp_path / "copy")
    for direction in (result.forward, result.reverse):
        estimate = direction.sequence_kl
        assert (estimate.value, estimate.low, estimate.high, estimate.n) == (0.0, 0.0, 0.0, 8)
        assert direction.outliers == 0
    assert result.position == "within"
    assert 0 < result.noise_floor.sequence_kl.value < result.noise_floor.upper < 0.1
    assert (result.noise_floor.dtype, result.noise_floor.batch_size) == ("bfloat16", 8)
    assert not table[["kl_forward", "kl_reverse", "outlier"]].any(axis=None)


def test_the_table_has_every_step_of_every_sequence_once(tiny_model: Make, tmp_path: Path) -> None:
    _, result, table = measured(tmp_path / "out", tiny_model(), tiny_model(seed=1))
    assert table.groupby("source")["sequence"].nunique().to_dict() == {"base": 8, "tuned": 8}
    steps = table.groupby(["source", "sequence"])["step"]
    assert (steps.agg(list).map(lambda seen: seen == list(range(len(seen))))).all()
    assert steps.size().between(1, 6).all()
    forms = table.groupby("sequence")["template"].unique().map(list)
    assert forms.tolist() == [["plain"], ["chat"]] * 4
    assert (result.sequences, result.new_tokens) == (8, 6)


def test_each_number_of_the_result_follows_from_the_table(tiny_model: Make, tmp_path: Path) -> None:
    _, result, table = measured(tmp_path / "out", tiny_model(), tiny_model(seed=1))
    assert result.position == "above"
    for direction, source, column in (
        (result.forward, "base", "kl_forward"),
        (result.reverse, "tuned", "kl_reverse"),
    ):
        rows = table[table["source"] == source]
        wide = rows.pivot(index="sequence", columns="step", values=column)
        kl, mask = wide.fillna(0).to_numpy(), wide.notna().to_numpy()
        estimate, curve = sequence_kl(kl, mask, **COUNTS), prefix_curve(kl, mask, **COUNTS)
        found = direction.sequence_kl
        assert (found.value, found.low, found.high) == (estimate.value, estimate.low, estimate.high)
        assert [point.value for point in direction.prefix_curve] == [point.value for point in curve]
        assert direction.tokens == len(rows)
        assert direction.per_token == pytest.approx(rows[column].mean())
        assert direction.outliers == rows["outlier"].sum()
        assert (rows[column] > direction.outlier_threshold).equals(rows["outlier"])


@pytest.mark.parametrize("architecture", ["llama", "gpt2"])
def test_the_kl_is_that_of_the_plain_models_on_the_sampled_text(
    tiny_model: Make, tmp_path: Path, architecture: str
) -> None:
    run = measured(tmp_path / "out", tiny_model(architecture), tiny_model(architecture, seed=1))
    tokenizer = run.audit.pair.tokenizer("base")
    prompts = [ids for _, ids in starts(tokenizer, tokenizer.chat_template, 8)]
    for (_, sequence), rows in run.table.groupby(["source", "sequence"]):
        ids = torch.tensor([prompts[sequence] + rows["token"].tolist()])
        log_p, log_q = (_next_token(run.audit, side, ids, len(rows)) for side in ("base", "tuned"))
        forward, reverse = ((a.exp() * (a - b)).sum(-1) for a, b in ((log_p, log_q), (log_q, log_p)))
        assert rows["kl_forward"].to_numpy() == pytest.approx(forward.numpy(), rel=1e-4, abs=1e-6)
        assert rows["kl_reverse"].to_numpy() == pytest.approx(reverse.numpy(), rel=1e-4, abs=1e-6)


def _next_token(audit: AuditInputs, side: Any, ids: torch.Tensor, steps: int) -> torch.Tensor:
    with audit.pair.model(side) as model, torch.inference_mode():
        return model(ids).logits[0, -steps - 1 : -1].double().log_softmax(-1)


def test_an_adapter_over_one_copy_drifts_like_the_merged_model(
    tiny_model: Make, tiny_adapter: Make, tmp_path: Path
) -> None:
    base = tiny_model()
    adapter = tiny_adapter(base)
    one = measured(tmp_path / "one", base, f"{base}+{adapter}")
    assert one.audit.pair.one_copy
    merged = tmp_path / "merged"
    shutil.copytree(base, merged)
    _merge(base, adapter, merged)
    two = measured(tmp_path / "two", base, merged)
    assert not two.audit.pair.one_copy
    assert one.table["token"].equals(two.table["token"])
    for column in ("kl_forward", "kl_reverse"):
        assert one.table[column].to_numpy() == pytest.approx(two.table[column].to_numpy(), rel=1e-3, abs=1e-6)
    assert one.result.forward.sequence_kl.value > 1e-3


def _merge(base: Path, adapter: Path, folder: Path) -> None:
    from safetensors.torch import load_file, save_file

    weights, parts = load_file(base / "model.safetensors"), load_file(adapter / "adapter_model.safetensors")
    for name in [name for name in parts if ".lora_A." in name]:
        target = name.removeprefix("base_model.model.").replace(".lora_A.weight", ".weight")
        weights[target] = weights[target] + 2 * parts[name.replace("lora_A", "lora_B")] @ parts[name]
    save_file(weights, folder / "model.safetensors", {"format": "pt"})


class Killed(BaseException):
    """As a signal would end the process."""


@pytest.mark.parametrize("at", ["tuned", "floor", "measure"])
def test_a_killed_run_goes_on_and_ends_like_an_undisturbed_one(
    tiny_model: Make, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, at: str
) -> None:
    base, tuned = tiny_model(), tiny_model(seed=1)
    straight = measured(tmp_path / "straight", base, tuned)
    folder, done = tmp_path / "killed", []
    folder.mkdir()
    part, measure = StageFolder.part, drift.measure_drift

    def recording(self: StageFolder, name: str, table: str, compute: Callable[[], Any]) -> Any:
        def once() -> Any:
            if name == at and name not in done:
                done.append(name)
                raise Killed
            done.append(name)
            return compute()

        return part(self, name, table, once)

    def dying(*arguments: Any) -> Any:
        if at == "measure" and at not in done:
            done.append(at)
            raise Killed
        return measure(*arguments)

    monkeypatch.setattr(StageFolder, "part", recording)
    monkeypatch.setattr(drift, "measure_drift", dying)
    with pytest.raises(Killed):
        drift.run(opened(base, tuned), StageFolder(folder, "key"))
    resumed = drift.run(opened(base, tuned), StageFolder(folder, "key"))
    assert resumed == straight.result
    assert read_table(folder / "drift.parquet", TABLES["drift"]).equals(straight.table)
    assert [name for name in done if name != at] == [
        name for name in ("base", "tuned", "floor") if name != at
    ]


def test_the_seed_decides(tiny_model: Make, tmp_path: Path) -> None:
    base, tuned = tiny_model(), tiny_model(seed=1)
    same = [measured(tmp_path / name, base, tuned, seed=3) for name in "ab"]
    other = measured(tmp_path / "c", base, tuned, seed=4)
    assert same[0].result == same[1].result
    assert not same[0].table["token"].equals(other.table["token"])


def test_chat_tokens_that_the_base_cannot_read_are_spelt_out(tiny_model: Make, tmp_path: Path) -> None:
    base, tuned = tiny_model(), tiny_model(seed=1, extra=("<|turn|>",))
    template = tuned / "chat_template.jinja"
    template.write_text("<|turn|>{{ messages[0]['content'] }}<|turn|>")
    run = measured(tmp_path / "out", base, tuned)
    assert run.audit.preflight.shared_vocabulary == len(run.audit.pair.tokenizer("base"))
    assert "<|turn|>" in run.audit.pair.tokenizer("tuned").get_vocab()
    assert set(run.table["template"]) == {"plain", "chat"}
    assert run.table["token"].max() < run.audit.preflight.shared_vocabulary


def test_an_end_of_turn_of_the_generation_config_ends_sequences(tiny_model: Make, tmp_path: Path) -> None:
    from transformers import GenerationConfig

    base, tuned = tiny_model(), tiny_model(seed=1)
    ends = list(range(2, 120))
    GenerationConfig(eos_token_id=ends).save_pretrained(tuned)
    _, _, table = measured(tmp_path / "out", base, tuned)
    last = table.groupby(["source", "sequence"])["step"].transform("max") == table["step"]
    assert not table.loc[~last, "token"].isin(ends).any()
    assert table.loc[last & (table["step"] < SMALL.drift_tokens - 1), "token"].isin(ends).all()
    assert table.groupby("source")["step"].max().lt(SMALL.drift_tokens).all()
    assert table.loc[last, "token"].isin(ends).groupby(table["source"]).any().all()


@pytest.mark.parametrize(
    ("settings", "dtype", "batch"),
    [({"batch_size": 1}, "bfloat16", 2), ({"dtype": "bfloat16", "batch_size": 4}, "float32", 2)],
)
def test_the_floor_reloads_in_another_dtype_and_batch(
    tiny_model: Make, tmp_path: Path, settings: dict[str, Any], dtype: str, batch: int
) -> None:
    base = tiny_model()
    _, result, _ = measured(tmp_path / "out", base, base, **settings)
    assert (result.noise_floor.dtype, result.noise_floor.batch_size) == (dtype, batch)
    assert result.noise_floor.upper > 0
    assert result.position == "within"


def test_a_model_that_says_nan_is_an_error_of_its_checkpoint(tiny_model: Make, tmp_path: Path) -> None:
    base, tuned = tiny_model(), tiny_model(seed=1)
    audit = opened(base, tuned)
    with audit.pair.model("tuned") as model:
        model.lm_head.weight[7] = torch.nan
    with pytest.raises(CheckpointError, match="NaN or infinite") as caught:
        drift.run(audit, StageFolder(tmp_path, "key"))
    assert "float32" in caught.value.fix


def test_a_grid_knows_where_nothing_was_sampled() -> None:
    frame = pd.DataFrame({"sequence": [0, 1, 1], "step": [0, 0, 1], "kl_forward": [1.0, 0.0, 3.0]})
    grid = drift.Grid(frame)
    np.testing.assert_array_equal(grid.mask, [[True, False], [True, True]])
    np.testing.assert_array_equal(grid.values("kl_forward"), [[1.0, 0.0], [0.0, 3.0]])


def test_outliers_lie_above_the_noise(tiny_model: Make) -> None:
    grid = np.full((8, 6), 1e-3)
    grid[2, 3], grid[4, 1] = 0.5, 0.02
    sequence, step = np.nonzero(grid)
    rows = pd.DataFrame({"sequence": sequence, "step": step, "kl_forward": grid.ravel()})
    rows["kl_reverse"] = rows["kl_forward"]
    audit = opened(tiny_model(), tiny_model(seed=1))
    loud = rows.assign(kl_forward=0.05, kl_reverse=0.05)
    quiet = rows.assign(kl_forward=1e-9, kl_reverse=1e-9)
    result, table = drift.measure_drift(rows, rows, quiet, audit)
    assert table.loc[table["outlier"], "kl_forward"].tolist() == [0.5, 0.02, 0.5, 0.02]
    assert (result.forward.outliers, result.position) == (2, "above")
    result, table = drift.measure_drift(rows, rows, loud, audit)
    assert table.loc[table["outlier"], "kl_forward"].tolist() == [0.5, 0.5]
    assert (result.forward.outlier_threshold, result.position) == (0.05, "unclear"), (
        "one step beyond all noise"
    )
    calm = rows.assign(kl_forward=0.01, kl_reverse=0.01)
    assert drift.measure_drift(calm, calm, loud, audit)[0].position == "within"
