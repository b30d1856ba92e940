"""Errors of `training`, told as errors of the audit."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from audit.errors import AuditError
from training.errors import TrainingError


@contextmanager
def training_errors() -> Iterator[None]:
    """Raises what `training` raises as an `AuditError` with the same three parts."""
    try:
        yield
    except TrainingError as error:
        raise AuditError(error.problem, where=error.where, fix=error.fix) from error
