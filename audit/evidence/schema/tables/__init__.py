"""Every table of a run folder: what one row is, its columns, their types and meaning.

`TABLES` is the one definition. Stages write through it, dashboards and reports read through it, and
`docs/run_folder.md` is printed from it by `make docs`.
"""

from __future__ import annotations

from audit.evidence.schema.tables.causal import (
    DOSES,
    GRAFTS,
    RELEARNING,
    UNITS,
)
from audit.evidence.schema.tables.directions import (
    DIRECTIONS,
)
from audit.evidence.schema.tables.features import (
    EXAMPLES,
    FEATURES,
    LATENT_EFFECTS,
    LOGITS,
)
from audit.evidence.schema.tables.outside import (
    DRIFT,
    ELICITATION,
    ITEMS,
    WEIGHTS,
)
from audit.evidence.schema.tables.table import (
    BOOL,
    FLOAT,
    FLOATS,
    INT,
    TEXT,
    TEXTS,
    Column,
    Table,
)
from audit.evidence.schema.tables.training import (
    ATTACK_DOSES,
    ORGANISMS,
    TOKENS,
    TRAIN_STEPS,
)

TABLES: dict[str, Table] = {
    table.name: table
    for table in (
        ITEMS, DRIFT, WEIGHTS, DIRECTIONS, ELICITATION, FEATURES, EXAMPLES, LOGITS, LATENT_EFFECTS, UNITS,
        GRAFTS, DOSES, RELEARNING, TRAIN_STEPS, TOKENS, ATTACK_DOSES, ORGANISMS,
    )
}  # fmt: skip
"""Every table by name."""

__all__ = [
    "ATTACK_DOSES",
    "BOOL",
    "DIRECTIONS",
    "DOSES",
    "DRIFT",
    "ELICITATION",
    "EXAMPLES",
    "FEATURES",
    "FLOAT",
    "FLOATS",
    "GRAFTS",
    "INT",
    "ITEMS",
    "LATENT_EFFECTS",
    "LOGITS",
    "ORGANISMS",
    "RELEARNING",
    "TABLES",
    "TEXT",
    "TEXTS",
    "TOKENS",
    "TRAIN_STEPS",
    "UNITS",
    "WEIGHTS",
    "Column",
    "Table",
]
