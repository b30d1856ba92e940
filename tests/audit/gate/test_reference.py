"""docs/gate.md is what the code says, and everything in it can be read."""

from __future__ import annotations

import re
from pathlib import Path
from typing import get_args

import pytest

from audit.gate.evaluate import CHECKS
from audit.gate.outcome import EXIT_CODES
from audit.gate.policy import read_policy
from audit.gate.reference import EXAMPLES, page, section
from audit.gate.rules import AnyRule

ROOT = Path(__file__).resolve().parents[3]
DOCS = ROOT / "docs" / "gate.md"


def test_the_page_is_what_the_rules_print() -> None:
    text = DOCS.read_text(encoding="utf-8")
    assert page(text) == text, "python -m audit.gate.reference docs/gate.md"
    with pytest.raises(ValueError, match="has no line"):
        page("nothing")


def test_every_kind_of_rule_has_a_check_an_example_and_a_meaning_for_each_field() -> None:
    kinds = {
        get_args(kind.model_fields["kind"].annotation)[0]: kind for kind in get_args(get_args(AnyRule)[0])
    }
    assert set(kinds) == set(CHECKS) == set(EXAMPLES)
    for kind in kinds.values():
        for name, field in kind.model_fields.items():
            assert name == "kind" or (field.description and f"| `{name}` |" in section())


@pytest.mark.parametrize("kind", EXAMPLES)
def test_every_example_is_a_rule(kind: str, tmp_path: Path) -> None:
    (example,) = re.findall(rf'```toml\n(\[\[rule\]\]\nkind = "{kind}"\n.*?)```', section(), flags=re.DOTALL)
    path = tmp_path / "policy.toml"
    path.write_text(f'format = 1\ntitle = "t"\n{example}')
    (rule,) = read_policy(path).policy.rule
    assert rule.kind == kind


def test_the_links_lead_somewhere_and_the_exit_codes_are_the_programs() -> None:
    text = DOCS.read_text(encoding="utf-8")
    for link in re.findall(r"\]\((\.\./[^)]+)\)", text):
        assert (DOCS.parent / link).is_file(), link
    listed = {int(code) for code in re.findall(r"^\| (\d) \|", text, flags=re.MULTILINE)}
    assert listed == {1, *EXIT_CODES.values()}
