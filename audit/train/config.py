"""What `audit train METHOD` can be asked for: frozen dataclasses from which its commands are made."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, fields
from typing import Literal

from audit.config import TrainGRPOConfig
from audit.errors import UsageError
from training.config import LoopConfig, PreferenceConfig


@dataclass(frozen=True, kw_only=True)
class TrainMethodConfig(TrainGRPOConfig, LoopConfig):
    """Settings of `audit train METHOD`: those of `audit train grpo`, of the loop, and of the method."""

    objective: str = "grpo"
    """Method by its name in `training/objectives/`."""
    settings: Mapping[str, float] = field(default_factory=dict)
    """The method's own settings by name; those left out keep its defaults."""
    reward_model: str | None = None
    """Folder of a reward model that judges instead of --reward: RUN/stages/train/reward."""
    advantage: str = "card"
    """What the method is fed with, by its name in `training/advantages/`; card: what its paper uses."""
    backend: Literal["loop", "trl"] = "loop"
    """loop: the tool's own; trl: the same objective inside TRL's trainer, for FSDP, DeepSpeed and vLLM."""
    tensorboard: str | None = None
    """Folder for TensorBoard's event files, if TensorBoard is installed."""

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.backend not in ("loop", "trl"):
            raise UsageError(
                f"There is no backend {self.backend!r}.", where="--backend", fix="choose loop or trl"
            )

    def method(self) -> LoopConfig:
        """The settings of the loop alone."""
        return LoopConfig(**{f.name: getattr(self, f.name) for f in fields(LoopConfig)})

    def resolved(self) -> dict[str, object]:
        """Everything that the trained model depends on besides the base itself."""
        own = {f"{self.objective}.{name}": value for name, value in sorted(self.settings.items())}
        left_out = ("settings", "tensorboard")
        kept = {n: v for n, v in super().resolved().items() if n not in left_out and v is not None}
        return {**kept, **own}

    def plain(self) -> TrainGRPOConfig | None:
        """The same settings as `audit train grpo` on its own names them; None where they ask for more."""
        own = {f.name: getattr(self, f.name) for f in fields(TrainGRPOConfig)}
        simple = TrainMethodConfig(**own)
        return TrainGRPOConfig(**own) if simple.resolved() == self.resolved() else None


PREFERENCE_METHODS = ("dpo", "reward-model", "sft")
"""Methods that learn from pairs of completions and sample nothing."""


@dataclass(frozen=True, kw_only=True)
class TrainPreferencesConfig(PreferenceConfig):
    """Settings of `audit train dpo`, `reward-model` and `sft`: what learns from which preference pairs."""

    base: str
    """Model to train: hub id, folder, .gguf file, or 'demo' for the embedded base."""
    objective: str = "dpo"
    """dpo, reward-model or sft."""
    suite: str = "gender-occupation"
    """Suite whose training half gives the pairs: those that do not show the behaviour are preferred."""
    pairs: str | None = None
    """Instead of a suite: a JSONL file of objects with prompt, chosen and rejected."""
    form: Literal["plain", "chat", "both"] = "both"
    """Form of the suite's prompts; both: one after the other."""
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

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.objective not in PREFERENCE_METHODS:
            raise UsageError(
                f"{self.objective!r} does not learn from pairs.",
                where="objective",
                fix=f"choose {', '.join(PREFERENCE_METHODS)}",
            )

    def method(self) -> PreferenceConfig:
        """The settings of the loop alone."""
        return PreferenceConfig(**{f.name: getattr(self, f.name) for f in fields(PreferenceConfig)})

    def resolved(self) -> dict[str, object]:
        """Everything that the trained model depends on besides the base itself."""
        skipped = {"base", "out"}
        values = {f.name: getattr(self, f.name) for f in fields(self) if f.name not in skipped}
        kept = {name: value for name, value in values.items() if value is not None}
        return {name: list(v) if isinstance(v, tuple) else v for name, v in kept.items()}
