"""PEFT adapters: what they are, which base they bind to, and whether they fit it."""

from __future__ import annotations

import warnings
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from audit.errors import CheckpointError, PairMismatchError
from audit.pair.files import broken, read_json, relevant_files
from audit.pair.quiet import quiet
from audit.pair.weights import check_finite, stream

if TYPE_CHECKING:
    from peft import PeftConfig
    from transformers import PreTrainedModel

    from audit.pair.checkpoint import Checkpoint
    from audit.pair.reference import Reference

CONFIG, WEIGHTS, PICKLED, BINDING = (
    "adapter_config.json",
    "adapter_model.safetensors",
    "adapter_model.bin",
    "unmask.json",
)
KINDS = ("LORA", "IA3", "LOHA", "LOKR")
"""Kinds of adapter that are a change of weights which peft can switch off and merge; each is tested."""
REFUSED = {
    "modules_to_save": "replaces whole modules",
    "trainable_token_indices": "replaces rows of the embedding",
    "layer_replication": "changes the depth of the model",
    "megatron_config": "needs Megatron",
    "alora_invocation_tokens": "switches itself on and off inside a text",
    "arrow_config": "chooses among several adapters token by token",
    "kasa_config": "changes the weights below it (KaSA)",
    "lora_bias": "adds biases",
    "monteclora_config": "draws its weights at random",
}
"""Fields of an adapter's config that make it more than a change of weights that can be switched off."""
HARMLESS_STARTS = (True, False, None, "gaussian", "orthogonal", "eva", "mica")
"""Values of init_lora_weights that leave the weights below alone; PiSSA, OLoRA and others change them when
the adapter is loaded, so that the model with its adapter switched off is no longer the base."""
PREFIX = "base_model.model."


@dataclass(frozen=True)
class AdapterFiles:
    """A verified PEFT adapter on the disk."""

    folder: Path
    """Where it lies."""
    revision: str | None
    """Resolved commit; hub only."""
    config: dict[str, Any]
    """Content of adapter_config.json."""
    shapes: dict[str, tuple[int, ...]]
    """Tensor name -> shape."""
    binding: dict[str, Any] = field(default_factory=dict)
    """Content of unmask.json, if it brings one: `base_identity` and how it was made."""

    @property
    def files(self) -> dict[str, Path]:
        """File name -> path of everything that decides what it does."""
        files = relevant_files(self.folder, [CONFIG, WEIGHTS])
        files.pop("config.json", None)
        return files


def read_adapter(folder: Path, revision: str | None = None) -> AdapterFiles:
    """Checks the adapter's own files.

    Raises:
        CheckpointError: a file is missing, broken or pickled, a tensor is not finite, or the adapter is of a
            kind that cannot be switched off.
    """
    if not folder.is_dir():
        fix = "check the spelling; an adapter folder holds adapter_config.json and adapter_model.safetensors"
        raise CheckpointError("the adapter folder does not exist", where=str(folder), fix=fix)
    config = read_json(folder / CONFIG)
    _check_kind(folder / CONFIG, config)
    path = folder / WEIGHTS
    if not path.is_file():
        pickled = (folder / PICKLED).is_file()
        problem = "the adapter's weights are pickled" if pickled else "the adapter's weights are missing"
        fix = f"save it as {WEIGHTS} (peft's save_pretrained does)"
        raise CheckpointError(problem, where=str(folder / PICKLED if pickled else path), fix=fix)
    shapes: dict[str, tuple[int, ...]] = {}
    for entry in stream(path, pickled=False):
        check_finite(entry)
        shapes[entry.name] = tuple(entry.tensor.shape)
    if not shapes:
        raise broken(path, "the adapter holds no tensors")
    binding = read_json(folder / BINDING) if (folder / BINDING).is_file() else {}
    return AdapterFiles(folder, revision, config, shapes, binding)


def check_binding(adapter: AdapterFiles, base: Checkpoint, reference: Reference) -> list[str]:
    """Refuses an adapter of another base; warns where it does not say which, and of an attack's.

    Raises:
        PairMismatchError: the recorded identity, hub id or revision of its base is another one.
    """
    fix = "name the base that the adapter was trained on"
    bound = adapter.binding.get("base_identity")
    if bound is not None:
        if bound != base.base_identity:
            found = base.base_identity[:12]
            problem = f"the adapter was made for another base: {str(bound)[:12]}..., not {found}..."
            raise PairMismatchError(problem, where=f"{adapter.folder / BINDING}: base_identity", fix=fix)
        attacked = adapter.binding.get("attacked") is True
        return [f"the adapter {adapter.folder.name} was made by an attack"] if attacked else []
    named, revision = adapter.config.get("base_model_name_or_path"), adapter.config.get("revision")
    where = f"{adapter.folder / CONFIG}: "
    if reference.kind != "hub" or not isinstance(named, str) or named.count("/") != 1 or named[0] in "./~":
        return [
            f"the adapter {adapter.folder.name} does not record which base it was trained on, only {named!r}"
        ]
    if named != reference.location:
        problem = f"the adapter was made for {named}, not for {reference.location}"
        raise PairMismatchError(problem, where=where + "base_model_name_or_path", fix=fix)
    if revision not in (None, reference.revision, base.revision) and reference.revision is not None:
        problem = f"the adapter was made for {named}@{revision}, not for @{reference.revision}"
        raise PairMismatchError(problem, where=where + "revision", fix=fix)
    return []


def check_fit(adapter: AdapterFiles, model: PreTrainedModel) -> list[str]:
    """Builds the adapter on `model` (meta device; changed by it) and compares every tensor's name and shape.

    Returns what peft warns of meanwhile, such as a field of the config that it does not know.

    Raises:
        PairMismatchError: no module has the adapter's name, or a tensor is missing, unknown or mis-shaped.
    """
    from peft import get_peft_model, get_peft_model_state_dict

    fix = "the adapter belongs to another model: name the base that it was trained on"
    try:
        with quiet(), warnings.catch_warnings(record=True) as heard:
            warnings.simplefilter("always")
            wrapped = get_peft_model(model, peft_config(adapter), low_cpu_mem_usage=True)
            state = get_peft_model_state_dict(wrapped, save_embedding_layers=False)
    except CheckpointError:
        raise
    except Exception as error:  # peft checks few of its fields: a wrong one raises wherever it is used first
        targets = adapter.config.get("target_modules")
        problem = (
            f"the adapter's modules {targets} do not fit this model: {' '.join(str(error).split())[:200]}"
        )
        raise PairMismatchError(
            problem, where=f"{adapter.folder / CONFIG}: target_modules", fix=fix
        ) from error
    wanted = {name: tuple(tensor.shape) for name, tensor in state.items()}
    for name in sorted(wanted.keys() | adapter.shapes.keys()):
        if wanted.get(name) != adapter.shapes.get(name):
            problem = _misfit(name.removeprefix(PREFIX), adapter.shapes.get(name), wanted.get(name))
            raise PairMismatchError(problem, where=f"{adapter.folder / WEIGHTS}: {name}", fix=fix)
    return [f"the adapter {adapter.folder.name}: {text}" for text in _telling(heard)]


def peft_config(adapter: AdapterFiles) -> PeftConfig:
    """The adapter's config as peft understands it.

    Raises:
        CheckpointError: peft cannot read it.
    """
    from peft import PeftConfig

    try:
        config: PeftConfig = PeftConfig.from_pretrained(str(adapter.folder), local_files_only=True)
    except Exception as error:  # as in check_fit
        raise broken(adapter.folder / CONFIG, f"the adapter's config cannot be used: {error}") from error
    config.inference_mode = True
    return config


def _check_kind(path: Path, config: dict[str, Any]) -> None:
    kind = config.get("peft_type")
    fix = "merge the adapter into the weights (peft's merge_and_unload) and name the folder of the result"
    if kind not in KINDS:
        problem = f"peft_type {kind!r} is none of those that can be audited: {', '.join(KINDS)}"
        raise CheckpointError(problem, where=f"{path}: peft_type", fix=fix)
    for name, reason in REFUSED.items():
        if config.get(name) not in (None, False, []):
            problem = f"the adapter {reason} ({name}), which is not supported"
            raise CheckpointError(problem, where=f"{path}: {name}", fix=fix)
    start = config.get("init_lora_weights")
    if start not in HARMLESS_STARTS:
        problem = f"the adapter changes the weights below it (init_lora_weights = {start!r:.60})"
        raise CheckpointError(problem, where=f"{path}: init_lora_weights", fix=fix)
    if config.get("bias", "none") != "none":
        problem = f"the adapter trains the base's biases (bias = {config['bias']!r}), which is not supported"
        raise CheckpointError(problem, where=f"{path}: bias", fix=fix)


def _telling(heard: list[warnings.WarningMessage]) -> list[str]:
    """What peft warns of, once each, without its notes to programmers."""
    told = (entry for entry in heard if issubclass(entry.category, (UserWarning, RuntimeWarning)))
    lines = (" ".join(str(entry.message).split())[:200] for entry in told)
    return [line for line in dict.fromkeys(lines) if "was renamed" not in line]


def _misfit(name: str, found: tuple[int, ...] | None, wanted: tuple[int, ...] | None) -> str:
    if found is None:
        return f"the adapter lacks tensor {name}, which its config asks for on this model"
    if wanted is None:
        return f"the adapter's tensor {name} belongs to no module of this model"
    return f"the adapter's tensor {name} has shape {found} where this model needs {wanted}"
