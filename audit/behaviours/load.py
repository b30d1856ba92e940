"""Where suites come from: built-in names, files, published benchmarks."""

from __future__ import annotations

from importlib import resources
from pathlib import Path

from audit.behaviours.bbq import load_bbq
from audit.behaviours.crows_pairs import load_crows_pairs
from audit.behaviours.files import read_suite
from audit.behaviours.persona import load_persona
from audit.behaviours.shipped import FOLDER, ON_REQUEST, builtin_suites, on_request_suites
from audit.behaviours.strongreject import load_strongreject
from audit.behaviours.suite import Suite
from audit.behaviours.truthfulqa import load_truthfulqa
from audit.behaviours.xstest import load_xstest
from audit.errors import SuiteError

LOADERS = {
    "bbq": load_bbq,
    "crows-pairs": load_crows_pairs,
    "persona": load_persona,
    "strongreject": load_strongreject,
    "truthfulqa": load_truthfulqa,
    "xstest": load_xstest,
}
"""Readers of published benchmarks, by what stands before the colon."""


def chosen_suites(files: tuple[str, ...], names: tuple[str, ...]) -> tuple[Suite, ...]:
    """The suites of `--suite` and `--behaviour`; without either, all built-in ones.

    Raises:
        SuiteError: a name is unknown, a file is malformed, or two suites share a name.
    """
    unknown = [name for name in names if name not in builtin_suites()]
    if unknown:
        raise SuiteError(
            f"There is no built-in behaviour {unknown[0]!r}.",
            where="--behaviour",
            fix=f"choose from {', '.join(builtin_suites())}, or give a file with --suite",
        )
    suites = tuple(load_suite(source) for source in (*names, *files) or builtin_suites())
    seen: set[str] = set()
    for suite in suites:
        if suite.card.name in seen:
            raise SuiteError(
                f"Two suites are called {suite.card.name!r}.",
                where="--suite/--behaviour",
                fix="give one of them another name in its card",
            )
        seen.add(suite.card.name)
    return suites


def load_suite(source: str) -> Suite:
    """The suite that a name, a file or a loader's address stands for.

    Args:
        source: name of a suite that comes with the package, path of a suite file, or
            LOADER:PATH_OR_HUB_ID[@revision][#category] with one of `LOADERS`.

    Raises:
        SuiteError: nothing is there, or it is malformed.
    """
    loader, colon, address = source.partition(":")
    if colon and loader in LOADERS:
        return LOADERS[loader](address)
    for folder, names in ((FOLDER, builtin_suites()), (ON_REQUEST, on_request_suites())):
        if source in names:
            with resources.as_file(folder / f"{source}.jsonl") as path:
                return read_suite(path)
    return read_suite(Path(source))
