"""Trainers of one SAE behind one interface: ours, SAELens, sparsify, dictionary_learning, and a floor."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, NamedTuple, Protocol

import torch
from activations import Data
from dictionaries import rate
from torch import Tensor

from sae.dictionaries import DictionaryConfig
from sae.dictionaries.coder import Normal
from sae.dictionaries.stream import Batches
from sae.dictionaries.train import Training


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
