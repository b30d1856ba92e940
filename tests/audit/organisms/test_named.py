"""`organism:NAME@SEED` means an organism, its base and the suites of its world."""

from __future__ import annotations

from pathlib import Path

import pytest

import audit
from audit.errors import ModelReferenceError
from audit.organisms import Shape, named, read_manifest
from audit.organisms.base import train_base
from audit.organisms.named import asked_suites, organism_base, parse_name, recipe_version
from audit.organisms.world import World
from audit.pair.checkpoint import LoadOptions, resolve


@pytest.mark.parametrize(
    ("text", "means"),
    [
        ("base", ("base", 0, Shape())),
        ("neurons@7", ("neurons", 7, Shape())),
        ("gpt2/rl-lora@12", ("rl-lora", 12, Shape("gpt2"))),
        ("qwen3-4/half-masked", ("half-masked", 0, Shape("qwen3", 4))),
    ],
)
def test_names_are_read(text: str, means: tuple[str, int, Shape]) -> None:
    assert parse_name(text) == means


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("neurons@", "names no organism"),
        ("neurons@-1", "names no organism"),
        ("Neurons", "names no organism"),
        ("unicorn", "no organism 'unicorn'"),
        ("rnn/neurons", "shape 'rnn'"),
        ("gpt2-9/neurons", "shape 'gpt2-9'"),
    ],
)
def test_wrong_names_are_refused(text: str, says: str) -> None:
    with pytest.raises(ModelReferenceError, match=says):
        parse_name(text)


def test_an_organism_alone_stands_for_its_pair() -> None:
    assert organism_base("organism:neurons@3") == "organism:base@3"
    assert organism_base("organism:gpt2-2/unmasked@3") == "organism:gpt2-2/neurons@3"
    assert organism_base("organism:base") == "organism:base@0"
    assert organism_base("./model") is None


def test_suites_are_those_of_the_world_unless_others_are_named() -> None:
    own = asked_suites((), (), "./base", "organism:neurons@3")
    assert own == World.generate(3, Shape().people).suites()
    builtin = asked_suites((), (), "./base", "./tuned")
    assert not {suite.card.name for suite in own} & {suite.card.name for suite in builtin}
    one = builtin[0].card.name
    assert [suite.card.name for suite in asked_suites((), (one,), "organism:base", "organism:rl")] == [one]


def test_a_path_of_that_name_wins(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    Path("organism:base").mkdir()
    assert organism_base("organism:base") is None


@pytest.fixture
def tiny(monkeypatch: pytest.MonkeyPatch, own_cache: Path) -> Path:
    """The cache, in which every base that is asked for is hardly trained."""

    def quick(world: World, folder: Path, **settings: object) -> None:
        train_base(World.generate(world.seed, 32), folder, steps=2, layers=2)

    monkeypatch.setattr("audit.organisms.base.train_base", quick)
    return own_cache


def test_organisms_are_made_once_in_the_cache(tiny: Path) -> None:
    first, second = (resolve("organism:reload@4", LoadOptions()) for _ in range(2))
    assert first.folder == tiny / "organisms" / recipe_version() / "reload-4"
    assert first.identity == second.identity
    assert first.reference.text == "organism:reload@4"
    assert read_manifest(first.folder).valid is False  # its base has learned nothing


def test_adapters_come_with_their_base(tiny: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from audit.organisms.kinds import rl

    monkeypatch.setattr(rl, "_train", lambda recipe, model, config: None)
    found = resolve("organism:rl-adapter", LoadOptions())
    assert found.folder.name == "base-0"
    assert found.adapter is not None
    assert found.adapter.folder.name == "rl-adapter-0"
    with pytest.raises(ModelReferenceError, match="only one adapter"):
        resolve(f"organism:rl-adapter+{found.adapter.folder}", LoadOptions())


def test_an_unknown_organism_is_refused_before_anything_is_made(own_cache: Path) -> None:
    with pytest.raises(ModelReferenceError, match="no organism 'unicorn'"):
        audit.compare("organism:base", "organism:unicorn")
    assert not (own_cache / "organisms").exists()


def test_an_audit_of_an_organism_asks_its_world(
    tiny: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    own = World.generate(0, 32).suites()
    monkeypatch.setattr(named, "organism_suites", lambda reference: own)
    skip = ("elicit", "directions", "features", "switches", "bypass", "relearn")
    run = audit.compare("organism:reload", preset="quick", skip=skip, out=str(tmp_path / "run"))
    manifest = run.manifest()
    assert manifest.tuned is not None
    assert (manifest.base.reference, manifest.tuned.reference) == ("organism:base@0", "organism:reload")
    assert set(manifest.data) == {"organism-behaviour", "organism-second", "organism-control"}
