r"""Training of one SAE against SAELens, sparsify and dictionary_learning on the same stored activations.

One stream (the tuned model's), the same batches, width, k, steps, learning rate schedule and AuxK for all,
each at the best of some peak learning rates (`RATES`). They take turns of a few steps in one process, so that
a busy machine slows all alike; ratios are medians over turns. The floor is the encoder's product and a top-k,
nothing else: no trainer that computes every pre-activation can be faster.

Run: python benchmarks/trainers.py [--rivals FOLDER] [--tokens 12000] [--layer 15] [--steps 300]
[--latents 4096] [--k 32] [--threads 1] [--clock wall|cpu] [--synthetic] [--stored FILE] [--lr RATE]. Rivals
that are not installed are left out, and it says so. Sparsify and dictionary_learning ask for old versions of
what this project needs new; so put them, without what they ask for, into a folder of their own:

    pip install --target FOLDER --no-deps eai-sparsify dictionary-learning natsort schedulefree einops \\
        simple-parsing docstring-parser
"""

from __future__ import annotations

import argparse
import contextlib
import io
import os
import statistics
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any, NamedTuple, Protocol

import torch
from dictionaries import Data, embedded, race, rate, synthetic
from safetensors.torch import load_file, save_file
from torch import Tensor

from sae.dictionaries import DictionaryConfig
from sae.dictionaries.coder import Normal, centre_and_scale
from sae.dictionaries.stream import Batches
from sae.dictionaries.train import Training

RATES = {
    "ours, TopK": 4e-3,
    "ours, BatchTopK": 4e-3,
    "SAELens": 4e-3,
    "sparsify": 4e-3,
    "dictionary_learning": 4e-3,
}
"""Peak learning rate of each."""


class Contestant(Protocol):
    """A trainer that takes a step at a time."""

    def advance(self) -> None:
        """One step."""
        ...

    def coded(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """Codes [N, F] and reconstruction of raw activations [N, D]."""
        ...


class Setting(NamedTuple):
    """What all contestants share."""

    data: Data
    config: DictionaryConfig
    normal: Normal

    def batches(self) -> Iterator[Tensor]:
        """Normalised activations of the tuned model."""
        for batch in Batches(self.data.stream, self.config.batch_size):
            yield self.normalised(batch[:, 1])

    def normalised(self, x: Tensor) -> Tensor:
        """Centred, with a mean norm of sqrt(D)."""
        return (x - self.normal.mean_MD[0]) * self.normal.scale_M[0]

    def raw(self, x: Tensor) -> Tensor:
        """The way back."""
        return x / self.normal.scale_M[0] + self.normal.mean_MD[0]


class Ours:
    """This library's trainer."""

    def __init__(self, setting: Setting) -> None:
        self.training = Training(setting.data.stream, setting.config, None)

    def advance(self) -> None:
        """One step."""
        self.training.advance()

    def coded(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """As it is used: by the threshold that was learnt (BatchTopK)."""
        dictionary: Any = self.training.dictionary()
        return dictionary.encode(x), dictionary.reconstruct(x)


class Lens:
    """SAELens's own trainer and TopK SAE."""

    def __init__(self, setting: Setting) -> None:
        from sae_lens import SAETrainer, TopKTrainingSAE, TopKTrainingSAEConfig
        from sae_lens.config import SAETrainerConfig

        config, self.setting, self.batches = setting.config, setting, setting.batches()
        width = setting.data.train_NMD.shape[-1]
        sae: Any = TopKTrainingSAE(TopKTrainingSAEConfig(d_in=width, d_sae=config.latents, k=config.k))
        settings = SAETrainerConfig(
            total_training_samples=config.steps * config.batch_size,
            train_batch_size_samples=config.batch_size,
            lr=config.lr,
            lr_end=config.lr,
            lr_warm_up_steps=max(2, round(config.warm_up * config.steps)),
            lr_decay_steps=round(config.decay * config.steps),
            dead_feature_window=config.dead_after // config.batch_size,
        )
        self.trainer: Any = SAETrainer(settings, sae, iter(()))

    def advance(self) -> None:
        """One step."""
        self.trainer.step(next(self.batches))
        self.trainer.n_training_steps += 1

    def coded(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """By its own encode and decode."""
        codes = self.trainer.sae.encode(self.setting.normalised(x))
        return codes, self.setting.raw(self.trainer.sae.decode(codes))


class Sparsify:
    """sparsify's SparseCoder, with the steps of its trainer's loop, which takes no stored activations."""

    def __init__(self, setting: Setting) -> None:
        from sparsify import SparseCoder, SparseCoderConfig

        config, self.setting, self.batches, self.step = setting.config, setting, setting.batches(), 0
        width = setting.data.train_NMD.shape[-1]
        self.coder: Any = SparseCoder(width, SparseCoderConfig(num_latents=config.latents, k=config.k))
        self.adam = torch.optim.Adam(self.coder.parameters(), lr=config.lr)
        self.unfired = torch.zeros(config.latents, dtype=torch.long)

    def advance(self) -> None:
        """One step."""
        x, config = next(self.batches), self.setting.config
        if self.step == 0:
            self.coder.b_dec.data = x.mean(0)
        self.coder.set_decoder_norm_to_unit_norm()
        out = self.coder(x, dead_mask=self.unfired > config.dead_after)
        (out.fvu + config.aux * out.auxk_loss).backward()
        self.coder.remove_gradient_parallel_to_decoder_directions()
        for group in self.adam.param_groups:
            group["lr"] = config.lr * rate(config, self.step)
        self.adam.step()
        self.adam.zero_grad()
        self.unfired += len(x)
        self.unfired[out.latent_indices.flatten()] = 0
        self.step += 1

    def coded(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """By its own encode and decode."""
        values, indices, _ = self.coder.encode(self.setting.normalised(x))
        codes = torch.zeros(len(x), self.coder.num_latents).scatter(1, indices, values)
        return codes, self.setting.raw(self.coder.decode(values, indices))


class Learning:
    """dictionary_learning's TopKTrainer."""

    def __init__(self, setting: Setting) -> None:
        from dictionary_learning.trainers.top_k import TopKTrainer

        config, self.setting, self.batches, self.step = setting.config, setting, setting.batches(), 0
        self.trainer: Any = TopKTrainer(
            steps=config.steps,
            activation_dim=setting.data.train_NMD.shape[-1],
            dict_size=config.latents,
            k=config.k,
            layer=0,
            lm_name="",
            lr=config.lr,
            auxk_alpha=config.aux,
            warmup_steps=round(config.warm_up * config.steps),
            decay_start=round((1 - config.decay) * config.steps),
            seed=config.seed,
            device="cpu",
        )
        self.trainer.dead_feature_threshold = config.dead_after

    def advance(self) -> None:
        """One step."""
        self.trainer.update(self.step, next(self.batches))
        self.step += 1

    def coded(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """By its own encode and decode."""
        codes = self.trainer.ae.encode(self.setting.normalised(x))
        return codes, self.setting.raw(self.trainer.ae.decode(codes))


class Floor:
    """The encoder's product and torch.topk: no gradients, no decoder, no optimiser."""

    def __init__(self, setting: Setting) -> None:
        g = torch.Generator().manual_seed(0)
        self.batches, self.k = setting.batches(), setting.config.k
        self.encoder = torch.randn(setting.data.train_NMD.shape[-1], setting.config.latents, generator=g)

    def advance(self) -> None:
        """One batch."""
        torch.topk(next(self.batches) @ self.encoder, self.k, dim=1, sorted=False)


def contestants(data: Data, config: DictionaryConfig, lr: float | None) -> dict[str, Any]:
    """All that are installed, each at its learning rate."""
    normal = centre_and_scale(data.train_NMD[:, 1:])
    makers: dict[str, tuple[Callable[[Setting], Any], dict[str, Any]]] = {
        "ours, TopK": (Ours, {"activation": "topk"}),
        "ours, BatchTopK": (Ours, {"activation": "batchtopk"}),
        "SAELens": (Lens, {}),
        "sparsify": (Sparsify, {}),
        "dictionary_learning": (Learning, {}),
    }
    found: dict[str, Any] = {}
    for name, (maker, settings) in makers.items():
        here = replace(config, lr=lr or RATES[name], **settings)
        torch.manual_seed(here.seed)
        try:
            with contextlib.redirect_stdout(io.StringIO()):
                found[name] = maker(Setting(data, here, normal))
        except ImportError as error:
            print(f"{name}: not installed, left out ({error})")
    return found | {"floor": Floor(Setting(data, config, normal))}


def activations(chosen: argparse.Namespace) -> Tensor:
    """x_NMD as asked for: planted, stored by an earlier run, or harvested."""
    if chosen.stored and chosen.stored.is_file():
        return load_file(chosen.stored)["x_NMD"]
    x = synthetic(chosen.tokens) if chosen.synthetic else embedded(chosen.tokens, chosen.layer)
    if chosen.stored:
        save_file({"x_NMD": x.contiguous()}, chosen.stored)
    return x


def measured(contestant: Contestant, x: Tensor) -> str:
    """FVE, L0 and dead share of raw activations [N, D]."""
    with torch.no_grad():
        codes, found = contestant.coded(x)
    fve = 1 - (x - found).square().sum() / (x - x.mean(0)).square().sum()
    on = codes > 0
    return f"{fve:.3f}  {on.sum(1).float().mean():.1f}  {(~on.any(0)).float().mean():.3f}"


def report(
    data: Data, config: DictionaryConfig, racing: dict[str, Any], seconds: dict[str, list[float]]
) -> None:
    """The table."""
    tokens, held_out = len(data.train_NMD), len(data.held_out_NMD)
    print(f"{tokens} tokens, {held_out} held out; {config.steps} steps of {config.batch_size}")
    print(f"{'':<20}{'tokens/s':>9}{'ours is':>9}   FVE, L0, dead: held out | in training")
    for name, contestant in racing.items():
        pairs = zip(seconds[name], seconds["ours, TopK"], strict=True)
        ratio = statistics.median(other / own for other, own in pairs)
        speed = config.batch_size / statistics.median(seconds[name])
        sides = (data.held_out_NMD, data.train_NMD) if name != "floor" else ()
        quality = "  |  ".join(measured(contestant, x[:, 1]) for x in sides)
        print(f"{name:<20}{speed:>9,.0f}{ratio:>8.2f}x   {quality}")


def main() -> None:
    """Prints the table."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    for name, default in (("tokens", 12_000), ("layer", 15), ("steps", 300), ("latents", 4096), ("k", 32)):
        parser.add_argument(f"--{name}", type=int, default=default)
    parser.add_argument("--threads", type=int, default=1, help="threads of torch")
    parser.add_argument("--clock", choices=("wall", "cpu"), default="wall")
    parser.add_argument("--synthetic", action="store_true", help="planted activations, no model")
    parser.add_argument("--rivals", help="folder of packages that are not installed here")
    parser.add_argument("--stored", type=Path, help="safetensors file of the activations; made if missing")
    parser.add_argument("--lr", type=float, help="one peak learning rate for all")
    chosen = parser.parse_args()
    if chosen.rivals:
        sys.path.append(chosen.rivals)
    os.environ["SPARSIFY_DISABLE_TRITON"] = "1"  # its kernels want a GPU
    torch.set_num_threads(chosen.threads)
    x = activations(chosen)
    x = x[torch.randperm(len(x), generator=torch.Generator().manual_seed(0))]
    data = Data(x[len(x) // 8 :], x[: len(x) // 8])
    config = DictionaryConfig(
        kind="shared",
        reads="tuned",
        latents=chosen.latents,
        k=chosen.k,
        k_start=2 * chosen.k,
        steps=chosen.steps,
    )
    racing = contestants(data, config, chosen.lr)
    seconds = race(racing, config.steps, time.perf_counter if chosen.clock == "wall" else time.process_time)
    report(data, config, racing, seconds)


if __name__ == "__main__":
    main()
