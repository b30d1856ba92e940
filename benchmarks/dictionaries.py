"""Crosscoder training against two yardsticks on the same activations, in one run.

Ours against (a) a plain dense BatchTopK crosscoder, written out below, and (b) SAELens's TopK trainer on
both streams side by side. Latents, k, batch, optimiser and learning rate schedule are the same, and so are
the batches. They take turns of a few steps, so that a busy machine slows all alike; ratios are medians over
turns.

Run: python benchmarks/dictionaries.py [--tokens 12000] [--layer 15] [--steps 300] [--latents 1024] [--k 32]
[--threads 1] [--clock wall|cpu] [--synthetic]. Activations are those of the embedded pair on the default
corpus of an audit; --synthetic takes sparse mixtures of random directions of the same shape instead.
"""

from __future__ import annotations

import argparse
import statistics
import time
from collections.abc import Callable, Iterator
from typing import Any, NamedTuple

import sae_kernels as sk
import torch
from activations import Data, embedded, synthetic
from torch import Tensor, nn

from sae.dictionaries import DictionaryConfig, PairedCoder
from sae.dictionaries.coder import Normal, centre_and_scale
from sae.dictionaries.train import Training

TURN = 10
"""Steps per turn."""
Reconstruct = Callable[[Tensor], tuple[Tensor, Tensor]]
"""Activations to codes [N, F] and reconstruction [N, 2, D]."""


class Dense:
    """The plain crosscoder: three dense products forward, BatchTopK by a mask, autograd for the rest."""

    def __init__(
        self, batches: Iterator[Tensor], config: DictionaryConfig, width: int, normal: Normal
    ) -> None:
        self.batches, self.config, self.normal, self.step = batches, config, normal, 0
        g = torch.Generator().manual_seed(config.seed)
        rows = nn.functional.normalize(torch.randn(config.latents, 1, width, generator=g), dim=-1)
        rows = rows.repeat(1, 2, 1) / 2**0.5
        self.encoder, self.decoder = nn.Parameter(0.3 * rows), nn.Parameter(0.1 * rows)
        self.bias, self.out = nn.Parameter(torch.zeros(config.latents)), nn.Parameter(torch.zeros(2, width))
        self.adam = torch.optim.Adam(self.parameters(), lr=config.lr)

    def parameters(self) -> list[Tensor]:
        """All that is trained."""
        return [self.encoder, self.decoder, self.bias, self.out]

    def codes(self, z: Tensor) -> Tensor:
        """The largest k per token on average."""
        codes = torch.einsum("nmd,fmd->nf", z, self.encoder).add(self.bias).relu()
        score = codes * self.decoder.norm(dim=-1).sum(1)
        kept = torch.topk(score.flatten(), self.config.k * len(z), sorted=False).indices
        return codes * torch.zeros_like(codes).flatten().index_fill(0, kept, 1).view_as(codes)

    def decode(self, codes: Tensor) -> Tensor:
        """Both streams, normalised."""
        return torch.einsum("nf,fmd->nmd", codes, self.decoder) + self.out

    def advance(self) -> None:
        """One step."""
        z = (next(self.batches) - self.normal.mean_MD) * self.normal.scale_M[:, None]
        loss = (z - self.decode(self.codes(z))).norm(dim=-1).mean()
        loss.backward()
        nn.utils.clip_grad_norm_(self.parameters(), 1.0)
        for group in self.adam.param_groups:
            group["lr"] = self.config.lr * rate(self.config, self.step)
        self.adam.step()
        self.adam.zero_grad()
        self.step += 1

    def reconstruct(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """In raw units; the k largest are taken over all of `x`."""
        scale = self.normal.scale_M[:, None]
        codes = self.codes((x - self.normal.mean_MD) * scale)
        return codes, self.decode(codes) / scale + self.normal.mean_MD


class Lens:
    """SAELens's TopK SAE of both streams side by side, driven by its own trainer."""

    def __init__(
        self, batches: Iterator[Tensor], config: DictionaryConfig, width: int, normal: Normal
    ) -> None:
        from sae_lens import SAETrainer, TopKTrainingSAE, TopKTrainingSAEConfig
        from sae_lens.config import SAETrainerConfig

        self.batches, self.normal = batches, normal
        torch.manual_seed(config.seed)
        sae: Any = TopKTrainingSAE(TopKTrainingSAEConfig(d_in=2 * width, d_sae=config.latents, k=config.k))
        settings = SAETrainerConfig(
            total_training_samples=config.steps * config.batch_size,
            train_batch_size_samples=config.batch_size,
            lr=config.lr,
            lr_end=config.lr,
            lr_warm_up_steps=max(2, round(config.warm_up * config.steps)),
            lr_decay_steps=round(config.decay * config.steps),
        )
        self.trainer: Any = SAETrainer(settings, sae, iter(()))

    def _normal(self, x: Tensor) -> Tensor:
        return ((x - self.normal.mean_MD) * self.normal.scale_M[:, None]).flatten(1)

    def advance(self) -> None:
        """One step."""
        self.trainer.step(self._normal(next(self.batches)))
        self.trainer.n_training_steps += 1

    def reconstruct(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """In raw units."""
        codes = self.trainer.sae.encode(self._normal(x))
        decoded = self.trainer.sae.decode(codes).view_as(x)
        return codes, decoded / self.normal.scale_M[:, None] + self.normal.mean_MD


class Read(NamedTuple):
    """Our crosscoder as it is used, and as the two others are measured."""

    dictionary: PairedCoder
    k: int

    def threshold(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """Codes above the threshold that was learnt: how many, the text decides."""
        codes = self.dictionary.encode(x)
        return codes[:, 0], self.dictionary.decode(codes)

    def largest(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """The k largest scores per token over all of `x`: equal L0."""
        weights = self.dictionary.weights
        encoder, norms = weights.encoder_FMD.flatten(1).T, weights.decoder_FMD.norm(dim=-1).sum(1)
        kept = sk.encode_batchtopk(x.flatten(1), encoder, weights.bias_F, self.k * len(x), scale=norms)
        codes = kept.dense(self.dictionary.latents)
        return codes, self.dictionary.decode(codes[:, None].expand(-1, 2, -1))


def rate(config: DictionaryConfig, step: int) -> float:
    """The schedule that all share."""
    up, down = config.warm_up * config.steps, config.decay * config.steps
    return min(1.0, (step + 1) / up, (config.steps - step) / down)


def measured(reconstruct: Reconstruct, x: Tensor) -> tuple[str, ...]:
    """FVE of both models, L0 and dead share."""
    with torch.no_grad():
        codes, found = reconstruct(x)
    missed, there = (x - found).square().sum((0, 2)), (x - x.mean(0)).square().sum((0, 2))
    fve = [f"{value:.3f}" for value in (1 - missed / there).tolist()]
    on = codes > 0
    return (*fve, f"{on.sum(1).float().mean():.1f}", f"{(~on.any(0)).float().mean():.3f}")


def race(contestants: dict[str, Any], steps: int, clock: Callable[[], float]) -> dict[str, list[float]]:
    """Seconds per step of each turn; the first turn warms up and is left out."""
    seconds: dict[str, list[float]] = {name: [] for name in contestants}
    for turn in range(steps // TURN):
        for name, contestant in contestants.items():
            start = clock()
            for _ in range(TURN):
                contestant.advance()
            if turn:
                seconds[name].append((clock() - start) / TURN)
    return seconds


def profile(data: Data, config: DictionaryConfig, clock: Callable[[], float]) -> dict[str, float]:
    """Milliseconds of the parts of a step: a lower bound is one dense product, that of the encoder."""
    x = data.train_NMD[: config.batch_size].flatten(1).contiguous()
    g = torch.Generator().manual_seed(0)
    encoder = (torch.randn(config.latents, x.shape[1], generator=g) * 0.01).requires_grad_()
    decoder = encoder.detach().clone().requires_grad_()
    bias = torch.zeros(config.latents, requires_grad=True)
    count = config.k * len(x)
    kept = sk.encode_batchtopk(x, encoder.detach().T, bias.detach(), count)
    adam = torch.optim.Adam([encoder, decoder], fused=True)

    def dense() -> None:
        sk.autoencode_plain(x, encoder, bias, decoder, kept).decoded.norm().backward()

    def sparse() -> None:
        sk.autoencode(x, encoder, bias, decoder, kept).decoded.norm().backward()

    parts: dict[str, Callable[[], object]] = {
        "encoder product (floor)": lambda: x @ encoder.detach().T,
        "encoder product and largest codes": lambda: sk.encode_batchtopk(
            x, encoder.detach().T, bias.detach(), count
        ),
        "rest of the pass and gradients, dense (with the encoder's)": dense,
        "the same, sparse (without the encoder's)": sparse,
        "Adam, fused": adam.step,
    }
    return {name: 1e3 * median_seconds(part, clock) for name, part in parts.items()}


def median_seconds(part: Callable[[], object], clock: Callable[[], float], repeats: int = 9) -> float:
    """Of some repeats, after one that warms up."""
    taken = []
    for _ in range(repeats + 1):
        start = clock()
        part()
        taken.append(clock() - start)
    return statistics.median(taken[1:])


def main() -> None:
    """Prints the table and the profile."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    for name, default in (("tokens", 12_000), ("layer", 15), ("steps", 300), ("latents", 1024), ("k", 32)):
        parser.add_argument(f"--{name}", type=int, default=default)
    parser.add_argument("--threads", type=int, default=1, help="threads of torch")
    parser.add_argument("--clock", choices=("wall", "cpu"), default="wall")
    parser.add_argument("--synthetic", action="store_true", help="planted activations, no model")
    chosen = parser.parse_args()
    torch.set_num_threads(chosen.threads)
    x = synthetic(chosen.tokens) if chosen.synthetic else embedded(chosen.tokens, chosen.layer)
    x = x[torch.randperm(len(x), generator=torch.Generator().manual_seed(0))]
    data = Data(x[len(x) // 8 :], x[: len(x) // 8])
    config = DictionaryConfig(latents=chosen.latents, k=chosen.k, steps=chosen.steps)
    clock = time.perf_counter if chosen.clock == "wall" else time.process_time
    compare(data, config, clock)
    for name, milliseconds in profile(data, config, clock).items():
        print(f"{name:<62}{milliseconds:>8.1f} ms")


def compare(data: Data, config: DictionaryConfig, clock: Callable[[], float]) -> None:
    """Races the three and prints what they reached."""
    from sae.dictionaries.stream import Batches

    width, normal = data.train_NMD.shape[-1], centre_and_scale(data.train_NMD)
    ours = Training(data.stream, config, None)
    others: dict[str, Dense | Lens] = {
        "dense PyTorch crosscoder": Dense(Batches(data.stream, config.batch_size), config, width, normal),
        "SAELens TopK trainer": Lens(Batches(data.stream, config.batch_size), config, width, normal),
    }
    seconds = race({"crosscoder": ours, **others}, config.steps, clock)
    read = Read(ours.dictionary(), config.k)
    print(
        f"{len(data.train_NMD)} tokens, {len(data.held_out_NMD)} held out; {config.steps} steps, one process"
    )
    print(f"{'':<26}{'steps/s':>8}{'ours is':>9}   FVE base, tuned, L0, dead: held out | in training")
    ways = {"crosscoder": read.threshold, "the same, k largest": read.largest}
    ways |= {name: other.reconstruct for name, other in others.items()}
    for name, reconstruct in ways.items():
        cells = [*measured(reconstruct, data.held_out_NMD), "|", *measured(reconstruct, data.train_NMD)]
        print(f"{name:<26}{_speed(seconds, name)}   {'  '.join(cells)}")


def _speed(seconds: dict[str, list[float]], name: str) -> str:
    """Steps per second, and how many times slower than ours, median over turns."""
    if name not in seconds:
        return " " * 17
    pairs = zip(seconds[name], seconds["crosscoder"], strict=True)
    ratio = statistics.median(other / own for other, own in pairs)
    return f"{1 / statistics.median(seconds[name]):>8.1f}{ratio:>8.2f}x"


if __name__ == "__main__":
    main()
