"""The names of what travels inside a PDF, and the gate's result as one of them."""

from __future__ import annotations

import json
from dataclasses import asdict
from typing import Any

from reports.content.gate import Gate, GateRow

SECTIONS, GATE = "report.json", "gate.json"


def gate_json(gate: Gate) -> bytes:
    """The gate's result as JSON."""
    return json.dumps(asdict(gate), indent=1, ensure_ascii=False).encode()


def gate_from(found: Any) -> Gate:
    """The gate's result read back.

    Raises:
        TypeError, KeyError: it is none.
    """
    rows = tuple(GateRow(**row) for row in found["rows"])
    return Gate(**{**found, "rows": rows})
