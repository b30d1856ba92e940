from __future__ import annotations

import json
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, get_args

import pytest

from training.claims import __main__ as command
from training.claims import bench as benches
from training.claims import ledger
from training.claims.bench import (
    Bench,
    contrasts,
    contrasts_at_equal_rates,
    efficiency,
    elsewhere,
    paired,
    superior,
)
from training.claims.tokens import kept, weight
from training.claims.types import Claim, Verdict, decide
from training.claims.variance import relative_variances
from training.compare.config import ComparisonConfig
from training.compare.controlled import Trace
from training.registry import OBJECTIVES

SMALL = ComparisonConfig(seeds=2, batches=2, staleness=2, task="bandit", group_size=8)


@pytest.fixture(scope="module")
def small(tmp_path_factory: pytest.TempPathFactory) -> Bench:
    return Bench(tmp_path_factory.mktemp("claims"), SMALL)


@pytest.mark.parametrize("claim", ledger.all_claims(), ids=lambda claim: f"{claim.method}: {claim.text[:40]}")
def test_every_claim_runs_and_comes_to_a_verdict(claim: Claim, small: Bench) -> None:
    finding = claim.test(small)
    assert finding.verdict in get_args(Verdict)
    assert finding.said
    assert finding.numbers or finding.verdict == "not testable here"


def test_every_method_has_a_claim_and_every_claim_a_method() -> None:
    assert {claim.method for claim in ledger.all_claims()} == set(OBJECTIVES.names())


@dataclass(frozen=True)
class Planted:
    """A bench whose runs earn what they are told to."""

    earned: dict[str, dict[str, tuple[float, ...]]]
    config: ComparisonConfig = field(default_factory=ComparisonConfig)

    def runs(self, method: str) -> dict[str, dict[float, list[Trace]]]:
        return {
            task: {
                0.1: [Trace(task, method, 0.1, s, reward=[0.0, v]) for s, v in enumerate(values)],
                0.2: [Trace(task, method, 0.2, s, reward=[0.0, v / 2]) for s, v in enumerate(values)],
            }
            for task, values in self.earned[method].items()
        }


LOW, HIGH, NOISY = (0.1, 0.11, 0.1, 0.12), (0.5, 0.51, 0.52, 0.5), (0.9, 0.1, 0.1, 0.5)


@pytest.mark.parametrize(
    ("first", "second", "verdict"),
    [({"x": HIGH}, {"x": LOW}, "supported"), ({"x": LOW}, {"x": HIGH}, "not supported"),
     ({"x": HIGH}, {"x": NOISY}, "not supported"), ({"x": HIGH, "y": LOW}, {"x": LOW, "y": LOW}, "supported"),
     ({"x": HIGH, "y": LOW}, {"x": LOW, "y": HIGH}, "not supported")],
)  # fmt: skip
def test_superiority_follows_from_the_runs(first: Any, second: Any, verdict: str) -> None:
    bench: Any = Planted({"a": first, "b": second})
    assert superior(bench, "a", "b", efficiency, "reward").verdict == verdict
    turned = superior(bench, "b", "a", efficiency, "reward", less=True)
    assert turned.verdict == verdict


def test_each_method_is_taken_at_its_own_best_rate() -> None:
    bench: Any = Planted({"a": {"x": HIGH}, "b": {"x": LOW}})
    (found,) = contrasts(bench, "a", "b", efficiency)
    assert (found.first_rate, found.second_rate) == (0.1, 0.1)
    assert found.difference.value == pytest.approx(0.4, abs=0.01)
    equal = contrasts_at_equal_rates(bench, "a", "b", efficiency)
    assert [c.task for c in equal] == ["x 0.1", "x 0.2"]
    assert equal[1].difference.value == pytest.approx(0.2, abs=0.01)


@pytest.mark.parametrize("name", ["dppo_tv", "dppo_kl", "drpo", "cppo", "gspo", "spo", "dapo", "reinforce"])
def test_no_verdict_is_written_down(name: str, small: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    """A claim of superiority comes out either way when the contrast it rests on does."""
    claims = [c for c in ledger.all_claims() if c.method == name and "exact reward" in c.how]
    assert claims
    for sign in (1.0, -1.0):
        interval = benches.Interval(sign, sign - 0.1, sign + 0.1)
        planted = [benches.Contrast("x", 0.1, 0.1, 1.0, 1.0, interval)]
        for way in ("contrasts", "contrasts_at_equal_rates"):
            monkeypatch.setattr(benches, way, lambda *_, planted=planted: planted)
        verdicts = {claim.test(small).verdict for claim in claims}
        assert verdicts == {"supported" if sign > 0 else "not supported"}


def test_geometry_of_single_tokens() -> None:
    assert kept("grpo", 0.45, 0.53, 1.0, clip=0.2)
    assert not kept("grpo", 0.45, 0.55, 1.0, clip=0.2)
    assert kept("dppo_tv", 0.45, 0.55, 1.0)
    assert weight("drpo", 0.45, 0.60, 1.0, delta=0.15) == pytest.approx(0.0, abs=1e-9)
    assert weight("drpo", 0.45, 0.55, 1.0, delta=0.15) == pytest.approx(0.55 / 0.45 / 3)
    assert decide(True) != decide(False)


def test_a_method_has_its_own_variance(small: Bench) -> None:
    same = relative_variances(small, "grpo", "grpo")
    assert (same.value, same.low, same.high) == (0.0, 0.0, 0.0)
    assert same.states == SMALL.seeds * SMALL.batches
    assert relative_variances(small, "drpo", "grpo").value != 0


def test_paired_interval_by_hand() -> None:
    found = paired([1.0, 2.0, 3.0])
    assert found.value == 2.0
    assert found.high - found.value == pytest.approx(4.302653 / 3**0.5, rel=1e-5)
    assert paired([1.0]).high == float("inf")


def test_a_claim_on_a_task_that_is_there_must_be_measured(small: Bench) -> None:
    assert elsewhere(small, "gsm8k", "a model").verdict == "not testable here"
    with pytest.raises(NotImplementedError):
        elsewhere(small, "bandit", "a model")


def test_the_command_writes_page_and_data(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    claims = [claim for claim in ledger.all_claims() if claim.method in ("grpo", "ppo")][:2]
    monkeypatch.setattr(ledger, "all_claims", lambda: claims)
    monkeypatch.setattr(command, "DATA", tmp_path / "claims.json")
    monkeypatch.setattr(command, "PAGE", tmp_path / "claims.md")
    command.main(["--small", "--write", "--runs", str(tmp_path / "runs")])
    rows = json.loads((tmp_path / "claims.json").read_text())
    assert [row["method"] for row in rows] == ["grpo", "ppo"]
    page = (tmp_path / "claims.md").read_text()
    assert page == capsys.readouterr().out
    assert "| grpo | article |" in page
    assert "**not supported**" in page


def test_the_shipped_page_is_made_from_the_shipped_data() -> None:
    rows = json.loads(command.DATA.read_text())
    assert command.PAGE.read_text() == ledger.page(rows, "python -m training.claims")
    assert [(row["method"], row["claim"]) for row in rows] == [
        (claim.method, claim.text) for claim in ledger.all_claims()
    ]


def test_progress_is_told(small: Bench) -> None:
    done: list[int] = []
    ledger.check(small, ledger.all_claims()[:2], done.append)
    assert done == [1, 1]
