"""Two processes, as torchrun starts them, against one that does the work of both."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file

from sae.dictionaries import DictionaryConfig
from sae.dictionaries.ranks import Ranks
from sae.dictionaries.train import Training
from sae.errors import DictionaryError

ONE = """
import os
import sys
from pathlib import Path

import torch
from torch import distributed

from sae.dictionaries import DictionaryConfig, save, train_dictionary

torch.set_num_threads(1)
x = torch.randn(600, 2, 12, generator=torch.Generator().manual_seed(0))
folder, steps, accumulate = Path(sys.argv[1]), int(sys.argv[2]), int(sys.argv[3])
if "RANK" in os.environ:
    distributed.init_process_group("gloo")
config = DictionaryConfig(
    latents=40, k=4, k_start=8, steps=20, batch_size=64, accumulate=accumulate,
    dead_after=200, checkpoint_every=5, shared=6,
)
done = []

def kill(count):
    done.append(count)
    if sum(done) == steps:
        raise SystemExit

found = train_dictionary(lambda epoch: iter([x]), config, checkpoint=folder / "training", progress=kill)
if not distributed.is_initialized() or distributed.get_rank() == 0:
    save(found.dictionary, folder)
if distributed.is_initialized():
    distributed.destroy_process_group()
"""


def run(script: Path, folder: Path, *, processes: int, steps: int = 99) -> None:
    starter = [sys.executable]
    if processes > 1:
        starter += ["-m", "torch.distributed.run", "--standalone", f"--nproc-per-node={processes}"]
    told = subprocess.run(
        [*starter, str(script), str(folder), str(steps), str(2 // processes)],
        capture_output=True,
        text=True,
        check=False,
        env={**os.environ, "OMP_NUM_THREADS": "1"},
    )
    assert told.returncode == 0, told.stderr[-3000:]


@pytest.mark.slow
def test_two_processes_train_what_one_does_with_two_parts(tmp_path: Path) -> None:
    script = tmp_path / "train.py"
    script.write_text(ONE)
    one, two = tmp_path / "one", tmp_path / "two"
    run(script, one, processes=1)
    run(script, two, processes=2, steps=13)
    assert not (two / "cfg.json").exists(), "it was stopped at step 13"
    run(script, two, processes=2)
    alone, together = (load_file(folder / "sae_weights.safetensors") for folder in (one, two))
    for name, tensor in alone.items():
        torch.testing.assert_close(together[name], tensor, rtol=1e-4, atol=1e-4)


def test_a_batch_is_dealt_to_processes_and_parts() -> None:
    x = torch.arange(12)
    dealt = [Ranks(rank, 2).share(x, 3) for rank in range(2)]
    assert [part.tolist() for part in dealt[0]] == [[0, 1], [2, 3], [4, 5]]
    assert [part.tolist() for part in dealt[1]] == [[6, 7], [8, 9], [10, 11]]


def test_a_batch_that_cannot_be_dealt_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sae.dictionaries.train.ranks", lambda: Ranks(0, 3))
    config = DictionaryConfig(latents=8, k=2, batch_size=64)
    with pytest.raises(DictionaryError, match="shared by 3 processes"):
        Training(lambda epoch: iter([torch.randn(99, 2, 4)]), config, None)
