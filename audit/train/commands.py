"""`audit train METHOD`: one command per file of `training/objectives/`, made when it is asked for.

The commands are not made before, because reading the methods imports torch and `audit --help` must not.
"""

from __future__ import annotations

import difflib
import os
from collections.abc import Callable
from dataclasses import fields
from functools import partial
from importlib.util import find_spec
from pkgutil import iter_modules
from typing import Any

import typer
from typer.core import TyperGroup

from audit.errors import UsageError
from audit.options import JSON, keyword, parameter_of, with_signature
from audit.train.config import PREFERENCE_METHODS, TrainMethodConfig, TrainPreferencesConfig

HIDDEN = ("objective", "settings")
"""Fields that the command's name and the method's own options stand for."""


class MethodCommands(TyperGroup):
    """The commands that were written, and one per method."""

    def list_commands(self, ctx: Any) -> list[str]:
        """Names of all commands."""
        return sorted({*super().list_commands(ctx), *method_names(), *PREFERENCE_METHODS})

    def get_command(self, ctx: Any, cmd_name: str) -> Any:
        """The command of a name; a method's is made now."""
        found = super().get_command(ctx, cmd_name)
        name = cmd_name.replace("-", "_")
        if found is None and name in method_names():
            found = _command(name, method_command(name))
        if found is None and cmd_name in PREFERENCE_METHODS:
            found = _command(cmd_name, preference_command(cmd_name))
        return found

    def resolve_command(self, ctx: Any, args: list[str]) -> Any:
        """The command that the arguments name; for an unknown one, the nearest is suggested."""
        from audit.terminal import show_error

        if args and not args[0].startswith("-") and self.get_command(ctx, args[0]) is None:
            show_error(unknown_method(args[0], self.list_commands(ctx)).lines())
            raise typer.Exit(1)
        return super().resolve_command(ctx, args)


def method_names() -> list[str]:
    """Names of the methods: the files of `training/objectives/`, read without importing them."""
    package = find_spec("training.objectives")
    folders = package.submodule_search_locations if package is not None else None
    return [module.name for module in iter_modules(folders)]


def unknown_method(name: str, known: list[str]) -> UsageError:
    """The error of a method that there is not, with the nearest name."""
    near = difflib.get_close_matches(name.lower().replace("-", "_"), known, n=1, cutoff=0.5)
    meant = f"did you mean {near[0]!r}? " if near else ""
    return UsageError(
        f"There is no training method called {name!r}.",
        where=f"audit train {name}",
        fix=f"{meant}choose among: {', '.join(known)}",
    )


def method_command(name: str) -> Callable[..., None]:
    """The body of `audit train NAME`, with the loop's options and the method's own."""
    from training.registry import OBJECTIVES

    found = OBJECTIVES.find(name)
    shared_names = {field.name for field in fields(TrainMethodConfig)}
    # A setting that the method leaves to the loop (None) is the loop's option.
    own = [f for f in fields(found) if not (f.default is None and f.name in shared_names)]
    own_names = {field.name for field in own}
    shared = [f for f in fields(TrainMethodConfig) if f.name not in {*HIDDEN, *own_names}]

    def command(json: bool = False, **values: Any) -> None:
        settings = {key: value for key, value in values.items() if key in own_names}
        rest = {key: value for key, value in values.items() if key not in own_names}
        lists = {key: tuple(value) for key, value in rest.items() if isinstance(value, list)}
        _run(TrainMethodConfig(objective=name, settings=settings, **{**rest, **lists}), json)

    def body() -> None: ...

    body.__name__ = name
    card = found.card
    body.__doc__ = f"{card.title or name} ({card.arxiv or 'no paper'}): {card.formula}"
    parameters = [parameter_of(TrainMethodConfig, field, field.name == "base") for field in shared]
    parameters += [parameter_of(found, field, False) for field in own]
    return with_signature(command, body, [*parameters, keyword("json", JSON, False)])


PREFERENCE_HELP = {
    "dpo": "Direct preference optimisation (2305.18290): learn from pairs of completions, without sampling",
    "reward-model": "A Bradley-Terry reward model (2203.02155), for --reward-model RUN/stages/train/reward",
    "sft": "Supervised training on the preferred completions",
}


def preference_command(name: str) -> Callable[..., None]:
    """The body of `audit train dpo`, `reward-model` or `sft`."""

    def command(json: bool = False, **values: Any) -> None:
        from audit.train.preferences import run_preferences

        lists = {key: tuple(value) for key, value in values.items() if isinstance(value, list)}
        config = TrainPreferencesConfig(objective=name, **{**values, **lists})
        _shown(partial(run_preferences, config), json)

    def body() -> None: ...

    body.__name__, body.__doc__ = name, PREFERENCE_HELP[name]
    unused = {"objective", *(() if name == "dpo" else ("beta",))}
    shared = [field for field in fields(TrainPreferencesConfig) if field.name not in unused]
    parameters = [parameter_of(TrainPreferencesConfig, field, field.name == "base") for field in shared]
    return with_signature(command, body, [*parameters, keyword("json", JSON, False)])


def _run(config: TrainMethodConfig, json: bool) -> None:
    from audit.train.run import run_train

    _shown(partial(run_train, config), json)


def _shown(run_it: Callable[[Any], Any], json: bool) -> None:
    """Runs with a progress bar and prints what came out; under torchrun only the first process speaks."""
    from audit.commands.shared import print_json
    from audit.progress import Silent
    from audit.show import print_run, summary_of
    from audit.terminal import TerminalProgress, output_console

    first = int(os.environ.get("RANK", "0")) == 0
    run = run_it(TerminalProgress() if first else Silent())
    if first and json:
        print_json(summary_of(run.path))
    elif first:
        print_run(run.path, output_console())


def _command(name: str, body: Callable[..., None]) -> Any:
    from audit.commands.shared import guarded

    one = typer.Typer(
        add_completion=False,
        rich_markup_mode=None,
        pretty_exceptions_enable=False,
        context_settings={"help_option_names": ["-h", "--help"]},
    )
    one.command(name)(guarded(body))
    return typer.main.get_command(one)
