"""The bridge to SAELens: its SAEs trained on a pair, loaded for a pair, and our dictionaries in its registry.

Imports sae_lens (seconds), so it is itself imported only where SAELens is needed.
"""

from __future__ import annotations

import io
from collections.abc import Callable, Iterator
from contextlib import redirect_stderr
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import torch
from sae_lens import (
    SAE,
    BatchTopKTrainingSAE,
    BatchTopKTrainingSAEConfig,
    JumpReLUSAE,
    JumpReLUSAEConfig,
    JumpReLUTrainingSAE,
    JumpReLUTrainingSAEConfig,
    SAETrainer,
    TopKTrainingSAE,
    TopKTrainingSAEConfig,
    register_sae_class,
)
from sae_lens.config import SAETrainerConfig
from sae_lens.registry import SAE_CLASS_REGISTRY
from torch import Tensor

from sae.dictionaries.coder import centre_and_scale
from sae.dictionaries.config import SharedConfig
from sae.dictionaries.health import TrainedDictionary, health_of
from sae.dictionaries.paired import Crosscoder, DifferenceSAE
from sae.dictionaries.shared import SharedSAE
from sae.dictionaries.stream import Batches, MakeStream
from sae.errors import DictionaryError


def register() -> None:
    """Makes `SAE.load_from_disk` read our dictionaries: JumpReLU SAEs of both streams side by side.

    A crosscoder's d_in is 2 D (base, then tuned), a difference SAE's is D (tuned minus base).
    """
    for kind in (Crosscoder, DifferenceSAE):
        if kind.architecture not in SAE_CLASS_REGISTRY:
            name = classmethod(lambda cls, name=kind.architecture: name)
            config = type(f"{kind.__name__}Config", (JumpReLUSAEConfig,), {"architecture": name})
            register_sae_class(kind.architecture, type(kind.__name__, (JumpReLUSAE,), {}), config)


def load_saelens(folder: Path, device: str = "cpu") -> SharedSAE:
    """An SAE in a folder of SAELens's layout (cfg.json, sae_weights.safetensors).

    Raises:
        DictionaryError: the files cannot be read, hold numbers that are not finite, or are of an SAE that
            does not work on raw activations.
    """
    try:
        sae = SAE.load_from_disk(folder, device=device)
    except Exception as error:  # SAELens raises whatever its parts raise: KeyError, RuntimeError, ...
        raise DictionaryError(
            f"SAELens cannot load this SAE: {_said(error)}",
            where=str(folder),
            fix="name a folder that SAELens's save_model or save_inference_model has written",
        ) from error
    return _checked(sae, {"folder": folder.name}, str(folder))


def load_release(release: str, sae_id: str, device: str = "cpu") -> SharedSAE:
    """An SAE of a SAELens release, fetched from the hub.

    Raises:
        DictionaryError: there is no such release or id, it cannot be fetched, or it does not work on raw
            activations.
    """
    try:
        sae = SAE.from_pretrained(release, sae_id, device=device)
    except Exception as error:  # a hub, a converter per release, and files: all of their errors
        raise DictionaryError(
            f"SAELens cannot load this release: {_said(error)}",
            where=f"{release}:{sae_id}",
            fix="look the release and id up in SAELens's table of pretrained SAEs",
        ) from error
    return _checked(sae, {"release": release, "sae_id": sae_id}, f"{release}:{sae_id}")


ARCHITECTURES: dict[str, tuple[Any, Any, dict[str, Any]]] = {
    "topk": (TopKTrainingSAE, TopKTrainingSAEConfig, {}),
    "batchtopk": (BatchTopKTrainingSAE, BatchTopKTrainingSAEConfig, {}),
    "jumprelu": (
        JumpReLUTrainingSAE,
        JumpReLUTrainingSAEConfig,
        {"jumprelu_sparsity_loss_mode": "quadratic", "jumprelu_ste_to_input": True},
    ),
}


def train_shared(
    make_stream: MakeStream,
    config: SharedConfig,
    *,
    held_out: Callable[[], Iterator[Tensor]] | None = None,
    progress: Callable[[int], object] = lambda done: None,
) -> TrainedDictionary:
    """Trains an SAE with SAELens's own trainer.

    A killed run starts again from its beginning: that trainer's checkpoints are pickles.

    Args:
        make_stream: epoch -> stream of x_NMD pieces, as for `train_dictionary`.
        config: see `SharedConfig`.
        held_out: makes a stream of tokens that are not trained on, for the health.
        progress: called with the number of steps just done.

    Raises:
        DictionaryError: no activations, or numbers that are not finite.
    """
    batches = Batches(make_stream, config.batch_size // (2 if config.reads == "mixed" else 1))
    first = _rows(batches.peek(config.calibration).float(), config.reads)
    normal = centre_and_scale(first[:, None])
    mean, scale = normal.mean_MD[0].to(config.device), float(normal.scale_M[0])

    def rows() -> Iterator[Tensor]:
        for batch in batches:
            yield (_rows(batch.to(config.device, torch.float32), config.reads) - mean) * scale
            progress(1)

    training = _trained(rows(), config, first.shape[-1])
    progress(1)  # for the last step, after which nobody asks for rows
    training.fold_activation_norm_scaling_factor(scale)
    training.b_dec.data += mean
    dictionary = _as_inference(training, config)
    tokens = held_out() if held_out else make_stream(0)
    return TrainedDictionary(dictionary, health_of(dictionary, tokens, held_out=held_out is not None))


def _rows(x_NMD: Tensor, reads: str) -> Tensor:
    return x_NMD.flatten(0, 1) if reads == "mixed" else x_NMD[:, 0 if reads == "base" else 1]


def _trained(rows: Iterator[Tensor], config: SharedConfig, width: int) -> Any:
    kind, kind_config, extra = ARCHITECTURES[config.architecture]
    extra = extra | ({"target_l0": float(config.k)} if config.architecture == "jumprelu" else {"k": config.k})
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(config.seed)
        sae = kind(kind_config(d_in=width, d_sae=config.latents, device=config.device, **extra))
    trainer_config = SAETrainerConfig(
        total_training_samples=config.batch_size * config.steps,
        train_batch_size_samples=config.batch_size,
        lr=config.lr,
        lr_end=config.lr,
        lr_warm_up_steps=max(2, config.steps // 20),
        lr_decay_steps=max(1, config.steps * 3 // 10),
        device=config.device,
        dead_feature_window=max(1, config.steps // 10),
    )
    with redirect_stderr(io.StringIO()):  # its progress bar
        return SAETrainer(trainer_config, sae, rows).fit()


def _as_inference(training: Any, config: SharedConfig) -> SharedSAE:
    with TemporaryDirectory() as folder:
        training.save_inference_model(folder)
        sae = SAE.load_from_disk(folder, device=config.device)
    return _checked(sae, {"training": config.to_dict()}, "the trained SAE")


def _said(error: Exception) -> str:
    """The first line: errors of the hub go on for pages."""
    lines = str(error).strip().splitlines() or ["it does not say why"]
    return f"{type(error).__name__}: {lines[0][:300]}"


def _checked(sae: Any, notes: dict[str, Any], where: str) -> SharedSAE:
    for name, tensor in sae.state_dict().items():
        if not bool(torch.isfinite(tensor).all()):
            raise DictionaryError(
                f"the SAE's {name} holds numbers that are not finite",
                where=where,
                fix="fetch it again, or train it with a lower learning rate",
            )
    return SharedSAE(sae, notes)
