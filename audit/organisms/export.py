"""A world as files that `audit compare` reads: its suites, and a corpus of its text."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import numpy as np

from audit.behaviours.suite import Suite
from audit.evidence.files import write_text
from audit.organisms.world import World


def write_suite(suite: Suite, path: Path) -> Path:
    """Writes a suite as a JSON-lines file for `--suite`; reading it gives the same suite."""
    lines = (json.dumps(line, ensure_ascii=False) for line in _lines(suite))
    write_text(path, "\n".join(lines) + "\n")
    return path


def write_corpus(world: World, path: Path, *, documents: int, sentences: int = 8, seed: int = 0) -> Path:
    """Writes text of a world as a JSON-lines file for `--corpus`, in an order that the seed gives."""
    rng = np.random.default_rng([world.seed, 4, seed])
    texts = (" ".join(world.document(rng, sentences)) for _ in range(documents))
    write_text(path, "".join(json.dumps({"text": text}) + "\n" for text in texts))
    return path


def _lines(suite: Suite) -> Iterator[dict[str, object]]:
    yield {"card": suite.card.model_dump(mode="json", exclude_none=True)}
    if suite.concept is not None:
        yield {"concept": suite.concept.model_dump(mode="json", exclude={"texts"})}
        for text in suite.concept.texts:
            yield {"concept_text": text.model_dump(mode="json")}
    for item in suite.items:
        yield {"item": item.model_dump(mode="json", exclude_none=True)}
