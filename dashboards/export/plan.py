"""Which pages a bundle holds, at which addresses, under which file names."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from audit.errors import AuditError
from dashboards import latents
from dashboards.app import PAGES, Entry
from dashboards.export.snapshot import Link
from dashboards.store import Store, open_store

SERVER_ONLY = ("home", "probe", "report", "compare", "feature")
"""Pages that are no copy of one run: they need a server, stand at the front, or are made latent by latent."""
FANNED = ("behaviour", "hook")
"""Choices of which each gets a file of its own."""
MOST_CARDS = 300
"""Cards of one bundle and run: those with texts whose change is strongest."""


@dataclass(frozen=True)
class Planned:
    """One file of a bundle."""

    page: str
    address: tuple[tuple[str, str], ...]
    file: str
    title: str

    @property
    def key(self) -> Link:
        """What a link to it says."""
        return Link(self.page, frozenset(self.address))


@dataclass(frozen=True)
class Card:
    """A latent that gets a card."""

    hook: str
    latent: int


def pages_of(number: int) -> list[Planned]:
    """The pages of one run, before their choices are known."""
    return [Planned(e.name, (), f"run-{number}/{e.name}.html", e.title) for e in _entries()]


def _entries() -> list[Entry]:
    from importlib.util import find_spec

    return [e for e in PAGES if e.name not in SERVER_ONLY and find_spec(f"dashboards.pages.{e.name}")]


def fanned(planned: Planned, name: str, options: Sequence[str]) -> list[Planned]:
    """One file per option of a choice; the first keeps the page's own file name."""
    stem = planned.file.removesuffix(".html")
    return [
        Planned(
            planned.page, ((name, option),), planned.file if i == 0 else f"{stem}-{i + 1}.html", planned.title
        )
        for i, option in enumerate(options)
    ]


def cards_of(path: Path, number: int) -> list[Planned]:
    """The cards of one run: latents with texts, the strongest first where there are too many."""
    try:
        store = open_store(path)
        found = list(_cards(store))
        store.close()
    except AuditError:
        return []
    hooks = list(dict.fromkeys(card.hook for card in found))
    return [
        Planned(
            "feature",
            (("hook", card.hook), ("latent", str(card.latent))),
            f"run-{number}/latent-{hooks.index(card.hook) + 1}-{card.latent}.html",
            f"Latent {card.latent}",
        )
        for card in found
    ]


def _cards(store: Store) -> Iterator[Card]:
    if not store.has("features"):
        return
    for hook in latents.hooks(store):
        described = latents.described(store, hook)
        chosen = latents.rows(store, hook, described)["latent"].head(MOST_CARDS)
        yield from (Card(hook, int(latent)) for latent in sorted(chosen))
