from __future__ import annotations

from pathlib import Path

from training.cards import methods_page
from training.registry import ADVANTAGES, OBJECTIVES

PAGE = Path(__file__).parents[2] / "docs" / "methods.md"


def test_the_page_is_what_the_cards_say() -> None:
    assert PAGE.read_text() == methods_page(), "python -m training.cards > docs/methods.md"


def test_every_method_and_advantage_is_on_it() -> None:
    page = methods_page()
    assert all(f"## {name}\n" in page for name in OBJECTIVES.names())
    assert all(f"| {name} |" in page for name in ADVANTAGES.names())
    assert "arXiv 2606.10968" in page
    assert "delta = 0.15" in page
