"""One training loop for every dictionary; a killed run goes on to the bit.

With a process group (torchrun) the processes train one dictionary together: see ranks.py.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from sae.dictionaries import checkpoint as checkpoints
from sae.dictionaries.coder import Coder
from sae.dictionaries.config import DictionaryConfig
from sae.dictionaries.health import AnyDictionary, TrainedDictionary, health_of
from sae.dictionaries.objective import OBJECTIVES, Outcome, Pressure
from sae.dictionaries.paired import Crosscoder, DifferenceSAE
from sae.dictionaries.ranks import Pass, parallel, ranks, unsynchronised
from sae.dictionaries.shared import SharedSAE
from sae.dictionaries.stream import START, Batches, MakeStream
from sae.errors import DictionaryError

READS: dict[str, Callable[[Tensor], Tensor]] = {
    "crosscoder": Crosscoder.read,
    "difference": DifferenceSAE.read,
    "mixed": lambda x_NMD: x_NMD.flatten(0, 1)[:, None],
    "base": lambda x_NMD: x_NMD[:, :1],
    "tuned": lambda x_NMD: x_NMD[:, 1:],
}
"""Kind of a dictionary, or what a shared one reads, to the streams that it is trained on."""
LOOK = 16
"""Steps between looks at which latents are dead and whether the loss is finite: each waits for the device."""
THRESHOLD_WINDOW = 0.05
"""Share of the steps that the inference threshold is a running mean over."""
ROOM = 128
"""Codes of an activation that kernels on a device have room for, at least."""


def train_dictionary(
    make_stream: MakeStream,
    config: DictionaryConfig,
    *,
    held_out: Callable[[], Iterator[Tensor]] | None = None,
    checkpoint: Path | None = None,
    progress: Callable[[int], object] = lambda done: None,
) -> TrainedDictionary:
    """Trains a crosscoder, a difference SAE, or a single-model SAE for both models.

    Args:
        make_stream: epoch -> stream of x_NMD pieces [n, 2, D] of any n, shuffled; the same epoch must give
            the same stream, in every process. Epochs are asked for as long as the steps last.
        config: see `DictionaryConfig`.
        held_out: makes a stream of tokens that are not trained on, for the health; without it the health is
            that on the first epoch, and says so.
        checkpoint: a safetensors file to write to and to go on from; the caller removes it. The first process
            writes it, all read it.
        progress: called with the number of steps just done.

    Raises:
        DictionaryError: no activations, numbers that are not finite, or a checkpoint of another training.
    """
    training = Training(make_stream, config, checkpoint)
    progress(training.step)
    while training.step < config.steps:
        training.advance()
        progress(1)
    dictionary = training.dictionary()
    tokens = held_out() if held_out else make_stream(0)
    health = health_of(dictionary, tokens, held_out=held_out is not None)
    return TrainedDictionary(dictionary, health)


class Training:
    """A training under way: weights, optimiser, counters, and the place in the stream."""

    def __init__(self, make_stream: MakeStream, config: DictionaryConfig, path: Path | None) -> None:
        self.config, self.path, self.step, self.ranks = config, path, 0, ranks()
        self.read = READS[config.reads if config.kind == "shared" else config.kind]
        self._check_share()
        found = checkpoints.read(path, self._identity()) if path else None
        start = found.position if found else START
        self.batches = Batches(make_stream, config.batch_size // config.sides, start)
        first = self._streams(self.batches.peek(1 if found else config.calibration))
        self.coder = Coder(config, *first.shape[1:]).to(config.device)
        self.objective = parallel(Pass(self.coder, OBJECTIVES[config.activation]), self.ranks)
        self.adam = torch.optim.Adam(self.coder.parameters(), lr=config.lr, fused=True)
        self.unfired_F = torch.zeros(config.latents, device=config.device)
        self.cut = torch.zeros((), device=config.device)
        self.room = max(ROOM, 4 * self._k_start())
        self.dead: Tensor | None = None
        if found:
            self._restore(found)
        else:
            self.coder.calibrate(first)
            self.coder.start_thresholds(first, self._k_start())

    def advance(self) -> None:
        """One step, and a checkpoint where one is due."""
        config = self.config
        x = self.coder.normalise(self._streams(next(self.batches)))
        if self.step % LOOK == 0:
            self._look()
        outcome = self._accumulated(self.ranks.share(x, config.accumulate))
        torch.nn.utils.clip_grad_norm_(self.coder.parameters(), config.clip)
        for group in self.adam.param_groups:
            group["lr"] = config.lr * self._rate()
        self.adam.step()
        self.adam.zero_grad()
        self.unfired_F = torch.where(outcome.fired_F, 0, self.unfired_F + len(x))
        self.cut += outcome.cut
        self.coder.learn_threshold(outcome.least, 1 / max(1.0, THRESHOLD_WINDOW * config.steps))
        self.step += 1
        if self.step % LOOK == 0 or self.step == config.steps:
            _check_finite(outcome.loss, self.step)
        due = self.step % config.checkpoint_every == 0 or self.step == config.steps
        if self.path and due and self.ranks.rank == 0:
            checkpoints.write(self.path, self._checkpoint(), self._identity())

    def dictionary(self) -> AnyDictionary:
        """What was learnt, in raw units."""
        config, weights = self.config, self.coder.folded()
        notes = {"training": config.to_dict(), "steps": self.step}
        if config.kind == "shared":
            return SharedSAE(weights, config.k if config.activation == "topk" else None, notes)
        return (Crosscoder if config.kind == "crosscoder" else DifferenceSAE)(weights, notes)

    def _accumulated(self, parts: list[Tensor]) -> Outcome:
        """Gradients of a batch in parts; what they and the other processes found, together."""
        pressure, outcomes = self._pressure(), []
        for number, part in enumerate(parts, 1):
            with unsynchronised(self.objective, number == len(parts)):
                outcome: Outcome = self.objective(part, self.config, pressure)
                _backward(outcome.loss / len(parts))
            outcomes.append(outcome)
        if len(outcomes) == self.ranks.processes == 1:
            return outcomes[0]
        rows = [torch.stack([one.loss.detach(), one.least, one.cut.float()]) for one in outcomes]
        fired = [one.fired_F.float() for one in outcomes]
        sums = self.ranks.summed(torch.cat([sum(rows, rows[0] * 0), sum(fired, fired[0] * 0)]))
        loss, least, cut = sums[:3]
        count = len(parts) * self.ranks.processes
        return Outcome(loss / count, sums[3:] > 0, least / count, cut)

    def _streams(self, x_NMD: Tensor) -> Tensor:
        return self.read(x_NMD.to(self.config.device, torch.float32))

    def _look(self) -> None:
        """Latents that have not fired for long, if any are and are to be trained; and room for more codes."""
        found = (self.unfired_F >= self.config.dead_after).nonzero().flatten()
        self.dead = found if self.config.aux and len(found) else None
        if bool(self.cut):
            self.room = min(2 * self.room, self.config.latents)
            self.cut.zero_()

    def _k_start(self) -> int:
        return min(max(self.config.k_start, self.config.k), self.config.latents)

    def _pressure(self) -> Pressure:
        config, done = self.config, self.step / self.config.steps
        falling = max(0.0, 1 - done / config.k_share) if config.k_share else 0.0
        rising = min(1.0, done / config.l1_share) if config.l1_share else 1.0
        k = config.k + (self._k_start() - config.k) * falling
        return Pressure(k, config.l1 * rising, self.dead, self.room)

    def _rate(self) -> float:
        """Share of the peak learning rate: up, level, down to zero."""
        config, steps = self.config, self.config.steps
        up = (self.step + 1) / max(1.0, config.warm_up * steps)
        down = (steps - self.step) / max(1.0, config.decay * steps)
        return min(1.0, up, down)

    def _identity(self) -> dict[str, Any]:
        """What must be equal to go on: how many parts a batch is cut into, not who computes them or where."""
        parts = self.config.accumulate * self.ranks.processes
        return self.config.to_dict() | {"accumulate": parts, "device": None}

    def _check_share(self) -> None:
        cut = self.ranks.processes * self.config.accumulate * self.config.sides
        if self.config.batch_size % cut:
            raise DictionaryError(
                f"a batch of {self.config.batch_size} cannot be shared by {self.ranks.processes} processes",
                where="batch_size",
                fix=f"use a multiple of {cut}",
            )

    def _checkpoint(self) -> checkpoints.Checkpoint:
        tensors = {f"coder.{name}": tensor for name, tensor in self.coder.state_dict().items()}
        for name, parameter in self.coder.named_parameters():
            for key, value in self.adam.state[parameter].items():
                tensors[f"adam.{key}.{name}"] = value
        tensors |= {"unfired_F": self.unfired_F, "cut": self.cut, "room": torch.tensor(self.room)}
        if self.dead is not None:
            tensors["dead"] = self.dead
        return checkpoints.Checkpoint(self.step, self.batches.position, tensors)

    def _restore(self, found: checkpoints.Checkpoint) -> None:
        self.step, device = found.step, self.config.device
        self.coder.load_state_dict(found.part("coder."))
        for name, parameter in self.coder.named_parameters():
            self.adam.state[parameter] = {
                key: found.tensors[f"adam.{key}.{name}"].to(device)
                for key in ("step", "exp_avg", "exp_avg_sq")
            }
        self.unfired_F, self.cut = (found.tensors[name].to(device) for name in ("unfired_F", "cut"))
        self.room = int(found.tensors["room"])
        dead = found.tensors.get("dead")
        self.dead = dead.to(device) if dead is not None else None


def _backward(loss: Any) -> None:
    loss.backward()  # torch has no types for it


def _check_finite(loss: Tensor, step: int) -> None:
    if not bool(torch.isfinite(loss)):
        raise DictionaryError(
            f"the loss is no finite number at step {step}",
            where="activations or learning rate",
            fix="harvest in float32, or lower the learning rate",
        )
