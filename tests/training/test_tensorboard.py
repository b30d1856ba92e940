from __future__ import annotations

import builtins
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

from training.errors import TrainingError
from training.records import ChannelReward, StepRecord
from training.tensorboard import logged, scalars


def record(step: int) -> StepRecord:
    return StepRecord(
        step=step, channels=(ChannelReward("total", 0.5 + step, 0.1),), dead_groups=0.25, sampled_groups=4,
        live_groups=3, exact_kl=0.01, loss=-0.2, gradient_norm=1.5, learning_rate=1e-3,
        diagnostics={"clipped": 0.125}, tokens={},
    )  # fmt: skip


class Writer:
    """What TensorBoard's writer is to us."""

    made: list[Writer] = []  # noqa: RUF012 - the test reads it

    def __init__(self, folder: str) -> None:
        self.folder, self.seen, self.closed = folder, list[tuple[str, float, int]](), False
        self.made.append(self)

    def add_scalar(self, name: str, value: float, step: int) -> None:
        self.seen.append((name, value, step))

    def close(self) -> None:
        self.closed = True


def install(monkeypatch: pytest.MonkeyPatch, *names: str) -> None:
    original = builtins.__import__

    def find(name: str, *rest: Any, **more: Any) -> Any:
        if name not in ("torch.utils.tensorboard", "tensorboardX"):
            return original(name, *rest, **more)
        if name not in names:
            raise ImportError(name)
        module: Any = ModuleType(name)
        module.SummaryWriter = Writer
        return module

    monkeypatch.setattr(builtins, "__import__", find)
    Writer.made.clear()


@pytest.mark.parametrize("name", ["torch.utils.tensorboard", "tensorboardX"])
def test_every_number_of_a_step_is_shown(name: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    install(monkeypatch, name)
    passed = list(logged(iter([record(0), record(1)]), tmp_path / "board"))
    assert [r.step for r in passed] == [0, 1]
    (writer,) = Writer.made
    assert writer.closed
    assert writer.folder == str(tmp_path / "board")
    assert ("reward/total", 1.5, 1) in writer.seen
    assert ("method/clipped", 0.125, 0) in writer.seen
    assert {name for name, _, step in writer.seen if step == 0} == set(scalars(record(0)))


def test_without_tensorboard_it_says_how_to_get_it(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    install(monkeypatch)
    with pytest.raises(TrainingError, match="not installed") as caught:
        next(logged(iter([record(0)]), tmp_path))
    assert "pip install" in caught.value.fix


def test_a_run_that_stops_closes_the_file(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    install(monkeypatch, "tensorboardX")
    steps = logged(iter([record(0), record(1)]), tmp_path)
    next(steps)
    steps.close()  # type: ignore[attr-defined]  # it is a generator
    assert Writer.made[0].closed
