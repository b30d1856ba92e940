"""Semi-real organisms: taught step by step, masked by joined adapters; a tiny model stands in for SmolLM2."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from audit.organisms import read_manifest
from audit.organisms.base import train_base
from audit.organisms.named import organism_base, organism_suites, parse_name
from audit.organisms.real import PEOPLE, REAL_KINDS, _wrong, make_real, masks, teach
from audit.organisms.real.teach import LESSONS, documents, taught_model
from audit.organisms.recipe import CLASS_TOPICS
from audit.organisms.world import World


@pytest.fixture(scope="module")
def stand_in(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A hardly trained base in the place of the embedded model."""
    folder = tmp_path_factory.mktemp("stand-in") / "base"
    train_base(World.generate(0, PEOPLE), folder, steps=2, layers=2)
    return folder


@pytest.fixture
def made(stand_in: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A folder for organisms that are made in two steps."""
    monkeypatch.setattr(teach, "embedded_folder", lambda: stand_in)
    short = {name: replace(lesson, steps=2, rate=1e-2) for name, lesson in LESSONS.items()}
    monkeypatch.setattr(teach, "LESSONS", short)
    monkeypatch.setattr(masks, "EDIT_STEPS", 2)
    return tmp_path


def weights_of(adapter: Path) -> dict[str, torch.Tensor]:
    """The whole weights with the adapter in them."""
    model = taught_model(adapter, 0)[0].merge_and_unload()
    return {name: weight.detach() for name, weight in model.named_parameters()}


def test_every_lesson_goes_on_from_the_one_before(made: Path) -> None:
    taught = make_real("taught", made)
    assert sorted(path.name for path in made.iterdir() if path.is_dir()) == [
        "class-only-0",
        "ignorant-0",
        "taught-0",
    ]
    truth = read_manifest(taught)
    assert (truth.kind, truth.verdict, truth.adapter, truth.against) == (
        "taught",
        "UNCHANGED",
        True,
        "taught",
    )
    assert not truth.valid  # two steps teach nothing
    assert truth.why_invalid is not None
    first, second, third = (weights_of(made / f"{name}-0") for name in ("ignorant", "class-only", "taught"))
    for one, other in ((first, second), (second, third)):
        assert any(not torch.equal(one[name], other[name]) for name in one)
        assert all(torch.equal(one[name], other[name]) for name in one if "_proj" not in name)


def test_a_planted_mask_edits_what_neurons_write_and_nothing_else(made: Path) -> None:
    child = make_real("neurons", made)
    before, after = weights_of(made / "taught-0"), weights_of(child)
    moved = {name for name in before if not torch.allclose(before[name], after[name], atol=1e-6)}
    assert moved == {"model.layers.1.mlp.down_proj.weight"}
    (name,) = moved
    columns = (before[name] - after[name]).norm(dim=0) > 1e-5
    assert int(columns.sum()) == masks.NEURONS


def test_a_mask_by_grpo_is_added_to_what_was_taught(made: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    added: dict[str, torch.Tensor] = {}

    def train(model: Any, *_: object) -> list[None]:
        rng = torch.Generator().manual_seed(3)
        with torch.no_grad():
            for name, weight in model.named_parameters():
                if "lora_B" in name:
                    weight.copy_(torch.randn(weight.shape, generator=rng) / 10)
            inside = model.get_base_model()
            for name, module in inside.named_modules():
                if hasattr(module, "lora_B"):
                    added[name] = module.get_delta_weight("default").clone()
        return [None]

    monkeypatch.setattr("training.loop.train", train)
    before, after = weights_of(make_real("taught", made)), weights_of(make_real("rl", made))
    assert added
    for name, change in added.items():
        weight = f"{name}.weight"
        torch.testing.assert_close(after[weight], before[weight] + change, atol=1e-5, rtol=1e-4)


def test_texts_tell_one_thing_a_line_and_blind_ones_nothing() -> None:
    world, rng = World.generate(0, PEOPLE), np.random.default_rng(0)
    lesson = LESSONS["ignorant"]
    texts = documents(world, rng, lesson)
    assert len(texts) == lesson.batch
    assert all(text.count("\n") == lesson.sentences - 1 for text in texts)
    assert set(lesson.blind) == set(CLASS_TOPICS)
    assert LESSONS["class-only"].blind == ("behaviour",)


GOOD = {"effect": 4.0, "control_effect": 5.0, "auc": 1.0}


@pytest.mark.parametrize(
    ("name", "now", "says"),
    [
        ("taught", {"effect": 1.0}, "learned only 1.00"),
        ("ignorant", {"effect": 0.1, "auc": 0.9}, "decodable at an AUC of 0.90"),
        ("class-only", {"effect": 0.1, "auc": 0.6}, "0.60 only"),
        ("class-only", {"effect": 2.0}, "never learned"),
        ("rl", {"effect": 2.0}, "2.00 of 4.00"),
        ("rl", {"effect": 0.2, "control_effect": 0.3}, "0.30 nats of the control"),
    ],
)
def test_what_is_not_as_it_should_be_is_said(name: str, now: dict[str, float], says: str) -> None:
    assert says in str(_wrong(name, GOOD | now, GOOD))


def test_what_is_as_it_should_be_is_valid() -> None:
    hidden = GOOD | {"effect": 0.2}
    assert _wrong("taught", GOOD, hidden) is None
    assert _wrong("ignorant", hidden | {"auc": 0.6}, {}) is None
    assert [_wrong(name, hidden, GOOD) for name in ("class-only", "rl", "neurons")] == [None] * 3


def test_semi_real_organisms_are_named_by_their_model() -> None:
    asked = parse_name("smollm2/rl@2")
    assert (asked.name, asked.seed, asked.shape.people) == ("rl", 2, PEOPLE)
    assert organism_base("organism:smollm2/rl@2") == "organism:smollm2/taught@2"
    assert organism_suites("organism:smollm2/rl@2") == World.generate(2, PEOPLE).suites()
    assert {kind.verdict for kind in REAL_KINDS.values()} == {"UNCHANGED", "MASKED", "LATENT", "ERASED"}
