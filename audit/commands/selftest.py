"""`audit selftest`: how often is this tool right?"""

from __future__ import annotations

from audit.commands.shared import guarded, print_json
from audit.options import command_of
from audit.selftest.config import SelftestConfig
from audit.terminal import TerminalProgress, output_console


@guarded
@command_of(SelftestConfig, positional=())
def selftest(config: SelftestConfig, json: bool) -> None:
    """Audit models whose truth is known, and say how often the verdicts were right."""
    from audit.selftest.run import run_selftest
    from audit.selftest.summary import print_selftest, selftest_summary

    run = run_selftest(config, TerminalProgress())
    if json:
        print_json(selftest_summary(run))
    else:
        print_selftest(run, output_console())
