"""Running out of memory, told as the setting to lower."""

from __future__ import annotations

import re
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from training.errors import TrainingError

OUT_OF_MEMORY = re.compile("out of memory|not enough memory|can't allocate memory", re.IGNORECASE)


@contextmanager
def memory_for(what: str, settings: object, *names: str) -> Iterator[None]:
    """Says which settings to lower where memory runs out inside the block, on the CPU or on a GPU.

    Args:
        what: what was being done.
        settings: the object that holds the settings.
        names: those that decide its memory, the most useful first; numbers already at 1 are not named.

    Raises:
        TrainingError: memory ran out.
    """
    try:
        yield
    except (MemoryError, RuntimeError) as error:
        if not isinstance(error, MemoryError) and not OUT_OF_MEMORY.search(str(error)):
            raise
        values: dict[str, Any] = {name: getattr(settings, name) for name in names}
        lower = [f"{name} (now {value})" for name, value in values.items() if value != 1]
        raise TrainingError(
            f"there is not enough memory for {what}",
            where=str(error).strip().split("\n", maxsplit=1)[0][:200] or None,
            fix=f"lower {' or '.join(lower)}" if lower else "use a smaller model or a larger machine",
        ) from error
