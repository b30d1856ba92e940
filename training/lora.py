"""Low-rank adapters: attached through peft, saved as safetensors that name no path of this machine."""

from __future__ import annotations

import difflib
import warnings
from pathlib import Path
from typing import Protocol, cast

import torch
from peft import LoraConfig, PeftModel, get_peft_model, get_peft_model_state_dict
from safetensors.torch import save_file
from torch import nn
from transformers import PreTrainedModel
from transformers.pytorch_utils import Conv1D

from training.errors import TrainingError


class LoraSettings(Protocol):
    """The settings of an adapter, which every kind of run has."""

    @property
    def lora_rank(self) -> int:
        """Rank of each low-rank update."""
        ...

    @property
    def lora_alpha(self) -> int:
        """The update is scaled by lora_alpha / lora_rank."""
        ...

    @property
    def lora_targets(self) -> tuple[str, ...]:
        """Names of the linear modules that get an update."""
        ...

    @property
    def seed(self) -> int:
        """Of the adapter's start."""
        ...


def attach_lora(model: PreTrainedModel, config: LoraSettings) -> PeftModel:
    """The model with a fresh adapter, the only part of it that trains; it starts equal to the base.

    Raises:
        TrainingError: a target names no linear module of the model.
    """
    targeted = _targeted(model, config.lora_targets)
    settings = LoraConfig(
        r=config.lora_rank,
        lora_alpha=config.lora_alpha,
        target_modules=list(config.lora_targets),
        task_type="CAUSAL_LM",
        fan_in_fan_out=any(isinstance(part, Conv1D) for part in targeted),
    )
    with torch.random.fork_rng(devices=_devices(model)):
        torch.manual_seed(config.seed)
        # peft 0.21 reads a property that transformers 5.23 has renamed.
        with warnings.catch_warnings():
            warnings.filterwarnings("ignore", message=".*is_gradient_checkpointing", category=FutureWarning)
            adapted = get_peft_model(model, settings)
    return cast(PeftModel, adapted)


def save_adapter(model: PeftModel, folder: Path, *, base_name: str) -> None:
    """Writes `adapter_model.safetensors` and `adapter_config.json`.

    Args:
        model: a model with one adapter.
        folder: made if missing.
        base_name: what the adapter's config calls its base; a hub id or a name, never a local path.
    """
    folder.mkdir(parents=True, exist_ok=True)
    tensors = {
        name: value.detach().cpu().contiguous() for name, value in get_peft_model_state_dict(model).items()
    }
    save_file(tensors, folder / "adapter_model.safetensors", metadata={"format": "pt"})
    settings = cast(LoraConfig, model.peft_config[model.active_adapter])
    kept = settings.base_model_name_or_path, settings.target_modules
    # peft keeps the targets as a set, whose order differs from process to process.
    settings.base_model_name_or_path, settings.target_modules = (
        base_name,
        sorted(settings.target_modules or ()),
    )
    settings.save_pretrained(str(folder))
    settings.base_model_name_or_path, settings.target_modules = kept


def _targeted(model: nn.Module, targets: tuple[str, ...]) -> list[nn.Module]:
    linear: dict[str, list[nn.Module]] = {}
    for name, part in model.named_modules():
        if isinstance(part, nn.Linear | Conv1D):
            linear.setdefault(name.rsplit(".", 1)[-1], []).append(part)
    unknown = [target for target in targets if target not in linear]
    if unknown:
        near = difflib.get_close_matches(unknown[0], linear, n=1, cutoff=0.5)
        meant = f"did you mean {near[0]!r}? " if near else ""
        raise TrainingError(
            f"no linear module of this model is called {', '.join(map(repr, unknown))}",
            where="lora_targets",
            fix=f"{meant}choose among: {', '.join(sorted(linear))}",
        )
    return [part for target in targets for part in linear[target]]


def _devices(model: PreTrainedModel) -> list[torch.device]:
    return [model.device] if model.device.type == "cuda" else []
