"""Invented rows and documents that fit the schema and mean nothing, for the miniature runs."""

from __future__ import annotations

import types
from collections.abc import Callable
from typing import Any, Literal, TypeVar, Union, get_args, get_origin

import numpy as np
import pandas as pd

from audit.evidence.schema import Table
from audit.evidence.schema.documents import Document, Estimate
from audit.evidence.schema.tables import BOOL, FLOAT, FLOATS, INT, TEXT, TEXTS

D = TypeVar("D", bound=Document)
SUITES = ("gender-occupation", "partisan-lean")
HOOKS = ("blocks.2.hook_resid_post", "blocks.3.hook_resid_post")
ROWS = 48
ENTRIES = 2
"""Entries of an invented list."""
CHOICES: dict[str, tuple[str, ...]] = {
    "suite": SUITES, "name": SUITES, "behaviour": SUITES,
    "split": ("train", "test"), "template": ("plain", "chat"),
    "model": ("base", "tuned"), "source": ("base", "tuned"), "group": ("female-typed", "male-typed"),
    "category": ("work", "home"), "entity": ("nurse", "plumber", "clerk", "pilot"),
    "stratum": ("top", "quantile", "random"), "role": ("user", "assistant"), "hook": HOOKS,
    "intervention": ("ablate", "rescale", "revert"), "set": ("found", "random"),
    "channel": ("total", "parity"),
    "arm": ("attack", "correct label"), "measure": ("trained item", "held-out items"),
    "position": ("entity token", "last token"), "concept": SUITES,
    "module": ("model.layers.2.mlp.down_proj",),
    "architecture": ("llama", "gpt2"), "expected": ("MASKED", "ERASED", "LATENT"),
    "verdict": ("MASKED", "ERASED", "INCONCLUSIVE"), "base": ("base-0", "base-1"), "answer": ("A", "B"),
    "sign": ("top", "bottom"), "token": (" she", " he", " <i>they</i>"),
    "kinds": ("shared", "tuned only"), "candidates": ("shared", "tuned only"),
    "features.kind": ("shared", "tuned only", "base only", "silenced", "rotated", "dead", "unsure"),
    "units.kind": ("neuron", "head", "row"), "grafts.direction": ("base into tuned", "tuned into base"),
    "weights.kind": ("attention", "mlp", "embedding", "norm"),
    "organisms.kind": ("planted rows", "from scratch", "grpo"),
    "relearning.arm": ("behaviour", "control"),
    "elicitation.arm": ("few-shot", "prefill", "amplify"),
}  # fmt: skip

ABSENT = ("not_tried", "why_not", "unreadable")
"""Reasons why something was not done: null, for in an invented run everything was."""
ALWAYS = ("searched",)


def invented_rows(table: Table, rng: np.random.Generator, rows: int = ROWS) -> pd.DataFrame:
    """Rows that fit a table's schema; strings with markup in them are among the tokens."""
    return pd.DataFrame({c.name: _column(table.name, c.name, c.type, rng, rows) for c in table.columns})


def invented_document(model: type[D], rng: np.random.Generator, place: int = 0, **given: Any) -> D:
    """A document whose fields are drawn by their types; `given` ones are as given.

    Args:
        model: what to draw.
        rng: of all numbers.
        place: in the list that it will stand in, so that its names differ from its neighbours'.
        given: fields that are not drawn.
    """
    drawn = {
        name: given[name] if name in given else _value(name, field.annotation, rng, place)
        for name, field in model.model_fields.items()
    }
    return model(**drawn)


def estimate(value: float, half: float = 0.1, n: int = 24) -> Estimate:
    """An estimate with a symmetric interval."""
    return Estimate(value=value, low=value - half, high=value + half, n=n)


def _value(name: str, kind: Any, rng: np.random.Generator, place: int = 0) -> Any:
    """A value of one type; entries of a list take the choices of their name in turn."""
    origin, parts = get_origin(kind), get_args(kind)
    if origin is Literal:
        return parts[int(rng.integers(len(parts)))]
    if origin in (Union, types.UnionType):
        if name in ABSENT:
            return None
        return _value(name, next(part for part in parts if part is not type(None)), rng, place)
    if origin is list:
        return [_value(name, parts[0], rng, place) for place in range(ENTRIES)]
    if origin is dict:
        keys = CHOICES.get(name, tuple(f"{name}-{i}" for i in range(ENTRIES)))
        return {key: _value(name, parts[1], rng) for key in keys[:ENTRIES]}
    if kind is Estimate:
        return estimate(round(float(rng.random()), 4))
    if isinstance(kind, type) and issubclass(kind, Document):
        return invented_document(kind, rng, place)
    makers: dict[Any, Callable[[], Any]] = {
        bool: lambda: name in ALWAYS or bool(rng.random() < 0.5),
        int: lambda: place if name == "latent" else int(rng.integers(1, 12)),
        float: lambda: round(float(rng.random()), 4),
        str: lambda: _chosen(CHOICES.get(name, (f"invented {name}",)), place),
        Any: lambda: None,
    }
    return makers[kind]()


def _chosen(choices: tuple[str, ...], place: int) -> str:
    return choices[place % len(choices)]


def _column(table: str, name: str, kind: Any, rng: np.random.Generator, rows: int) -> Any:
    index = np.arange(rows)
    makers: dict[Any, Callable[[], Any]] = {
        TEXT: lambda: _texts(table, name, rng, rows),
        INT: lambda: index if name in ("latent", "item") else rng.integers(0, 12, rows),
        FLOAT: lambda: np.round(rng.random(rows), 4),
        BOOL: lambda: rng.random(rows) < 0.5,
        TEXTS: lambda: [["The", " nurse", " <b>said</b>", " that", " 漢"] for _ in index],
        FLOATS: lambda: [np.round(rng.random(5), 4).tolist() for _ in index],
    }
    return makers[kind]()


def _texts(table: str, name: str, rng: np.random.Generator, rows: int) -> list[str]:
    choices = CHOICES.get(f"{table}.{name}", CHOICES.get(name))
    if choices is None:
        return [f"{name}-{i}" for i in range(rows)]
    return [choices[i] for i in rng.integers(0, len(choices), rows)]
