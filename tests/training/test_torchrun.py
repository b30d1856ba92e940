"""Two processes train as one: torchrun on the CPU, with gloo."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import torch

from training.team import ALONE, make_team

ROOT = Path(__file__).parents[2]


def torchrun(*arguments: str) -> subprocess.CompletedProcess[str]:
    command = [
        sys.executable,
        "-m",
        "torch.distributed.run",
        "--standalone",
        "--nproc-per-node=2",
        *arguments,
    ]
    environment = {**os.environ, "PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1", "CUDA_VISIBLE_DEVICES": ""}
    return subprocess.run(command, env=environment, capture_output=True, text=True, timeout=300, check=False)


@pytest.mark.slow
def test_two_processes_train_as_one(tiny_model: Any, tmp_path: Path) -> None:
    worker = str(Path(__file__).with_name("torchrun_worker.py"))
    done = torchrun(worker, str(tiny_model()), str(tmp_path))
    assert done.returncode == 0, done.stderr[-3000:]
    assert done.stdout.count("in a group at its end: False") == 2, (
        "else C++ may abort the process on its way out"
    )
    found = json.loads((tmp_path / "found.json").read_text())
    assert found["size"] == 2
    # The sum of both processes' gradients is the gradient that one process takes of both their rollouts.
    assert max(found["gap"].values()) < 1e-4
    assert found["apart, straight"] == 0
    assert found["apart, resumed again"] == 0
    assert found["resume"] is True
    assert found["losses, straight"] == found["losses, resumed again"]
    assert found["steps"] == 4
    assert found["rollouts, straight"] == 32, "records hold the rollouts of both"


@pytest.mark.slow
@pytest.mark.parametrize(("backend", "staleness"), [("loop", 1), ("trl", 0)])
def test_the_command_runs_under_torchrun(
    backend: str, staleness: int, tiny_model: Any, tiny_suite: Any, tmp_path: Path
) -> None:
    from audit.evidence.run import open_run
    from audit.evidence.verify import verify_run

    code = tmp_path / "run.py"
    code.write_text(
        "import sys\n"
        "from audit.progress import Silent\n"
        "from audit.train.run import run_train\n"
        "from audit.train.config import TrainMethodConfig\n"
        "base, suite, out, backend, staleness = sys.argv[1:]\n"
        "small = dict(steps=3, prompts_per_step=2, group_size=16, new_tokens=24, max_draws=6)\n"
        "kl = dict(kl_sequences=2, kl_tokens=4, kl_batch=2, save_every=1, device='cpu')\n"
        "named = dict(base=base, objective='dppo_tv', suite=suite, out=out)\n"
        "lag = dict(backend=backend, staleness=int(staleness))\n"
        "run_train(TrainMethodConfig(**named, **small, **kl, **lag), Silent())\n"
    )
    arguments = [
        str(code),
        str(tiny_model()),
        str(tiny_suite()),
        str(tmp_path / "run"),
        backend,
        str(staleness),
    ]
    for _ in range(2):  # the second time there is nothing left to do, and no process waits for another
        done = torchrun(*arguments)
        assert done.returncode == 0, done.stderr[-3000:]
    run = open_run(tmp_path / "run")
    assert verify_run(run).problems == ()
    assert run.result("train").steps == 3
    tokens = run.table("train", "tokens")
    assert tokens.query("step == 0")["rollout"].nunique() == 32, "those of both processes"


def test_alone_nothing_is_sent() -> None:
    team = make_team()
    assert team is ALONE
    assert team.totals(1.0, 2.0) == (1.0, 2.0)
    assert team.gather("mine") == ["mine"]
    assert team.tell("said") == "said"
    parameter = torch.nn.Parameter(torch.ones(2))
    parameter.grad = torch.ones(2)
    team.add_gradients([parameter])
    assert parameter.grad.tolist() == [1, 1]


def test_prompts_that_processes_cannot_share_are_refused(tiny: Any, config: Any, rewards: Any) -> None:
    from training.errors import TrainingError
    from training.loop import train
    from training.team import Team
    from training.types import Prompt

    team = Team()
    team.size = 2
    policy = tiny()
    prompts = [Prompt("a", "the nurse")]
    with pytest.raises(TrainingError, match="2 processes cannot share 3 prompts") as caught:
        next(
            train(
                policy.model,
                policy.tokenizer,
                prompts,
                rewards["space"],
                config(prompts_per_step=3),
                team=team,
            )
        )
    assert caught.value.where == "prompts_per_step"
