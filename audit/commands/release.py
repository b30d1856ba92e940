"""What a release needs: dashboard, report, gate."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer
from rich.text import Text

from audit.commands.shared import Outcome, RunArgument, guarded, print_json
from audit.gate.config import GateConfig
from audit.options import JSON, command_of
from audit.terminal import TerminalProgress, output_console, printable
from reports.config import ReportConfig

RUNS = Annotated[
    list[Path], typer.Argument(help="Run folders, or folders that hold some.", show_default=False)
]
ADDRESS = Annotated[
    str, typer.Option(help="Address to listen on; any but 127.0.0.1 lets others in, without a password.")
]
PORT = Annotated[int | None, typer.Option(help="Port to listen on; without it a free one.", min=1, max=65535)]
HEADLESS = Annotated[bool, typer.Option("--headless", help="Do not open a browser.")]
INSPECT = Annotated[Path, typer.Option(help="Folder for the Inspect logs.")]
EXPORT = Annotated[
    Path | None, typer.Option(help="Write the pages as files that open without a server, and end.")
]


@guarded
def dashboard(
    runs: RUNS,
    address: ADDRESS = "127.0.0.1",
    port: PORT = None,
    headless: HEADLESS = False,
    export: EXPORT = None,
    json: JSON = False,
) -> None:
    """Explore runs in a browser, or write the pages as files."""
    from dashboards import launch

    if export is None:
        launch.serve(runs, address=address, port=port, headless=headless, announce=_announce)
        return
    with TerminalProgress().task("Writing the pages"):
        folder = launch.export(runs, export)
    if json:
        print_json({"folder": str(folder)})
    else:
        output_console().print(Text(printable(f"open {folder / 'index.html'}")), soft_wrap=True)


def _announce(address: str) -> None:
    output_console().print(Text(f"dashboard at {address} (Ctrl-C ends it)"), soft_wrap=True)


@guarded
@command_of(ReportConfig, positional=("run",))
def report(config: ReportConfig, json: bool) -> None:
    """Write the report of a run: PDF, HTML, Markdown or JSON."""
    from reports.build import run_report

    with TerminalProgress().task("Writing the report"):
        path = run_report(config)
    if json:
        print_json({"path": str(path), "bytes": path.stat().st_size})
    else:
        output_console().print(Text(printable(f"{path} ({path.stat().st_size:,} bytes)")), soft_wrap=True)


@guarded
def export(run: RunArgument, inspect: INSPECT, json: JSON = False) -> None:
    """Write a run's items as Inspect logs, one per suite and model."""
    from audit.interchange.inspect import export_inspect

    written = [str(path) for path in export_inspect(run, inspect)]
    if json:
        print_json({"files": written})
    else:
        output_console().print(Text(printable("\n".join(written))), soft_wrap=True)


@guarded
@command_of(GateConfig, positional=("run",))
def gate(config: GateConfig, json: bool) -> None:
    """Hold a run against a policy: exit 0 pass, 2 violated, 3 inconclusive, 1 an error."""
    from audit.gate.run import run_gate
    from audit.gate.text import print_gate

    result = run_gate(config)
    if json:
        print_json(result.as_json())
    else:
        print_gate(result, output_console())
    raise Outcome(result.exit_code)
