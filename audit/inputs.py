"""What all stages of an audit share: settings, checkpoints, suites, and the models on demand."""

from __future__ import annotations

from dataclasses import dataclass, field
from functools import cached_property
from typing import TYPE_CHECKING, Any

from audit.config import CompareConfig
from audit.evidence.provenance import versions
from audit.pair.checkpoint import Checkpoint, LoadOptions
from audit.pair.preflight import Preflight
from audit.presets import PRESETS, Preset
from audit.progress import Progress, Silent

if TYPE_CHECKING:
    from audit.behaviours.suite import Suite
    from audit.pair.load import ModelPair


@dataclass
class AuditInputs:
    """Everything a stage may read."""

    config: CompareConfig
    base: Checkpoint
    tuned: Checkpoint
    preflight: Preflight
    suites: tuple[Suite, ...]
    progress: Progress = field(default_factory=Silent)

    @property
    def preset(self) -> Preset:
        """Counts of the chosen preset."""
        return PRESETS[self.config.preset]

    @cached_property
    def pair(self) -> ModelPair:
        """Both models in memory, loaded when a stage first asks: a finished run loads nothing."""
        from audit.pair.load import open_pair

        with self.progress.task("Loading the models"):
            return open_pair(
                self.base,
                self.tuned,
                dtype=self.config.dtype,
                device=self.config.device,
                options=LoadOptions(self.config.allow_pickle, self.config.trust_remote_code),
            )

    def key(self) -> dict[str, Any]:
        """What every stage's numbers depend on."""
        return {
            "base": self.base.identity,
            "tuned": self.tuned.identity,
            "dtype": self.config.dtype,
            "device": self.config.device,
            "versions": versions(),
            "batch_size": self.config.batch_size,
            "seed": self.config.seed,
            "preset": self.config.preset,
        }

    def close(self) -> None:
        """Frees the models, if they were loaded."""
        if "pair" in self.__dict__:
            self.pair.close()
            del self.__dict__["pair"]
