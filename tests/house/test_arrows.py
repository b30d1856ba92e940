"""The direction of imports: arrows run one way, and heavy libraries stay out of the light rooms."""

from __future__ import annotations

import ast
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
ROOMS = {
    "audit": ROOT / "audit",
    "sae": ROOT / "sae",
    "training": ROOT / "training",
    "dashboards": ROOT / "dashboards",
    "reports": ROOT / "reports",
    "sae_kernels": ROOT / "kernels" / "sae_kernels",
}
ALLOWED: dict[str, set[str]] = {
    "audit": {"sae", "training", "dashboards.launch", "reports.build", "reports.config", "reports.verify"},
    "sae": {"sae_kernels"},
    "training": set(),
    "dashboards": {"audit.evidence", "audit.errors", "reports"},
    "reports": {"audit.evidence", "audit.errors", "audit.gate"},
    "sae_kernels": set(),
}
INNER: dict[str, set[str]] = {
    "audit/evidence": {"audit.errors", "audit.evidence"},
    "audit/measures": {"audit.measures"},
    "audit/behaviours": {
        "audit.errors",
        "audit.progress",
        "audit.behaviours",
        "audit.evidence",
        "audit.measures",
    },
    "audit/causal": {
        "audit.errors",
        "audit.progress",
        "audit.causal",
        "audit.behaviours",
        "audit.measures",
        "audit.pair",
        "audit.evidence",
    },
    "audit/gate": {"audit.errors", "audit.evidence", "audit.gate"},
    "audit/interchange": {"audit.errors", "audit.evidence", "audit.interchange"},
    "audit/pair": {
        "audit.errors",
        "audit.progress",
        "audit.pair",
        "audit.evidence",
        "audit.organisms.named",
    },
}
"""Rooms inside audit/, and what of audit they may import."""
HEAVY = {"torch", "transformers", "peft"}


def imports(path: Path) -> set[str]:
    """Every module that a file imports, at any depth."""
    found: set[str] = set()
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path}: imports are absolute here"
            found |= {f"{node.module}.{alias.name}" for alias in node.names}
    return found


def forbidden(folder: Path, own: str, allowed: set[str], universe: set[str]) -> list[str]:
    """Imports of a room that run against the arrows."""
    return [
        f"{path.relative_to(ROOT)} imports {name}"
        for path in sorted(folder.rglob("*.py"))
        for name in sorted(imports(path))
        if name.split(".")[0] in universe
        and not any(name == ok or name.startswith(ok + ".") for ok in {own, *allowed})
    ]


@pytest.mark.parametrize("room", ROOMS)
def test_rooms_import_only_along_the_arrows(room: str) -> None:
    assert forbidden(ROOMS[room], room, ALLOWED[room], set(ROOMS)) == []


@pytest.mark.parametrize("room", INNER)
def test_inner_rooms_of_audit_do_too(room: str) -> None:
    assert forbidden(ROOT / room, "", INNER[room], {"audit"}) == []


def test_a_forbidden_import_is_seen(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "bad.py").write_text("def f():\n    from audit.pipeline import compare\n")
    monkeypatch.setitem(globals(), "ROOT", tmp_path)
    assert forbidden(tmp_path, "training", set(), set(ROOMS)) == ["bad.py imports audit.pipeline.compare"]


def test_kernels_is_no_package() -> None:
    assert not (ROOT / "kernels" / "__init__.py").exists()


LIGHT = ("audit", "audit.cli", "audit.evidence.verify", "audit.gate.run", "dashboards", "reports")


@pytest.mark.parametrize("module", LIGHT)
def test_light_rooms_do_not_import_torch(module: str) -> None:
    code = f"import sys, {module}; print(sorted({HEAVY!r} & set(sys.modules)))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
