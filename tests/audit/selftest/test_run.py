"""The command on invented audits: what is written, found again, refused."""

from __future__ import annotations

import json
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
from typer.testing import CliRunner

from audit.calibration import load_thresholds
from audit.cli import app
from audit.errors import AuditError, UsageError
from audit.evidence.files import write_json
from audit.evidence.verify import verify_run
from audit.organisms.kinds import kinds
from audit.progress import Silent
from audit.selftest import runner
from audit.selftest.cell import Found
from audit.selftest.config import SelftestConfig
from audit.selftest.plan import Cell, cells_of
from audit.selftest.rows import read_rows
from audit.selftest.run import run_selftest

MakeFound = Callable[..., Found]
SHOWN = {"INDUCED": "UNCHANGED", "INCONCLUSIVE": "MASKED", "CONTESTED": "MASKED"}
"""Invented evidence there is none of: what stands for it."""


@pytest.fixture
def audits(monkeypatch: pytest.MonkeyPatch, make_found: MakeFound) -> list[str]:
    """No organism is made: each cell finds what its construction proves, as far as rows for it exist."""
    done: list[str] = []

    def run_cell(cell: Cell, organisms: Path, scratch: Path, target: Path, *, keep: bool) -> Found:
        expected = kinds()[cell.kind].verdict
        base = f"{cell.shape.architecture}-{cell.seed}"
        found = make_found(
            SHOWN.get(expected, expected), base, expected=expected, cell=cell.name, role=cell.role,
            kind=cell.kind, architecture=cell.shape.architecture,
        )  # fmt: skip
        write_json(target, found.model_dump(mode="json"))
        done.append(cell.name)
        return found

    monkeypatch.setattr(runner, "run_cell", run_cell)
    return done


def config(out: Path, **changes: Any) -> SelftestConfig:
    return SelftestConfig(**{"workers": 1, "out": str(out), "organisms": str(out / "organisms"), **changes})


def test_a_run_holds_record_evidence_and_figure(audits: list[str], tmp_path: Path) -> None:
    run = run_selftest(config(tmp_path / "run", kind=("neurons", "scratch", "never")), Silent())
    result = run.result("selftest")
    assert (result.n, result.decided, result.fitted_bases) == (3, 3, 0)
    assert result.accuracy_decided is not None
    assert result.accuracy_decided.value == 1
    assert result.thresholds == load_thresholds().numbers, "the quick selftest fits nothing"
    stage = run.stage_path("selftest")
    assert {"record.png", "record.svg", "ladder.png", "evidence.json", "thresholds.json"} <= {
        p.name for p in stage.iterdir()
    }
    rows = read_rows(stage / "evidence.json")
    assert [row.cell for row in rows.organisms] == audits
    assert "--kind neurons --kind scratch --kind never" in rows.command
    assert list(run.table("selftest", "organisms")["verdict"]) == ["MASKED", "ERASED", "LATENT"]
    assert verify_run(run).passed
    said = {claim.id: claim.statement for claim in run.claims().claims}
    assert "100.0%" in said["selftest/accuracy_decided"]


def test_a_full_run_fits_on_its_own_bases_and_says_so(audits: list[str], tmp_path: Path) -> None:
    run = run_selftest(config(tmp_path / "run", full=True, fit_bases=2, test_bases=3), Silent())
    result, table = run.result("selftest"), run.table("selftest", "organisms")
    assert (result.bases, result.fitted_bases) == (3, 2)
    fitted = load_thresholds(run.stage_path("selftest") / "thresholds.json")
    assert fitted.fitted
    assert fitted.record == result
    assert fitted.calibration == result.record != ""
    assert result.command == "audit selftest --full --seed 0 --fit-bases 2 --test-bases 3"
    assert fitted.certainty is not None
    assert fitted.range is not None
    assert set(fitted.range.architectures) == {"llama"}, "as the invented evidence says"
    assert set(table.groupby("role")["base"].nunique()) == {2, 3}


def test_rows_of_an_earlier_selftest_are_judged_again_without_an_audit(
    audits: list[str], tmp_path: Path
) -> None:
    first = run_selftest(config(tmp_path / "run", full=True, fit_bases=2, test_bases=3), Silent())
    done, rows = len(audits), first.stage_path("selftest") / "evidence.json"
    again = run_selftest(config(tmp_path / "again", evidence=str(rows)), Silent())
    assert len(audits) == done
    assert again.result("selftest") == first.result("selftest")
    assert verify_run(again).passed
    with pytest.raises(UsageError, match="those of the file") as caught:
        config(tmp_path / "other", evidence=str(rows), full=True, kind=("rl",))
    assert "--full, --kind" in str(caught.value.where)


@pytest.mark.parametrize(
    ("text", "said"), [("[]", "no rows"), ('{"command": "", "organisms": []}', "no org")]
)
def test_a_file_without_rows_is_refused(text: str, said: str, tmp_path: Path) -> None:
    (tmp_path / "e.json").write_text(text)
    with pytest.raises(UsageError, match=said):
        run_selftest(config(tmp_path / "run", evidence=str(tmp_path / "e.json")), Silent())
    assert not (tmp_path / "run").exists()


def test_a_killed_run_goes_on_and_a_damaged_part_is_made_again(
    audits: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked = config(tmp_path / "run", kind=("neurons", "scratch", "never"))
    working = runner.run_cell

    def killed(cell: Cell, *rest: Any, **named: Any) -> Found:
        if cell.kind == "never":
            raise KeyboardInterrupt
        return working(cell, *rest, **named)

    monkeypatch.setattr(runner, "run_cell", killed)
    with pytest.raises(KeyboardInterrupt):
        run_selftest(asked, Silent())
    assert len(audits) == 2
    first = cells_of(asked)[0]
    parts = next((tmp_path / "run" / "stages" / "selftest").glob(".parts-*"))
    runner.path_of(first, parts).write_text("{")
    monkeypatch.setattr(runner, "run_cell", working)
    result = run_selftest(asked, Silent()).result("selftest")
    assert audits[2:] == [first.name, cells_of(asked)[2].name]
    assert result.n == 3
    assert not parts.exists()
    run_selftest(asked, Silent())
    assert len(audits) == 4, "a finished run audits nothing again"


def test_workers_share_the_organisms(
    audits: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The pool is of threads here, where the invented audits can be seen."""
    monkeypatch.setattr(runner, "ProcessPoolExecutor", lambda n, *_, **__: ThreadPoolExecutor(n))
    cells = cells_of(SelftestConfig())
    found = runner.run_cells(cells, tmp_path, tmp_path, workers=3)
    assert [one.cell for one in found] == [cell.name for cell in cells]
    assert sorted(audits) == sorted(cell.name for cell in cells)


def test_a_failed_audit_names_its_organism(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def fails(*_: Any, **__: Any) -> Found:
        raise AuditError("The disk is full.", where="/somewhere", fix="make room")

    monkeypatch.setattr(runner, "run_cell", fails)
    cell = cells_of(SelftestConfig(kind=("rl",)))[0]
    with pytest.raises(AuditError, match="disk is full") as caught:
        runner.run_cells([cell], tmp_path, tmp_path, workers=1)
    assert cell.name in str(caught.value.where)


def test_a_failure_stops_no_other_audit(
    audits: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    cells = cells_of(SelftestConfig())
    working = runner.run_cell

    def fails_once(cell: Cell, *rest: Any, **named: Any) -> Found:
        if cell == cells[1]:
            raise AuditError("The disk is full.", where="/somewhere", fix="make room")
        return working(cell, *rest, **named)

    monkeypatch.setattr(runner, "ProcessPoolExecutor", lambda n, *_, **__: ThreadPoolExecutor(n))
    monkeypatch.setattr(runner, "run_cell", fails_once)
    with pytest.raises(AuditError, match="disk is full") as caught:
        runner.run_cells(cells, tmp_path, tmp_path, workers=2)
    assert cells[1].name in str(caught.value.where)
    assert sorted(audits) == sorted(cell.name for cell in cells if cell != cells[1])


def test_a_killed_worker_is_told_plainly(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def killed(*_: Any) -> Found:
        raise BrokenProcessPool

    monkeypatch.setattr(runner, "ProcessPoolExecutor", lambda n, *_, **__: ThreadPoolExecutor(n))
    monkeypatch.setattr(runner, "_one", killed)
    with pytest.raises(UsageError, match="fewer --workers"):
        runner.run_cells(cells_of(SelftestConfig()), tmp_path, tmp_path, workers=2)


class TestCommand:
    def test_json_has_the_record_at_its_top(self, audits: list[str], tmp_path: Path) -> None:
        arguments = ["selftest", "--json", "--workers", "1", "--out", str(tmp_path / "run")]
        done = CliRunner().invoke(app, [*arguments, "--organisms", str(tmp_path)])
        assert done.exit_code == 0, done.output
        found = json.loads(done.stdout)
        assert {"n", "accuracy_decided", "inconclusive", "false_masked", "false_erased", "matrix"} <= set(
            found
        )
        assert found["matrix"]["MASKED"] == {"MASKED": 5}

    def test_the_summary_fits_eighty_columns(self, audits: list[str], tmp_path: Path) -> None:
        arguments = [
            "selftest",
            "--workers",
            "1",
            "--out",
            str(tmp_path / "run"),
            "--organisms",
            str(tmp_path),
        ]
        done = CliRunner().invoke(app, arguments)
        assert done.exit_code == 0, done.output
        assert "worst error" in done.stdout
        assert max(map(len, done.stdout.splitlines()[:-2])) <= 80


def test_the_table_says_which_rows_count_nowhere(
    audits: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, make_found: MakeFound
) -> None:
    valid = runner.run_cell

    def one_fails(cell: Cell, organisms: Path, scratch: Path, target: Path, *, keep: bool) -> Found:
        found = valid(cell, organisms, scratch, target, keep=keep)
        if cell.kind != "rl":
            return found
        found = found.model_copy(update={"valid": False, "why_invalid": "the behaviour stayed"})
        write_json(target, found.model_dump(mode="json"))
        return found

    monkeypatch.setattr(runner, "run_cell", one_fails)
    run = run_selftest(config(tmp_path / "run", kind=("neurons", "rl")), Silent())
    table: pd.DataFrame = run.table("selftest", "organisms")
    assert list(table["valid"]) == [True, False]
    assert run.result("selftest").n == 1
    assert "the behaviour stayed" in run.result("selftest").invalid[0]
