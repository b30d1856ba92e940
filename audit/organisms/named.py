"""`organism:[SHAPE/]NAME[@SEED]`: organisms as model references, made when first asked for.

A shape is an architecture with or without a number of layers (`gpt2`, `gpt2-4`), or `smollm2` for the
semi-real organisms.
"""

from __future__ import annotations

import hashlib
import re
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from audit.errors import ModelReferenceError
from audit.organisms import Shape, kind_of, make, names, read_manifest
from audit.organisms.manifest import BASE
from audit.organisms.real import ARCHITECTURE, LAYERS, PEOPLE, REAL_KINDS, TAUGHT, make_real
from audit.pair.cache import cache_root

if TYPE_CHECKING:
    from audit.behaviours.suite import Suite
    from audit.progress import Progress

SCHEME = "organism:"
FORM = re.compile(r"(?:(?P<shape>[a-z]+\d?(?:-\d)?)/)?(?P<name>[a-z0-9-]+)(?:@(?P<seed>\d{1,9}))?")
SHAPES = re.compile(r"(?P<architecture>llama|gpt2|gemma3|qwen3)(?:-(?P<layers>[234]))?")
FIX = "write organism:NAME, organism:NAME@SEED or organism:SHAPE/NAME@SEED, as in organism:gpt2-4/neurons@7"


class Named(NamedTuple):
    """What a reference to an organism means."""

    name: str
    seed: int
    shape: Shape

    @property
    def against(self) -> str:
        """Reference to the organism that this one is audited against."""
        if self.shape.architecture == ARCHITECTURE:
            return f"{SCHEME}{ARCHITECTURE}/{TAUGHT}@{self.seed}"
        base = kind_of(self.name).against if self.name != BASE else BASE
        usual = Shape()
        shape = f"{self.shape.architecture}-{self.shape.layers}/" if self.shape != usual else ""
        return f"{SCHEME}{shape}{base}@{self.seed}"


class Files(NamedTuple):
    """Where an organism lies."""

    folder: Path | None
    """Of the whole weights; None: those of the embedded base."""
    adapter: Path | None = None
    """Of the adapter on top of them."""


def parse_name(text: str) -> Named:
    """Reads what stands behind `organism:`.

    Raises:
        ModelReferenceError: it is malformed, or names no organism or shape.
    """
    where, found = SCHEME + text, FORM.fullmatch(text)
    if found is None:
        raise ModelReferenceError("this names no organism", where=where, fix=FIX)
    seed = int(found["seed"] or 0)
    if found["shape"] == ARCHITECTURE:
        _check_name(found["name"], tuple(REAL_KINDS), where)
        return Named(found["name"], seed, Shape(ARCHITECTURE, LAYERS, PEOPLE))
    shape = SHAPES.fullmatch(found["shape"] or "llama")
    if shape is None:
        problem = f"there are no organisms of shape {found['shape']!r}"
        raise ModelReferenceError(
            problem, where=where, fix="write llama, gpt2, gemma3, qwen3 or smollm2, or as gpt2-4"
        )
    _check_name(found["name"], names(), where)
    chosen = Shape(shape["architecture"], int(shape["layers"] or Shape().layers))
    return Named(found["name"], seed, chosen)


def _check_name(name: str, known: tuple[str, ...], where: str) -> None:
    if name not in known:
        problem = f"there is no organism {name!r}"
        raise ModelReferenceError(problem, where=where, fix=f"choose {', '.join(known)}")


def organism_files(text: str, progress: Progress) -> Files:
    """The files of the organism that `text` names, in the cache; made there if they are missing.

    Raises:
        ModelReferenceError: see `parse_name`.
        OutputError: the cache cannot be written.
    """
    asked, folder = parse_name(text), cache_root() / "organisms" / recipe_version()
    if asked.shape.architecture == ARCHITECTURE:
        with progress.task(f"Teaching the embedded model {text}, once") as advance:
            return Files(None, make_real(asked.name, folder / ARCHITECTURE, asked.seed, progress=advance))
    with progress.task(f"Making the organism {text}, once"):
        made = make(asked.name, folder, asked.seed, shape=asked.shape)
    if not read_manifest(made).adapter:
        return Files(made)
    return Files(make(kind_of(asked.name).parent, folder, asked.seed, shape=asked.shape), made)


def asked_suites(files: tuple[str, ...], behaviours: tuple[str, ...], *references: str) -> tuple[Suite, ...]:
    """The suites of `--suite` and `--behaviour`; without either an organism is asked those of its world.

    Where no reference is an organism's, all built-in suites.

    Raises:
        SuiteError: see `audit.behaviours.load.chosen_suites`.
        ModelReferenceError: see `parse_name`.
    """
    from audit.behaviours.load import chosen_suites

    if files or behaviours:
        return chosen_suites(files, behaviours)
    own = [organism_suites(reference) for reference in references]  # all, so that a wrong name is seen now
    return next(filter(None, own), ()) or chosen_suites((), ())


def organism_suites(reference: str) -> tuple[Suite, ...]:
    """The suites of an organism's world; none where the reference is no organism's."""
    from audit.organisms.world import World

    if not _is_organism(reference):
        return ()
    asked = parse_name(reference.removeprefix(SCHEME))
    return World.generate(asked.seed, asked.shape.people).suites()


def organism_base(reference: str) -> str | None:
    """The base that an organism named alone is audited against; None for any other reference."""
    return parse_name(reference.removeprefix(SCHEME)).against if _is_organism(reference) else None


def _is_organism(reference: str) -> bool:
    """Whether this names an organism; as everywhere, an existing path wins."""
    return reference.startswith(SCHEME) and not Path(reference).exists()


@cache
def recipe_version() -> str:
    """Hash of the code that makes organisms, so that a cache never hands out those of another version."""
    digest = hashlib.sha256()
    for path in sorted(Path(__file__).parent.rglob("*.py")):
        digest.update(path.read_bytes())
    return digest.hexdigest()[:12]
