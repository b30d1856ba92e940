"""What all commands share: how errors end, how JSON is printed, arguments that several have."""

from __future__ import annotations

import functools
import inspect
import json as jsonlib
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Annotated, Any

import typer

from audit.errors import AuditError, memory_errors
from audit.options import DEBUG, keyword, with_signature
from audit.terminal import show_error, show_traceback
from sae.errors import SAEError
from training.errors import TrainingError

RunArgument = Annotated[Path, typer.Argument(help="Run folder.", show_default=False)]


class Outcome(SystemExit):
    """An exit code that is an answer and no error, so that 2 can mean 'policy violated'."""


def guarded(body: Callable[..., None]) -> Callable[..., None]:
    """Users' mistakes end in a message and exit code 1, Ctrl-C in a word on how to go on and 130."""

    @functools.wraps(body)
    def command(*args: Any, debug: bool = False, **kwargs: Any) -> None:
        try:
            with memory_errors():
                body(*args, **kwargs)
        except (AuditError, SAEError, TrainingError) as caught:
            error = AuditError(caught.problem, where=caught.where, fix=caught.fix)
            if debug:
                show_traceback()
            if kwargs.get("json"):
                print_json({"error": {"problem": error.problem, "where": error.where, "fix": error.fix}})
            show_error(error.lines())
            raise typer.Exit(1) from None
        except KeyboardInterrupt:
            show_error(["stopped", "  do:    run the same command again: it goes on where it was"])
            raise typer.Exit(130) from None

    parameters = list(inspect.signature(body, eval_str=True).parameters.values())
    return with_signature(command, body, [*parameters, keyword("debug", DEBUG, False)])


def print_json(value: Any) -> None:
    """One JSON object on stdout."""
    sys.stdout.write(jsonlib.dumps(value, indent=2, ensure_ascii=False, allow_nan=False) + "\n")
