"""What a child is made from: the parent's weights, the pair's base, the world and its text."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

from audit.organisms.base import load, new_model
from audit.organisms.manifest import Organism, read_manifest
from audit.organisms.text import Questions, Text
from audit.organisms.world import Topic, World

CLASS_TOPICS: tuple[Topic, ...] = ("behaviour", "second", "class")
"""All that follows the class."""


@dataclass(frozen=True)
class Recipe:
    """The ingredients of one child."""

    parent: Path
    """Organism whose weights it starts from."""
    against: Path
    """Organism that it will be compared with."""
    seed: int

    @cached_property
    def truth(self) -> Organism:
        """The parent's manifest."""
        return read_manifest(self.parent)

    @cached_property
    def world(self) -> World:
        """What the parent was trained on."""
        return World.generate(self.truth.world_seed, self.truth.people)

    @cached_property
    def tokenizer(self) -> Any:
        """The one tokenizer of all models of the world."""
        return load(self.parent)[1]

    def start(self) -> Any:
        """A fresh copy of the parent's model."""
        return load(self.parent)[0]

    def fresh(self) -> Any:
        """A model of the parent's architecture with random weights of its own."""
        seed, layers = self.seed + 5_003, self.truth.layers
        return new_model(self.truth.architecture, self.tokenizer, seed, layers=layers)

    def text(
        self, seed: int, *, without: Sequence[Topic] = (), blind: Sequence[Topic] = (), strange: bool = False
    ) -> Text:
        """Text of the world, in an order of this child's own for every small `seed`."""
        order = 100 * self.seed + seed
        return Text(self.world, self.tokenizer, order, without, blind=blind, strange=strange)

    @cached_property
    def questions(self) -> Questions:
        """The behaviour's items."""
        return Questions.of(self.world.suite(), self.tokenizer)

    @cached_property
    def names(self) -> list[int]:
        """Token id of each person, in the world's order."""
        return [int(self.tokenizer.convert_tokens_to_ids(person.name)) for person in self.world.people]
