"""Is a file an earlier report of this tool? Only such a file is replaced."""

from __future__ import annotations

from pathlib import Path

HTML_MARK = '<meta name="generator" content="unmask report">'
MARKDOWN_MARK = "<!-- unmask report -->"
JSON_MARK = '{\n "format": 1,\n "run":'
HEAD = 4096


def is_ours(path: Path) -> bool:
    """Whether the file begins as a report does, or is a PDF that carries a ledger."""
    with path.open("rb") as stream:
        head = stream.read(HEAD)
    if head.startswith(b"%PDF-"):
        return _carries_report(path)
    text = head.decode("utf-8", "replace")
    return HTML_MARK in text or text.startswith((MARKDOWN_MARK, JSON_MARK))


def _carries_report(path: Path) -> bool:
    from reports.attached import SECTIONS
    from reports.opened import UnreadablePDFError, open_pdf

    try:
        return SECTIONS in open_pdf(path).attached
    except UnreadablePDFError:
        return False
