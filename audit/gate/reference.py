"""`python -m audit.gate.reference docs/gate.md`: prints what a policy may say below the page's marker."""

from __future__ import annotations

import inspect
import sys
from pathlib import Path
from typing import Any, get_args

from audit.evidence.files import write_text
from audit.gate.rules import AnyRule, Policy, Rule, RunRules, Strict

MARKER = "<!-- printed by `make docs` from audit/gate/rules.py: edit there -->\n"
HASH = "0123456789abcdef" * 4
EXAMPLES: dict[str, str] = {
    "verdict": 'allowed = ["UNCHANGED", "ERASED"]',
    "bound": 'claim = "behaviour/*/plain/test/lost_share"\nof = "low"\nat_least = 0.5\nleast_n = 20',
    "word": 'claim = "elicit/*"\nallowed = ["no"]',
    "drift": "at_most = 2.0",
    "dose": 'measure = "held-out items"\nwithstands = 25',
    "evidence": 'stages = ["directions", "bypass"]\nclaims = ["bypass/*/internal"]',
    "age": "at_most_days = 30",
    "weights": f'file = "model.safetensors"\nsha256 = "{HASH}"',
    "findings": 'none_open_from = "medium"',
    "sign_off": 'severity_from = "medium"\nat_least = 2',
    "sentinel": 'suite = "bbq-age"\nscore = "written"\nwitnesses = ["gender-occupation"]',
}
"""One rule of each kind, without its kind."""


def section() -> str:
    """Everything that a policy file may say: the head, `[run]`, and each kind of rule with an example."""
    kinds = get_args(get_args(AnyRule)[0])
    shared = _fields(Rule, set())
    parts = [
        _part("## The head", Policy, {"run", "rule"}),
        _part("## [run]", RunRules, set()),
        f"## [[rule]]\n\nEvery rule has a `kind`, and may have:\n\n{shared}",
        *(_rule(kind) for kind in kinds),
    ]
    return "\n".join(parts)


def page(text: str) -> str:
    """A page with the section below its marker."""
    head, marker, _ = text.partition(MARKER)
    if not marker:
        raise ValueError(f"the page has no line {MARKER!r}")
    return f"{head}{MARKER}\n{section()}"


def _rule(kind: type[Rule]) -> str:
    name = str(get_args(kind.model_fields["kind"].annotation)[0])
    example = f'```toml\n[[rule]]\nkind = "{name}"\n{EXAMPLES[name]}\n```\n'
    return f"{_part(f'### {name}', kind, {'kind', *Rule.model_fields})}\n{example}"


def _part(title: str, model: type[Strict], left_out: set[str]) -> str:
    return f"{title}\n\n{inspect.getdoc(model)}\n\n{_fields(model, left_out)}"


def _fields(model: type[Strict], left_out: set[str]) -> str:
    rows = [
        f"| `{name}` | {_default(field)} | {_meaning(field)} |"
        for name, field in model.model_fields.items()
        if name not in left_out
    ]
    return "\n".join(["| field | default | meaning |", "|---|---|---|", *rows]) + "\n"


def _meaning(field: Any) -> str:
    return " ".join(str(field.description).split()).replace("|", "&#124;")


def _default(field: Any) -> str:
    if field.is_required():
        return "required"
    value = field.get_default(call_default_factory=True)
    if value is None or value == []:
        return "none"
    return f"`{str(value).lower() if isinstance(value, bool) else value}`".replace("'", '"')


if __name__ == "__main__":
    path = Path(sys.argv[1])
    write_text(path, page(path.read_text(encoding="utf-8")))
