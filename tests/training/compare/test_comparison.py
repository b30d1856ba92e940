from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch

from training.compare import runner
from training.compare.config import ComparisonConfig
from training.compare.controlled import Trace, run_controlled
from training.compare.experience import collect, experiences, half
from training.compare.methods import TASKS, parse_method, parse_methods, parse_tasks
from training.compare.runner import cells_of, compare, digest
from training.compare.summary import bootstrap, fate, last_reward, steps_to, summarise
from training.compare.table import as_json, markdown_table, text_table
from training.envs.bandit import LongTailBandit
from training.envs.exact import list_all
from training.errors import TrainingError

SMALL = ComparisonConfig(methods="grpo,dppo", task="chain", seeds=2, batches=3, staleness=2, group_size=8)
TASK = TASKS["chain"]


def trace(reward: list[float], entropy: list[float] | None = None, **changes: Any) -> Trace:
    found = Trace("chain", "grpo", 0.1, 0, reward, entropy or [2.0] * len(reward))
    found.tv, found.kl, found.believed = [0.1], [0.2], [0.3]
    found.variance, found.signal, found.cut, found.attenuated = [1.0], [4.0], [[0.5, 0.0]], [[0.0, 0.25]]
    found.updates = (len(reward) - 1) * 3
    for name, value in changes.items():
        setattr(found, name, value)
    return found


@pytest.fixture(scope="module")
def compared(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, list[Trace]]:
    folder = tmp_path_factory.mktemp("compared")
    return folder, compare(SMALL, folder)


class TestGuard:
    def test_a_comparison_without_staleness_is_refused_and_explained(self) -> None:
        with pytest.raises(TrainingError, match="one and the same function") as caught:
            parse_methods("ppo,grpo,dppo,drpo,cppo", lag=0)
        assert "ppo, grpo, dppo_tv, drpo, cppo" in caught.value.problem
        assert "staleness" in caught.value.fix
        assert len(parse_methods("ppo,grpo,dppo,drpo,cppo", lag=1)) == 5

    def test_methods_that_differ_on_fresh_rollouts_may_be_compared_on_them(self) -> None:
        assert len(parse_methods("delightful,grpo", lag=0)) == 2

    @pytest.mark.parametrize("name", ["ppo", "dapo", "dppo_kl", "drpo", "cppo", "spo", "cispo", "gspo"])
    def test_what_the_guard_says_is_so(self, name: str) -> None:
        """On fresh rollouts a method and plain policy gradient leave the same trace."""
        config = replace(SMALL, staleness=0, batches=2)
        first, second = (
            run_controlled(TASK, parse_method(method), 0.1, 0, config) for method in (name, "reinforce")
        )
        assert first.reward == pytest.approx(second.reward, abs=1e-6)

    def test_bad_names(self) -> None:
        with pytest.raises(TrainingError, match="no method called 'gropo'") as caught:
            parse_methods("ppo,gropo", 8)
        assert "did you mean 'grpo'" in caught.value.fix
        wrong = {"": "no method", "grpo,grpo": "twice", "drpo:delta=x": "no number", "drpo:d=1": "no setting"}
        for text, problem in wrong.items():
            with pytest.raises(TrainingError, match=problem):
                parse_methods(text, 8)
        for text in ("", "bandits"):
            with pytest.raises(TrainingError, match="task"):
                parse_tasks(text)


@pytest.mark.parametrize(
    "changes",
    [
        {"staleness": -1},
        {"seeds": 0},
        {"groups": 3},
        {"stale": "x"},
        {"learning_rate": (0.0,)},
        {"batches": 1},
    ],
)
def test_settings_that_make_no_sense(changes: dict[str, Any]) -> None:
    with pytest.raises(TrainingError) as caught:
        ComparisonConfig(**changes)
    assert caught.value.where == next(iter(changes))


class TestExperience:
    @pytest.mark.parametrize("stale", ["epochs", "actor"])
    def test_ages_are_what_they_say(self, stale: Any) -> None:
        """The policy is moved by 1 per update: how far the sampler is behind says how old a rollout is."""
        task = LongTailBandit(vocabulary=5, best_rank=2)
        policy, world = task.policy(0), list_all(task)
        config = replace(SMALL, stale=stale)
        stream = experiences(
            task, world, policy, parse_method("grpo").advantage, config, torch.Generator().manual_seed(0)
        )
        ages = []
        for _ in range(7):
            found = next(stream)
            gap = (world.log_probability(policy) - found.sampler)[0]
            assert (gap[0] - gap[1]).item() == pytest.approx(found.age, abs=1e-4)
            ages.append(found.age)
            with torch.no_grad():
                next(iter(policy.parameters()))[0, 0, 0] += 1
        assert ages == ([0, 1, 2, 0, 1, 2, 0] if stale == "epochs" else [0, 1, 2, 2, 2, 2, 2])

    def test_halves_make_the_whole(self) -> None:
        task = TASKS["copy"]
        rollout, advantage = collect(
            task, task.policy(0), parse_method("grpo").advantage, SMALL, torch.Generator().manual_seed(0)
        )
        parts = [half(rollout, second) for second in (False, True)]
        assert torch.equal(torch.cat([part.tokens for part, _ in parts]), rollout.tokens)
        assert torch.equal(torch.cat([advantage[rows] for _, rows in parts]), advantage)
        assert [len(part.prompts.ids) for part, _ in parts] == [2, 2]


class TestRun:
    def test_everything_is_measured(self, compared: tuple[Path, list[Trace]]) -> None:
        for run in compared[1]:
            assert len(run.reward) == len(run.entropy) == SMALL.batches + 1
            assert len(run.tv) == len(run.kl) == len(run.believed) == len(run.variance) == SMALL.batches
            assert len(run.cut[0]) == TASK.sizes.length
            assert all(0 < tv < 1 and kl > 0 for tv, kl in zip(run.tv, run.kl, strict=True))
            # Pinsker: TV <= sqrt(KL / 2); one prompt, so no mean hides a breach.
            assert all(tv**2 <= kl / 2 + 1e-6 for tv, kl in zip(run.tv, run.kl, strict=True))
            assert run.updates == 9

    def test_it_learns(self) -> None:
        run = run_controlled(TASK, parse_method("grpo"), 0.1, 0, replace(SMALL, batches=12, group_size=16))
        assert run.reward[-1] > 3 * run.reward[0]

    def test_the_same_twice(self, compared: tuple[Path, list[Trace]]) -> None:
        again = run_controlled(TASK, parse_method("grpo"), 0.03, 1, SMALL)
        assert again.reward == compared[1][1].reward
        assert again.variance == compared[1][1].variance

    def test_methods_start_alike_and_differ_once_rollouts_are_old(
        self, compared: tuple[Path, list[Trace]]
    ) -> None:
        found = {(t.method, t.learning_rate, t.seed): t for t in compared[1]}
        first, second = found["grpo", 0.1, 0], found["dppo_tv", 0.1, 0]
        assert first.reward[0] == second.reward[0]
        assert first.reward[-1] != second.reward[-1]

    def test_gradient_variance_of_identical_halves_is_zero(self) -> None:
        """A task with one completion only: every rollout is the same and so is every gradient."""
        task = LongTailBandit(vocabulary=3, best_rank=2, exponent=60.0)
        run = run_controlled(task, parse_method("reinforce"), 0.1, 0, SMALL)
        assert run.variance == [0.0] * SMALL.batches


class TestRunner:
    def test_a_killed_comparison_goes_on(self, tmp_path: Path, compared: tuple[Path, list[Trace]]) -> None:
        done: list[int] = []

        def stop(count: int) -> None:
            done.append(count)
            if len(done) == 4:
                raise KeyboardInterrupt

        with pytest.raises(KeyboardInterrupt):
            compare(SMALL, tmp_path, progress=stop)
        kept = {path: path.stat().st_mtime_ns for path in tmp_path.glob("chain.*")}
        assert len(kept) == 3
        resumed: list[int] = []
        traces = compare(SMALL, tmp_path, progress=resumed.append)
        assert resumed[0] == 3
        assert sum(resumed) == len(cells_of(SMALL)) == 8
        assert all(path.stat().st_mtime_ns == when for path, when in kept.items())
        plain = [replace(t, seconds=0) for t in traces]
        assert plain == [replace(t, seconds=0) for t in compared[1]]

    def test_more_seeds_and_methods_use_what_is_there(
        self, compared: tuple[Path, list[Trace]], monkeypatch: pytest.MonkeyPatch
    ) -> None:
        ran: list[Any] = []

        def count(cell: Any, *_: Any) -> None:
            ran.append(cell)
            cell.path(compared[0]).write_text(cells_of(SMALL)[0].path(compared[0]).read_text())

        monkeypatch.setattr(runner, "_run", count)
        compare(replace(SMALL, seeds=3), compared[0])
        assert [cell.seed for cell in ran] == [2] * 4

    def test_other_settings_are_refused(self, compared: tuple[Path, list[Trace]]) -> None:
        with pytest.raises(TrainingError, match="other settings"):
            compare(replace(SMALL, staleness=3), compared[0])

    def test_a_broken_file_and_a_folder_that_cannot_be_are_named(self, tmp_path: Path) -> None:
        (tmp_path / "file").write_text("")
        with pytest.raises(TrainingError, match="cannot be kept"):
            compare(SMALL, tmp_path / "file" / "folder")
        folder = tmp_path / "runs"
        folder.mkdir()
        one = replace(SMALL, methods="grpo", seeds=1, learning_rate=(0.1,))
        cells_of(one)[0].path(folder).write_text("{")
        with pytest.raises(TrainingError, match="cannot be read"):
            compare(one, folder)

    def test_several_workers_are_waited_for(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, compared: tuple[Path, list[Trace]]
    ) -> None:
        """The pool is of threads here: what a process of its own costs is the next test's."""

        def threads(workers: int, *_: object, initializer: Callable[[], None]) -> ThreadPoolExecutor:
            return ThreadPoolExecutor(workers, initializer=initializer)

        monkeypatch.setattr(runner, "ProcessPoolExecutor", threads)
        done: list[int] = []
        found = compare(replace(SMALL, seeds=1, workers=2), tmp_path, progress=done.append)
        assert done == [0, 1, 1, 1, 1]
        assert [t.reward for t in found] == [t.reward for t in compared[1] if t.seed == 0]

    def test_a_worker_that_was_killed_is_told_plainly(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        class Broken(ThreadPoolExecutor):
            def __init__(self, *_: object, **__: object) -> None:
                super().__init__(1)

        def killed(*_: object) -> None:
            raise BrokenProcessPool("A process in the process pool was terminated abruptly")

        monkeypatch.setattr(runner, "ProcessPoolExecutor", Broken)
        monkeypatch.setattr(runner, "_run", killed)
        with pytest.raises(TrainingError, match="fewer --workers"):
            compare(replace(SMALL, workers=2), tmp_path)

    @pytest.mark.slow
    def test_workers_do_not_change_a_number(self, tmp_path: Path, compared: tuple[Path, list[Trace]]) -> None:
        one = replace(SMALL, methods="grpo", seeds=1, workers=2)
        found = compare(one, tmp_path)
        assert [replace(t, seconds=0) for t in found] == [
            replace(t, seconds=0) for t in compared[1] if t.method == "grpo" and t.seed == 0
        ]
        assert digest(one) == digest(replace(one, workers=1)) != digest(SMALL)


class TestSummary:
    def test_interval_holds_the_mean_and_all_resamples_of_two(self) -> None:
        found = bootstrap([0.0, 1.0])
        # The resamples' means are 0, 1/2, 1/2 and 1; percentiles are interpolated between them.
        assert (found.value, found.low, found.high) == pytest.approx((0.5, 0.0375, 0.9625))
        same = bootstrap([0.3] * 7)
        assert same.low == pytest.approx(same.high) == pytest.approx(0.3)

    @pytest.mark.parametrize("draw", range(3))
    def test_interval_covers_a_known_mean(self, draw: int) -> None:
        values = torch.randn(12, generator=torch.Generator().manual_seed(draw)) + 5
        found = bootstrap(values.tolist())
        assert found.low < 5 < found.high
        assert found.high - found.low == pytest.approx(4 / 12**0.5, rel=0.6)

    def test_steps_are_updates_and_none_where_never_reached(self) -> None:
        assert steps_to(trace([0.0, 0.5, 0.95, 0.2]), 0.9) == 6
        assert steps_to(trace([0.0, 0.5]), 0.9) is None

    @pytest.mark.parametrize(
        ("reward", "entropy", "wanted"),
        [([0.1, 0.9, 0.4], [2.0, 1.0, 1.0], "fell"), ([0.1, 0.5, 0.5], [2.0, 1.0, 0.01], "stuck"),
         ([0.1, 0.5, 0.95], [2.0, 1.0, 0.01], None), ([0.1, 0.5, 0.5], [2.0, 1.0, 0.5], None)],
    )  # fmt: skip
    def test_collapse(self, reward: list[float], entropy: list[float], wanted: str | None) -> None:
        assert fate(trace(reward, entropy), 0.9) == wanted

    def test_last_tenth(self) -> None:
        assert last_reward(trace([0.0] * 19 + [0.4, 0.6])) == pytest.approx(0.5)

    def test_a_row_by_hand(self) -> None:
        runs = [trace([0.1, 0.95]), trace([0.1, 0.5], seed=1)]
        (row,) = summarise(runs, {"chain": 0.9})
        assert row.reward.value == pytest.approx(0.725)
        assert (row.reached, row.steps, row.collapsed) == (1, 3.0, 0.0)
        assert row.relative_variance.value == pytest.approx(0.25)
        assert row.believed is not None
        assert row.believed.value == pytest.approx(0.3)
        assert (row.cut, row.attenuated) == ((0.5, 0.0), (0.0, 0.25))


def test_tables_and_data(compared: tuple[Path, list[Trace]], run_json: Callable[[Any], Any]) -> None:
    rows = summarise(compared[1], {"chain": 0.9})
    lines = text_table(rows)
    assert max(map(len, lines)) <= 80
    assert lines[0] == "chain"
    assert sum(line.startswith("grpo") for line in lines) == 2
    assert markdown_table(rows)[0] == "### chain"
    assert len(markdown_table(rows)) == 4 + len(rows)
    data = run_json(as_json(SMALL, rows))
    assert [row["method"] for row in data["rows"]] == ["grpo", "grpo", "dppo_tv", "dppo_tv"]
    assert data["settings"]["staleness"] == 2


@pytest.fixture
def run_json() -> Callable[[Any], Any]:
    import json

    return lambda value: json.loads(json.dumps(value, allow_nan=False))


def test_the_widest_row_fits() -> None:
    runs = [trace([0.1, value], seed=i) for i, value in enumerate((1.0, 0.2))]
    for run in runs:
        run.method, run.attenuated, run.cut, run.learning_rate = "drpo:delta=12.5", [[0.99]], [[0.99]], 0.003
    lines = text_table(summarise(runs, {"chain": 0.9}))
    assert max(map(len, lines)) <= 80
    assert lines[2].endswith("99+99%")
