"""`audit ...`: the commands of `audit.commands`, in the order of their help, and how the process ends."""

from __future__ import annotations

import sys

import typer

from audit.commands import audits, machine, release, selftest, training
from audit.commands.shared import Outcome, guarded, print_json

__all__ = ["app", "guarded", "main", "print_json"]

COMMANDS = (
    audits.compare,
    audits.show,
    audits.verify,
    release.dashboard,
    release.report,
    release.gate,
    release.export,
    training.attack,
    selftest.selftest,
    audits.probe,
    audits.published,
    audits.intervene,
    audits.sample,
    machine.doctor,
    machine.fetch,
)

app = typer.Typer(
    name="audit",
    help="Did training remove the behaviour, or only hide it?\n\n"
    "Audits a base model against its RLHF- or RL-trained child.\n\n"
    "Start with: audit compare demo --preset quick",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
    context_settings={"help_option_names": ["-h", "--help"]},
)
for command in COMMANDS:
    app.command()(command)
app.add_typer(training.train_app, name="train")


def main() -> None:
    """Entry point; usage errors exit with 1, since 2 means 'policy violated' (see `audit gate`)."""
    try:
        app()
    except Outcome:
        raise
    except SystemExit as end:
        if end.code == 2 and "--json" in sys.argv:
            fix = "see the message on stderr, or audit --help"
            print_json({"error": {"problem": "The command line is wrong.", "where": None, "fix": fix}})
        sys.exit(1 if end.code == 2 else end.code)
