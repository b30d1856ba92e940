"""The model under attack: a fresh adapter (or its own weights) for every arm, put back as it was after."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch

from audit.attack.config import AttackConfig
from audit.attack.layout import Layout
from audit.evidence.files import output_errors

if TYPE_CHECKING:
    from transformers import PreTrainedModel, PreTrainedTokenizerBase

    from training.model import CausalLM

TEXTS, TEXT_TOKENS = 16, 32
"""Texts sampled from the start, and tokens of each, on which divergence and perplexity are measured."""


@dataclass(frozen=True)
class Policies:
    """Makes policies that start as the loaded model."""

    config: AttackConfig
    model: PreTrainedModel
    layout: Layout
    new_tokens: int
    base_name: str
    """What an adapter's config calls its base."""

    @property
    def tokenizer(self) -> PreTrainedTokenizerBase:
        """The model's."""
        return self.layout.tokenizer

    @property
    def adapter(self) -> dict[str, Any]:
        """The settings of the adapter."""
        config = self.config
        return {
            "lora_rank": config.lora_rank,
            "lora_alpha": config.lora_alpha,
            "lora_targets": config.lora_targets,
        }

    @contextmanager
    def fresh(self, seed: int) -> Iterator[CausalLM]:
        """A policy for the length of a block; afterwards the model is as it was, to the bit."""
        from training.config import GRPOConfig
        from training.lora import attach_lora
        from training.model import unfreeze

        if self.config.tune == "lora":
            wrapped = attach_lora(self.model, GRPOConfig(seed=seed, **self.adapter))
            try:
                yield wrapped
            finally:
                wrapped.unload()
        else:
            start = {name: value.detach().clone() for name, value in self.model.state_dict().items()}
            try:
                yield unfreeze(self.model)
            finally:
                self.model.load_state_dict(start)
                self.model.requires_grad_(False)

    def keep(self, model: CausalLM, folder: Path, name: str) -> None:
        """Keeps an attacked policy under `folder`, whole or not at all; one that is there is left alone."""
        if (folder / name).is_dir():
            return
        scratch = folder / f".{name}"
        shutil.rmtree(scratch, ignore_errors=True)
        with output_errors(folder):
            scratch.mkdir(parents=True)
            self._write(model, scratch)
            scratch.rename(folder / name)

    def _write(self, model: CausalLM, folder: Path) -> None:
        from peft import PeftModel

        from training.lora import save_adapter

        if isinstance(model, PeftModel):
            save_adapter(model, folder, base_name=self.base_name)
        else:
            model.save_pretrained(folder)
            self.tokenizer.save_pretrained(folder)


def start_of(model: PreTrainedModel, tokenizer: PreTrainedTokenizerBase, config: AttackConfig) -> Any:
    """The start's own text and what it says of it: a `training.reference.Stored`."""
    from training.config import GRPOConfig
    from training.policy import make_policy, reference_texts
    from training.reference import Stored
    from training.scoring import log_probabilities

    sizes = GRPOConfig(kl_sequences=TEXTS, kl_tokens=TEXT_TOKENS, seed=config.seed)
    texts = reference_texts(make_policy(model, tokenizer), sizes)
    with torch.no_grad():
        logp = torch.cat([log_probabilities(model, part) for part in torch.split(texts, config.batch_size)])
    return Stored(texts, logp)
