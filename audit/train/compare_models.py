"""`audit train compare --base MODEL`: the same comparison on a model and a suite's reward.

Every run is a run of `audit train METHOD` in a folder of its own, so each can be shown, verified and gone on
with. What is exact on the small tasks is sampled here: rewards are means of rollouts, and the divergence is
the KL to the reference per token of its own text.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, fields
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from audit.progress import Progress
from training.compare.config import ComparisonConfig

if TYPE_CHECKING:
    from audit.evidence.run import RunFolder
    from audit.train.config import TrainMethodConfig
    from training.compare.methods import Method
    from training.compare.summary import Interval

RATES = (1e-3, 3e-3)
"""Learning rates where none is asked for."""
HEADS = ("method", "rate", "reward [95 %]", "gain", "KL/token", "norm", "|r-1|", "cut")
LEGEND = (
    "reward: mean of rollouts over the last tenth of the batches, mean over seeds [95 % bootstrap]; gain: "
    "over the first tenth; KL/token: exact KL(reference || policy) on the reference's text, before the last "
    "step; norm: mean norm of the gradient before clipping; |r-1|: mean distance of the ratio from 1; cut: "
    "tokens without gradient"
)
"""What the columns mean."""


@dataclass(frozen=True)
class Asked:
    """Model and reward of a comparison."""

    base: str
    suite: str
    reward: Literal["auto", "pronoun-parity", "suite-parity"]
    new_tokens: int


@dataclass(frozen=True)
class Outcome:
    """What one run came to."""

    reward: float
    gain: float
    exact_kl: float
    gradient_norm: float
    ratio_distance: float
    cut: float


@dataclass(frozen=True)
class ModelRow:
    """One method at one learning rate, over seeds."""

    method: str
    learning_rate: float
    seeds: int
    reward: Interval
    gain: Interval
    exact_kl: Interval
    gradient_norm: Interval
    ratio_distance: Interval
    cut: Interval


def compare_models(
    asked: Asked, config: ComparisonConfig, folder: Path, progress: Progress
) -> list[ModelRow]:
    """Trains the model with every method, rate and seed; finished runs are not repeated.

    Raises:
        AuditError, TrainingError: something is wrong that the user can mend.
    """
    from audit.train.run import run_train
    from training.compare.methods import parse_methods
    from training.compare.summary import bootstrap

    rows = []
    for method in parse_methods(config.methods, config.staleness, config.advantage):
        for rate in config.learning_rate or RATES:
            runs = (run_train(c, progress) for c in _configs(asked, config, method, rate, folder))
            outcomes = [_outcome(run) for run in runs]
            means = {f.name: bootstrap([getattr(one, f.name) for one in outcomes]) for f in fields(Outcome)}
            rows.append(ModelRow(method.label, rate, len(outcomes), **means))
    return rows


def _configs(
    asked: Asked, config: ComparisonConfig, method: Method, rate: float, folder: Path
) -> Iterator[TrainMethodConfig]:
    from audit.train.config import TrainMethodConfig

    epochs = config.stale == "epochs"
    settings = {name: value for name, value in vars(method.objective).items() if value is not None}
    for seed in range(config.seeds):
        name = f"{method.label.replace(':', '-')}.{rate:g}.{seed}"
        yield TrainMethodConfig(
            base=asked.base,
            suite=asked.suite,
            reward=asked.reward,
            new_tokens=asked.new_tokens,
            inner_epochs=config.staleness + 1 if epochs else 1,
            staleness=0 if epochs else config.staleness,
            objective=method.card.name,
            settings=settings,
            advantage=method.advantage.name,
            steps=config.batches,
            prompts_per_step=config.groups,
            group_size=config.group_size,
            learning_rate=rate,
            final_learning_rate=1.0,
            gradient_clip=config.gradient_clip,
            seed=seed,
            out=str(folder / name),
        )


def _outcome(run: RunFolder) -> Outcome:
    steps, tokens = run.table("train", "train_steps"), run.table("train", "tokens")
    total = steps[steps["channel"] == "total"].sort_values("step")
    tenth = max(1, len(total) // 10)
    last = float(total["reward"].iloc[-tenth:].mean())
    return Outcome(
        reward=last,
        gain=last - float(total["reward"].iloc[:tenth].mean()),
        exact_kl=float(total["exact_kl"].iloc[-1]),
        gradient_norm=float(total["gradient_norm"].mean()),
        ratio_distance=float((tokens["ratio"] - 1).abs().mean()),
        cut=float((~tokens["keep"].astype(bool)).mean()),
    )


def cells(row: ModelRow) -> tuple[str, ...]:
    """A row as the texts of `HEADS`."""
    r = row.reward
    return (
        row.method,
        f"{row.learning_rate:g}",
        f"{r.value:.3f} [{r.low:.3f}, {r.high:.3f}]",
        f"{row.gain.value:+.3f}",
        f"{row.exact_kl.value:.4f}",
        f"{row.gradient_norm.value:.2f}",
        f"{row.ratio_distance.value:.3f}",
        f"{row.cut.value:.0%}",
    )
