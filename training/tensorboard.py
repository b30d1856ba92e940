"""Steps shown on TensorBoard, where TensorBoard is installed."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

from training.errors import TrainingError
from training.records import StepRecord


def logged(steps: Iterator[StepRecord], folder: Path) -> Iterator[StepRecord]:
    """The same steps, each written to TensorBoard's event files as it passes.

    Args:
        steps: of a run.
        folder: made if missing.

    Raises:
        TrainingError: neither tensorboard nor tensorboardX is installed.
    """
    writer = _writer(folder)
    try:
        for record in steps:
            for name, value in scalars(record).items():
                writer.add_scalar(name, value, record.step)
            yield record
    finally:
        writer.close()


def scalars(record: StepRecord) -> dict[str, float]:
    """A step's numbers by the names that TensorBoard groups them by."""
    channels = {f"reward/{c.channel}": c.reward for c in record.channels}
    spread = {f"reward_std/{c.channel}": c.std for c in record.channels}
    method = {f"method/{name}": value for name, value in record.diagnostics.items()}
    return {
        **channels,
        **spread,
        **method,
        **({} if record.exact_kl is None else {"loop/exact_kl": record.exact_kl}),
        "loop/loss": record.loss,
        "loop/gradient_norm": record.gradient_norm,
        "loop/learning_rate": record.learning_rate,
        "loop/dead_groups": record.dead_groups,
        "loop/seconds": record.seconds,
    }


def _writer(folder: Path) -> Any:
    for module in ("torch.utils.tensorboard", "tensorboardX"):
        try:
            found = __import__(module, fromlist=["SummaryWriter"])
        except ImportError:
            continue
        return found.SummaryWriter(str(folder))
    raise TrainingError(
        "TensorBoard is not installed", where="tensorboard", fix="pip install tensorboard, or leave it out"
    )
