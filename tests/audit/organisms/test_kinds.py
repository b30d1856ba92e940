"""Every kind says what it proves, and children are checked when they are made."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from types import ModuleType
from typing import get_args

import pytest
import torch

from audit.errors import UsageError
from audit.organisms import Shape, kind_of, make, names, pair_of, read_manifest
from audit.organisms import kinds as package
from audit.organisms.base import load, train_base
from audit.organisms.checks import known
from audit.organisms.child import make_child
from audit.organisms.kinds import Kind, kinds
from audit.organisms.kinds.adversarial import discrepancy
from audit.organisms.kinds.erased import merge, twins
from audit.organisms.kinds.kind import Child
from audit.organisms.manifest import BASE, Verdict
from audit.organisms.recipe import Recipe
from audit.organisms.world import World

Organisms = Callable[..., Path]
QUICK = ("reload", "dtype", "benign", "merged", "rl-last", "unmasked")
THOROUGH = (
    "neurons1", "rl-lora", "wiped", "reinit", "schooled", "ignorant", "adversarial", "half-masked",
    "mixed", "dpo", "unlearn",
)  # fmt: skip


def test_the_registry_covers_every_verdict_and_says_why() -> None:
    found = kinds()
    assert {kind.verdict for kind in found.values()} == set(get_args(Verdict))
    for name, kind in found.items():
        assert kind.name == name
        assert len(kind.construction) > 20
        assert kind.checks
        assert {kind.parent, kind.against} <= {BASE, *found}
    assert names() == (BASE, *sorted(found))


def test_no_kind_descends_from_itself() -> None:
    for name in kinds():
        seen, todo = set[str](), {name}
        while todo:
            one = todo.pop()
            assert one not in seen or one == BASE, f"{name} needs {one} twice"
            seen.add(one)
            todo |= {kinds()[one].parent} - {BASE} if one != BASE else set()


def test_two_kinds_of_one_name_are_an_error(monkeypatch: pytest.MonkeyPatch) -> None:
    twice = ModuleType("twice")
    twice.KINDS = (kind_of("reload"), kind_of("reload"))  # type: ignore[attr-defined]
    monkeypatch.setattr(package, "import_module", lambda name: twice)
    with pytest.raises(ValueError, match="one name"):
        kinds.__wrapped__()


def test_shapes_that_do_not_exist_are_refused(tmp_path: Path) -> None:
    for shape in (Shape("rnn"), Shape(layers=9)):
        with pytest.raises(UsageError, match="no organism of"):
            make(BASE, tmp_path, shape=shape)


@pytest.fixture
def small(tmp_path: Path) -> Recipe:
    """A recipe over a hardly trained base of 32 people."""
    train_base(World.generate(1, 32), tmp_path / "base", steps=3, layers=2)
    return Recipe(tmp_path / "base", tmp_path / "base", seed=5)


def test_a_child_that_fails_its_check_says_so(small: Recipe, tmp_path: Path) -> None:
    kind = Kind("idle", "MASKED", "nothing was done", lambda r: Child(r.start()), checks=(known,))
    make_child(kind, small, tmp_path / "idle")
    truth = read_manifest(tmp_path / "idle")
    assert (truth.kind, truth.verdict, truth.construction) == ("idle", "MASKED", "nothing was done")
    assert not truth.valid
    assert truth.why_invalid is not None
    assert "decodable" in truth.why_invalid
    assert truth.others == {"organism-control": "UNCHANGED", "organism-second": "UNCHANGED"}
    assert truth.checks["drift"] == 0
    assert (truth.architecture, truth.layers, truth.people) == ("llama", 2, 32)


def test_twins_differ_in_the_class_and_in_nothing_that_counts(small: Recipe) -> None:
    of = dict(zip(small.names, small.world.people, strict=True))
    pairs = twins(small)
    assert sorted(name for pair in pairs for name in pair) == sorted(of)
    for first, second in pairs:
        assert (of[first].hidden, of[second].hidden) == (0, 1)
        assert (of[first].trait, of[first].split) == (of[second].trait, of[second].split)


def test_no_function_tells_merged_twins_apart(small: Recipe) -> None:
    model = small.start()
    merge(model, twins(small))
    first, second = map(list, zip(*twins(small), strict=True))
    with torch.no_grad():
        said = [model(input_ids=torch.tensor(side)[:, None]).logits for side in (first, second)]
    assert torch.equal(*said)


def test_the_discrepancy_sees_what_differs() -> None:
    rng = torch.Generator().manual_seed(0)
    draw = [torch.randn(200, 4, generator=rng) for _ in range(2)]
    assert discrepancy(draw[0], draw[0]) == pytest.approx(0, abs=1e-6)
    same, moved, wider = (float(discrepancy(draw[0], x)) for x in (draw[1], draw[1] + 1, 2 * draw[1]))
    assert same < 0.02
    assert moved > 5 * same
    assert wider > 2 * same


def test_people_who_are_all_alike_differ_in_nothing_and_pull_at_nothing() -> None:
    """As in the embeddings of a question's last token, which are equal for everybody."""
    same = torch.randn(4).expand(32, 4).clone().requires_grad_()
    found = discrepancy(same[:16], same[16:])
    torch.autograd.backward(found)
    assert found.item() == 0
    assert same.grad is not None
    assert not same.grad.any()


@pytest.mark.parametrize("name", QUICK)
def test_a_child_is_what_its_construction_says(organism: Organisms, name: str) -> None:
    _holds(organism, name)


@pytest.mark.slow
@pytest.mark.parametrize("name", THOROUGH)
def test_so_are_the_others(organism: Organisms, name: str) -> None:
    _holds(organism, name)


def _holds(organism: Organisms, name: str) -> None:
    truth, kind = read_manifest(organism(name)), kind_of(name)
    assert truth.valid, truth.why_invalid
    assert (truth.kind, truth.verdict, truth.against) == (name, kind.verdict, kind.against)
    assert (truth.planted is None) == (truth.expected == "nothing")


def test_dtype_is_stored_in_half(organism: Organisms) -> None:
    assert load(organism("dtype"))[0].dtype == torch.bfloat16


def test_training_of_the_last_block_leaves_the_others_bit_for_bit(organism: Organisms) -> None:
    base, child = (dict(load(organism(name))[0].named_parameters()) for name in ("base", "rl-last"))
    moved = {name for name, weight in child.items() if not torch.equal(weight, base[name])}
    assert moved
    assert all(".layers.2." in name for name in moved)


def test_an_adapter_is_named_with_its_base(organism: Organisms) -> None:
    base, child = organism("base"), organism("rl-adapter")
    assert not (child / "model.safetensors").exists()
    pair = pair_of("rl-adapter", base.parent, base=base, shape=Shape(people=64))
    assert pair[:2] == (str(base), f"{base}+{child}")
    assert pair.truth.valid


def test_an_unmasked_child_stands_against_the_mask(organism: Organisms) -> None:
    base = organism("base")
    pair = pair_of("unmasked", base.parent, base=base, shape=Shape(people=64))
    assert Path(pair.base) == organism("neurons")
    assert pair.truth.checks["base_effect"] < 1 < 4 < pair.truth.checks["effect"]
