"""Audits and what is done with their runs: compare, show, verify, published, intervene, probe, sample."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer
from rich.text import Text

from audit.commands.shared import RunArgument, guarded, print_json
from audit.config import CompareConfig, InterveneConfig, ProbeConfig, SampleConfig
from audit.options import JSON, command_of
from audit.terminal import TerminalProgress, output_console, printable

BEHAVIOUR = Annotated[str, typer.Option(help="Suite that stands for the behaviour of the papers.")]
REPORT = Annotated[Path, typer.Argument(help="Run folder, or a report.pdf.", show_default=False)]
OF_RUN = Annotated[
    Path | None, typer.Option("--run", help="For a report: the run folder that it must be of.")
]


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


@guarded
def show(run: RunArgument, json: JSON = False) -> None:
    """Print what a finished run found."""
    from audit.show import print_run, summary_of

    if json:
        print_json(summary_of(run))
    else:
        print_run(run, output_console())


@guarded
def verify(run: REPORT, of_run: OF_RUN = None, json: JSON = False) -> None:
    """Recompute a run's hashes and look up every claimed number; or check a PDF report."""
    if run.is_file():
        _verify_report(run, of_run, json)
        return
    from audit.show import print_verification, verification_of

    found = verification_of(run)
    if json:
        print_json({"passed": found.passed, **vars(found)})
    else:
        print_verification(run, found, output_console())
    if not found.passed:
        raise typer.Exit(1)


def _verify_report(pdf: Path, run: Path | None, json: bool) -> None:
    from audit.show import print_report_verification
    from reports.verify import verify_report

    found = verify_report(pdf, run)
    if json:
        print_json({"passed": found.passed, **vars(found)})
    else:
        print_report_verification(pdf, found, output_console())
    if not found.passed:
        raise typer.Exit(1)


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


@guarded
@command_of(ProbeConfig, positional=("run",))
def probe(config: ProbeConfig, json: bool) -> None:
    """Read one text with both models through a run's stored dictionary."""
    from audit.probe import print_probed, run_probe

    found = run_probe(config, TerminalProgress())
    if json:
        print_json(found.as_json())
    else:
        print_probed(found, output_console())


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
