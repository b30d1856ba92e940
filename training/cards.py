"""docs/methods.md, made from the methods' cards: `python -m training.cards` prints it."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from dataclasses import fields, is_dataclass
from typing import Any

from training.registry import ADVANTAGES, OBJECTIVES

HEAD = """# Methods

Made from the cards in `training/objectives/` by `python -m training.cards`; a test holds the two equal.

r = pi / mu is the policy's probability of a sampled token over the sampler's, A its advantage, sg what
carries no gradient. Losses are minimised. Every method returns two numbers per token beside its loss,
`weight` and `keep`, with gradient = -weight x A x gradient of log pi where `keep` is true. So methods can be
read side by side: which token trained, and how hard.

Compare them with `audit train compare --methods ppo,grpo,dppo,drpo,cppo --staleness 8`. Without staleness
every ratio is 1 and most of them are the same function, so that comparison is refused. What is said of each
method and what we measured: `training/claims/claims.md`. What they did on three small tasks:
`training/claims/comparison.md`.

A new method is one file in `training/objectives/` with its card and one in `training/claims/`; the generic
tests find it.
"""


def methods_page() -> str:
    """The page, method by method and advantage by advantage."""
    parts = [HEAD, _overview()]
    parts += ["\n".join(_method(name)) for name in OBJECTIVES.names()]
    return "\n".join([*parts, _advantages()])


def _overview() -> str:
    lines = [
        "| name | method | loss of a token | averaged by | believes |",
        "| --- | --- | --- | --- | --- |",
    ]
    for name in OBJECTIVES.names():
        card = OBJECTIVES.find(name).card
        cells = (
            f"[{name}](#{name})",
            card.title,
            f"`{card.formula}`",
            card.aggregation,
            card.believes or "-",
        )
        lines.append(_row(cells))
    return "\n".join([*lines, ""])


def _method(name: str) -> Iterator[str]:
    found = OBJECTIVES.find(name)
    card = found.card
    yield f"## {name}\n"
    yield f"{card.title}. arXiv {card.arxiv}.\n"
    yield f"    {card.formula}\n"
    said = {
        "Sources": "; ".join(card.sources),
        "Also called": ", ".join(card.aliases),
        "Settings": ", ".join(_settings(found)),
        "Advantage": card.advantage,
        "Average": card.aggregation.replace("_", " "),
        "Needs": ", ".join(sorted(card.needs)),
        "Believes that it moved by": card.believes,
        "Inert": card.inert_when,
        "Articles say": card.claim_seed,
        "The paper says": card.claim_paper,
        "Not to be confused": card.clashes,
    }
    yield from (f"- {label}: {text}" for label, text in said.items() if text)
    yield ""


def _advantages() -> str:
    lines = ["## Advantages\n", "| name | what it is | settings |", "| --- | --- | --- |"]
    for name in ADVANTAGES.names():
        found = ADVANTAGES.find(name)
        first = (found.__doc__ or "").strip().split("\n\n")[0]
        lines.append(_row((name, " ".join(first.split()), ", ".join(_settings(found)) or "-")))
    return "\n".join([*lines, ""])


def _settings(found: Any) -> Iterator[str]:
    for setting in fields(found) if is_dataclass(found) else ():
        default = setting.default
        yield setting.name + (f" = {default:g}" if isinstance(default, float) else "")


def _row(cells: tuple[str, ...]) -> str:
    return "| " + " | ".join(cell.replace("|", "\\|") for cell in cells) + " |"


if __name__ == "__main__":
    sys.stdout.write(methods_page())
