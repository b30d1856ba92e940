"""`audit show` and `audit verify`: reads a run folder and prints; knows the kinds of run."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

from rich.console import Console
from rich.table import Table
from rich.text import Text

from audit.attack.summary import attack_summary, print_attack
from audit.errors import RunFolderError
from audit.evidence.run import RunFolder, open_run
from audit.evidence.verify import Verification, verify_run
from audit.selftest.summary import print_selftest, selftest_summary
from audit.summary import compare_summary, print_compare
from audit.terminal import printable

if TYPE_CHECKING:
    from reports.verify import ReportVerification


def summary_of(path: Path) -> dict[str, Any]:
    """A finished run as one JSON object."""
    run = finished(path)
    kinds = {"compare": compare_summary, "attack": attack_summary, "selftest": selftest_summary}
    return kinds.get(run.manifest().kind, _generic_summary)(run)


def print_run(path: Path, console: Console) -> None:
    """A finished run for people."""
    run = finished(path)
    kinds = {"compare": print_compare, "attack": print_attack, "selftest": print_selftest}
    kinds.get(run.manifest().kind, _print_generic)(run, console)


def verification_of(path: Path) -> Verification:
    """Every check of `audit verify` on the run in this folder."""
    return verify_run(open_run(path))


def print_verification(path: Path, found: Verification, console: Console) -> None:
    """Says what was checked, and everything that is wrong."""
    for problem in found.problems:
        console.print(Text("· " + printable(problem), style="red"))
    if found.passed:
        text = f"verified: {found.files} files and {found.claims} claims are as they were written"
        console.print(Text(text, style="green"))
        console.print(
            Text("manifest SHA-256, to be kept elsewhere, since a forgery can be consistent:", style="dim")
        )
        console.print(Text(found.manifest, style="dim"))
    else:
        console.print(Text(f"not verified: {len(found.problems)} problem(s) in {path}", style="bold red"))


def print_report_verification(path: Path, found: ReportVerification, console: Console) -> None:
    """Says what was checked in a report, everything that is wrong, and what no check can tell."""
    for problem in found.problems:
        console.print(Text("· " + printable(problem), style="red"))
    if found.passed:
        text = f"verified: {found.numbers} numbers on {found.pages} pages are those of {found.claims} claims"
        console.print(Text(text, style="green"))
        console.print(Text("manifest SHA-256, to be compared with one that was kept elsewhere:", style="dim"))
        console.print(Text(found.manifest, style="dim"))
    else:
        console.print(Text(f"not verified: {len(found.problems)} problem(s) in {path}", style="bold red"))
    for note in found.notes:
        console.print(Text(f"not shown: {note}", style="dim"))


def finished(path: Path) -> RunFolder:
    run = open_run(path)
    unfinished = [name for name, state in run.manifest().stages.items() if state.status != "done"]
    if unfinished:
        raise RunFolderError(
            f"The run is not finished: {', '.join(unfinished)} still to do.",
            where=str(path),
            fix="run the command that began it again: it goes on where it was",
        )
    return run


def _generic_summary(run: RunFolder) -> dict[str, Any]:
    manifest = run.manifest()
    return {
        "run": str(run.path),
        "kind": manifest.kind,
        "base": manifest.base.reference,
        "stages": {name: run.result(name).model_dump(mode="json") for name in manifest.stages},
    }


def _print_generic(run: RunFolder, console: Console) -> None:
    found = _generic_summary(run)
    console.print(Text(f"{found['kind']} run on {found['base']}"))
    if run.manifest().miniature:
        console.print(Text("MINIATURE: every number in it is invented", style="bold yellow"))
    table = Table(show_edge=False, pad_edge=False, show_header=False)
    for stage, result in found["stages"].items():
        for name, value in result.items():
            table.add_row(Text(f"{stage}.{name}"), Text(printable(str(value))))
    console.print(table)
