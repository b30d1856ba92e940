"""One training loop for every dictionary that is trained here; a killed run goes on to the bit."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from sae.dictionaries import checkpoint as checkpoints
from sae.dictionaries.coder import Coder
from sae.dictionaries.config import DictionaryConfig, SharedConfig
from sae.dictionaries.health import TrainedDictionary, health_of
from sae.dictionaries.objective import OBJECTIVES, Pressure
from sae.dictionaries.paired import Crosscoder, DifferenceSAE, PairedCoder
from sae.dictionaries.stream import START, Batches, MakeStream
from sae.errors import DictionaryError

KINDS: dict[str, type[PairedCoder]] = {"crosscoder": Crosscoder, "difference": DifferenceSAE}
LOOK = 16
"""Steps between looks at which latents are dead and whether the loss is finite: each waits for the device."""
THRESHOLD_WINDOW = 0.05
"""Share of the steps that the inference threshold is a running mean over."""


def train_dictionary(
    make_stream: MakeStream,
    config: DictionaryConfig | SharedConfig,
    *,
    held_out: Callable[[], Iterator[Tensor]] | None = None,
    checkpoint: Path | None = None,
    progress: Callable[[int], object] = lambda done: None,
) -> TrainedDictionary:
    """Trains a crosscoder, a difference SAE, or through SAELens a single-model SAE for both models.

    Args:
        make_stream: epoch -> stream of x_NMD pieces [n, 2, D] of any n, shuffled; the same epoch must give
            the same stream. Epochs are asked for as long as the steps last.
        config: see `DictionaryConfig`; a `SharedConfig` asks for a single-model SAE.
        held_out: makes a stream of tokens that are not trained on, for the health; without it the health is
            that on the first epoch, and says so.
        checkpoint: a safetensors file to write to and to go on from; the caller removes it. SAELens's trainer
            keeps none (it would be a pickle), so a killed `SharedConfig` training starts again.
        progress: called with the number of steps just done.

    Raises:
        DictionaryError: no activations, numbers that are not finite, or a checkpoint of another training.
    """
    if isinstance(config, SharedConfig):
        from sae.dictionaries.saelens import train_shared

        return train_shared(make_stream, config, held_out=held_out, progress=progress)
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
        self.config, self.path, self.step = config, path, 0
        self.kind = KINDS[config.kind]
        found = checkpoints.read(path, config.to_dict()) if path else None
        self.batches = Batches(make_stream, config.batch_size, found.position if found else START)
        first = self._streams(self.batches.peek(1 if found else config.calibration))
        self.coder = Coder(config, *first.shape[1:]).to(config.device)
        self.adam = torch.optim.Adam(self.coder.parameters(), lr=config.lr, fused=True)
        self.unfired_F = torch.zeros(config.latents, device=config.device)
        self.dead: Tensor | None = None
        if found:
            self._restore(found)
        else:
            self.coder.calibrate(first)

    def advance(self) -> None:
        """One step, and a checkpoint where one is due."""
        config = self.config
        x = self.coder.normalise(self._streams(next(self.batches)))
        if self.step % LOOK == 0:
            self.dead = self._dead()
        outcome = OBJECTIVES[config.activation](self.coder, x, config, self._pressure())
        _backward(outcome.loss)
        torch.nn.utils.clip_grad_norm_(self.coder.parameters(), config.clip)
        for group in self.adam.param_groups:
            group["lr"] = config.lr * self._rate()
        self.adam.step()
        self.adam.zero_grad()
        self.unfired_F = torch.where(outcome.fired_F, 0, self.unfired_F + len(x))
        self.coder.learn_threshold(outcome.least, 1 / max(1.0, THRESHOLD_WINDOW * config.steps))
        self.step += 1
        if self.step % LOOK == 0 or self.step == config.steps:
            _check_finite(outcome.loss, self.step)
        if self.path and (self.step % config.checkpoint_every == 0 or self.step == config.steps):
            checkpoints.write(self.path, self._checkpoint(), config.to_dict())

    def dictionary(self) -> PairedCoder:
        """What was learnt, in raw units."""
        return self.kind(self.coder.folded(), {"training": self.config.to_dict(), "steps": self.step})

    def _streams(self, x_NMD: Tensor) -> Tensor:
        return self.kind.read(x_NMD.to(self.config.device, torch.float32))

    def _dead(self) -> Tensor | None:
        """Latents that have not fired for long; none if all have, or if they are not to be trained."""
        found = (self.unfired_F >= self.config.dead_after).nonzero().flatten()
        return found if self.config.aux and len(found) else None

    def _pressure(self) -> Pressure:
        config, done = self.config, self.step / self.config.steps
        start = min(max(config.k_start, config.k), config.latents)
        falling = max(0.0, 1 - done / config.k_share) if config.k_share else 0.0
        rising = min(1.0, done / config.l1_share) if config.l1_share else 1.0
        return Pressure(config.k + (start - config.k) * falling, config.l1 * rising, self.dead)

    def _rate(self) -> float:
        """Share of the peak learning rate: up, level, down to zero."""
        config, steps = self.config, self.config.steps
        up = (self.step + 1) / max(1.0, config.warm_up * steps)
        down = (steps - self.step) / max(1.0, config.decay * steps)
        return min(1.0, up, down)

    def _checkpoint(self) -> checkpoints.Checkpoint:
        tensors = {f"coder.{name}": tensor for name, tensor in self.coder.state_dict().items()}
        for name, parameter in self.coder.named_parameters():
            for key, value in self.adam.state[parameter].items():
                tensors[f"adam.{key}.{name}"] = value
        tensors["unfired_F"] = self.unfired_F
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
        self.unfired_F = found.tensors["unfired_F"].to(device)
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
