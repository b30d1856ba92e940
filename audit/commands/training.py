"""How models are made and broken: train, attack."""

from __future__ import annotations

import typer

from audit.attack.config import AttackConfig
from audit.commands.shared import guarded, print_json
from audit.options import command_of
from audit.terminal import TerminalProgress, output_console
from audit.train.commands import MethodCommands
from audit.train.compare_methods import MethodsConfig

train_app = typer.Typer(
    cls=MethodCommands, help="Make a tuned model from a base, with a record of how.", no_args_is_help=True
)


@train_app.command("compare")
@guarded
@command_of(MethodsConfig)
def train_compare(config: MethodsConfig, json: bool) -> None:
    """Hold methods against each other on small exact tasks, under equal seeds, rates and staleness."""
    from audit.train.compare_methods import print_compare_methods, run_compare_methods

    found = run_compare_methods(config, TerminalProgress())
    if json:
        print_json(found.as_json())
    else:
        print_compare_methods(found, output_console())


@guarded
@command_of(AttackConfig, positional=("model",))
def attack(config: AttackConfig, json: bool) -> None:
    """Attack your own model with one biased example: which dose undoes its alignment?"""
    from audit.attack.run import run_attack
    from audit.attack.summary import attack_summary, print_attack

    run = run_attack(config, TerminalProgress())
    if json:
        print_json(attack_summary(run))
    else:
        print_attack(run, output_console())
