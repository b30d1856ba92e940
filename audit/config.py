"""What can be asked for: frozen dataclasses with a docstring under each field; the CLI is made from them."""

from __future__ import annotations

from dataclasses import dataclass, fields
from typing import Literal

from audit.errors import UsageError
from audit.presets import PRESETS, PresetName
from training.config import GRPOConfig

DTYPES = ("auto", "float32", "bfloat16", "float16")
OPTIONAL_STAGES = ("elicit", "directions", "features", "switches", "bypass", "relearn")
"""Stages that `--skip` may leave out."""


def _wrong(name: str, value: object, wanted: str) -> UsageError:
    option = f"--{name.replace('_', '-')}"
    return UsageError(f"{name} must be {wanted}, not {value!r}.", where=option, fix="change the setting")


@dataclass(frozen=True)
class CompareConfig:
    """Settings of `audit compare`.

    Raises:
        UsageError: a value makes no sense.
    """

    base: str
    """Model before training: hub id (org/name or org/name@revision), folder, .gguf file, REF+ADAPTER, or
    'demo' for the embedded base."""
    tuned: str | None = None
    """Model after training, likewise; 'demo' without it means the whole embedded pair."""
    suite: tuple[str, ...] = ()
    """Suite file, bbq:PATH_OR_ID or crows-pairs:PATH_OR_ID; may be repeated."""
    behaviour: tuple[str, ...] = ()
    """Built-in suite by name; may be repeated. Without --suite and --behaviour all built-in suites run."""
    preset: PresetName = "standard"
    """How much work: quick, standard or deep."""
    out: str | None = None
    """Run folder; default runs/NAME, with a NAME made from the pair and the settings."""
    seed: int = 0
    """Random seed of sampling, splits and bootstrap."""
    dtype: Literal["auto", "float32", "bfloat16", "float16"] = "auto"
    """Precision of the computation; auto: the stored one on a GPU, float32 on a CPU."""
    device: str = "auto"
    """cpu, cuda or cuda:N; auto: a GPU if there is one."""
    batch_size: int = 16
    """Sequences per forward pass; lower it if memory runs out."""
    corpus: tuple[str, ...] = ()
    """Text for the dictionaries: a .txt or .jsonl file or hub:DATASET; may be repeated. Without it, text is
    sampled from both models."""
    layer: tuple[int, ...] = ()
    """Block whose output gets a dictionary; may be repeated. Default: by the preset, from the middle."""
    dictionary: str = "crosscoder"
    """crosscoder, crosscoder-l1, crosscoder-shared, difference, topk, batchtopk, jumprelu, a folder with a
    dictionary (ours, or of SAELens, sparsify, dictionary_learning, Gemma Scope), or saelens:RELEASE:ID."""
    keep_activations: bool = False
    """Keep the harvested activations in the run folder as safetensors shards (large)."""
    skip: tuple[str, ...] = ()
    """Stage to leave out: elicit, directions, features, switches, bypass or relearn; may be repeated."""
    allow_pickle: bool = False
    """Accept pickled weights (loaded without running their code); recorded in the manifest."""
    trust_remote_code: bool = False
    """Run model code that comes with the checkpoint; recorded in the manifest."""

    def __post_init__(self) -> None:
        for name, least in (("batch_size", 1), ("seed", 0)):
            if getattr(self, name) < least:
                raise _wrong(name, getattr(self, name), f"at least {least}")
        for name, allowed in (("preset", tuple(PRESETS)), ("dtype", DTYPES)):
            if getattr(self, name) not in allowed:
                raise _wrong(name, getattr(self, name), f"one of {', '.join(allowed)}")
        for stage in self.skip:
            if stage not in OPTIONAL_STAGES:
                raise _wrong("skip", stage, f"one of {', '.join(OPTIONAL_STAGES)}")
        if any(layer < 0 for layer in self.layer):
            raise _wrong("layer", min(self.layer), "numbers of blocks, from 0")

    def resolved(self) -> dict[str, object]:
        """What the numbers depend on besides the models themselves, for config.toml and for resuming.

        `skip` is left out: a run may be gone on with to do what an earlier command skipped.
        """
        return {
            "suite": list(self.suite),
            "behaviour": list(self.behaviour),
            "preset": self.preset,
            "seed": self.seed,
            "dtype": self.dtype,
            "device": self.device,
            "batch_size": self.batch_size,
            "corpus": list(self.corpus),
            "layer": list(self.layer),
            "dictionary": self.dictionary,
            "keep_activations": self.keep_activations,
            "allow_pickle": self.allow_pickle,
            "trust_remote_code": self.trust_remote_code,
        }


@dataclass(frozen=True, kw_only=True)
class TrainGRPOConfig(GRPOConfig):
    """Settings of `audit train grpo`: what is trained on what, and those of the method."""

    base: str
    """Model to train: hub id, folder, .gguf file, or 'demo' for the embedded base."""
    suite: str = "gender-occupation"
    """Suite whose training half gives the prompts: a built-in name or a file."""
    form: Literal["plain", "chat", "both"] = "both"
    """Form of the prompts; both: one after the other."""
    reward: Literal["auto", "pronoun-parity", "suite-parity"] = "auto"
    """Which evenness is rewarded: of pronouns, or of the two sides of the suite's own continuations; auto: of
    pronouns where all of these are pronouns."""
    out: str | None = None
    """Run folder; default runs/NAME, with a NAME made from the base and the settings."""
    dtype: Literal["auto", "float32", "bfloat16", "float16"] = "auto"
    """Precision; auto: the stored one on a GPU, float32 on a CPU."""
    device: str = "auto"
    """cpu, cuda or cuda:N; auto: a GPU if there is one."""
    allow_pickle: bool = False
    """Accept pickled weights (loaded without running their code); recorded in the manifest."""
    trust_remote_code: bool = False
    """Run model code that comes with the checkpoint; recorded in the manifest."""

    def method(self) -> GRPOConfig:
        """The settings of the method alone."""
        return GRPOConfig(**{f.name: getattr(self, f.name) for f in fields(GRPOConfig)})

    def resolved(self) -> dict[str, object]:
        """Everything that the adapter depends on besides the base itself."""
        skipped = {"base", "out"}
        values = {f.name: getattr(self, f.name) for f in fields(self) if f.name not in skipped}
        return {name: list(v) if isinstance(v, tuple) else v for name, v in values.items()}


@dataclass(frozen=True)
class InterveneConfig:
    """Settings of `audit intervene`: which interventions are repeated, and where the model runs.

    Raises:
        UsageError: a value makes no sense.
    """

    run: str
    """Run folder of a finished `audit compare`; nothing in it is changed."""
    remote: bool = False
    """Run the tuned model on another machine (NDIF; needs NDIF_API_KEY): token ids and the tensors of the
    interventions are sent there."""
    batch_size: int = 16
    """Sequences per forward pass; lower it if memory runs out."""
    device: str = "auto"
    """cpu, cuda or cuda:N; auto: a GPU if there is one. Without --remote only."""

    def __post_init__(self) -> None:
        if self.batch_size < 1:
            raise _wrong("batch_size", self.batch_size, "at least 1")


@dataclass(frozen=True)
class SampleConfig:
    """Settings of `audit sample`: whose text is sampled, and how much of it.

    Raises:
        UsageError: a value makes no sense.
    """

    model: str
    """Model that writes the text: hub id, folder, .gguf file, REF+ADAPTER, or 'demo' (the embedded base)."""
    out: str
    """JSONL file to write; a killed command goes on where it was, another corpus is never overwritten."""
    tokens: int = 40_000
    """Tokens of all texts together."""
    form: Literal["plain", "chat", "both"] = "both"
    """Plain texts, chats by the model's template, or both in turn."""
    new_tokens: int = 128
    """Most tokens sampled per text."""
    seed: int = 0
    """Random seed."""
    batch_size: int = 32
    """Texts sampled at once; lower it if memory runs out."""
    dtype: Literal["auto", "float32", "bfloat16", "float16"] = "auto"
    """Precision; auto: the stored one on a GPU, float32 on a CPU."""
    device: str = "auto"
    """cpu, cuda or cuda:N; auto: a GPU if there is one."""
    allow_pickle: bool = False
    """Accept pickled weights (loaded without running their code)."""
    trust_remote_code: bool = False
    """Run model code that comes with the checkpoint."""

    def __post_init__(self) -> None:
        for name, least in (("tokens", 1), ("new_tokens", 1), ("batch_size", 1), ("seed", 0)):
            if getattr(self, name) < least:
                raise _wrong(name, getattr(self, name), f"at least {least}")
        for name, allowed in (("form", ("plain", "chat", "both")), ("dtype", DTYPES)):
            if getattr(self, name) not in allowed:
                raise _wrong(name, getattr(self, name), f"one of {', '.join(allowed)}")
        if not self.out.endswith(".jsonl"):
            raise _wrong("out", self.out, "the name of a .jsonl file")

    def resolved(self) -> dict[str, object]:
        """Everything that the texts depend on besides the model itself."""
        skipped = {"model", "out", "allow_pickle", "trust_remote_code"}
        return {f.name: getattr(self, f.name) for f in fields(self) if f.name not in skipped}


LONGEST_PROBE = 20_000
"""Characters of a text that is probed."""


@dataclass(frozen=True)
class ProbeConfig:
    """Settings of `audit probe`: which text, which dictionary, and what is shown of it.

    Raises:
        UsageError: a value makes no sense.
    """

    run: str
    """Run folder of a finished `audit compare` that trained dictionaries; nothing in it is changed."""
    text: str
    """Text that both models read, as plain text without a chat around it."""
    hook: str | None = None
    """Hook point, as the run names it; default: the first of the run."""
    latent: tuple[int, ...] = ()
    """Latent that is shown whatever it does; may be repeated."""
    top: int = 12
    """Latents shown besides."""
    order: Literal["strongest", "difference"] = "strongest"
    """Which these are: with the strongest activation in either model, or with the largest difference."""
    device: str = "auto"
    """cpu, cuda or cuda:N; auto: a GPU if there is one."""

    def __post_init__(self) -> None:
        for name, wrong, wanted in (
            ("text", not self.text.strip(), "a text that is not empty"),
            ("text", len(self.text) > LONGEST_PROBE, f"at most {LONGEST_PROBE:,} characters"),
            ("top", not 0 <= self.top <= 200, "0 to 200"),
            ("order", self.order not in ("strongest", "difference"), "strongest or difference"),
        ):
            if wrong:
                said = "" if name == "text" else f", not {getattr(self, name)!r}"
                problem = f"{name} must be {wanted}{said}."
                raise UsageError(problem, where=f"--{name}", fix="change the setting")
