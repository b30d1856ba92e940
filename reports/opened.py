"""A PDF from anywhere, read within limits: text of its pages, what is attached, its metadata."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

LARGEST_FILE = 256 * 2**20
LARGEST_PAGE = 8 * 2**20
"""Bytes of what draws one page, unpacked; pypdf itself stops at 75 MB for any one stream."""
LARGEST_TEXT = 64 * 2**20
"""Characters of all pages together."""
MOST_PAGES = 5000


class UnreadablePDFError(Exception):
    """No PDF that can be read; the message says why."""


@dataclass(frozen=True)
class OpenedPDF:
    """What is asked of a PDF."""

    reader: Any
    attached: dict[str, bytes]
    keywords: str
    producer: str

    def pages(self) -> list[str]:
        """Text of every page.

        Raises:
            UnreadablePDFError: a page is broken or larger than any of ours.
        """
        with_text, total = [], 0
        for page in self.reader.pages:
            contents = _guarded(page.get_contents)
            if contents is not None and len(_guarded(contents.get_data)) > LARGEST_PAGE:
                raise UnreadablePDFError("a page is larger, unpacked, than any of a report")
            with_text.append(_guarded(page.extract_text))
            total += len(with_text[-1])
            if total > LARGEST_TEXT:
                raise UnreadablePDFError("its pages hold more text than any report")
        return with_text


def open_pdf(path: Path) -> OpenedPDF:
    """The PDF at `path`.

    Raises:
        UnreadablePDFError: it is none, is broken, or is larger than any report.
        OSError: the file cannot be read.
    """
    import pypdf

    if path.stat().st_size > LARGEST_FILE:
        raise UnreadablePDFError(f"the file has {path.stat().st_size:,} bytes, more than any report")
    reader = _guarded(lambda: pypdf.PdfReader(path, strict=True))
    if _guarded(lambda: len(reader.pages)) > MOST_PAGES:
        raise UnreadablePDFError("it has more pages than any report")
    attached = _guarded(lambda: _attached(reader))
    told = _guarded(lambda: reader.metadata) or {}
    return OpenedPDF(reader, attached, str(told.get("/Keywords", "")), str(told.get("/Producer", "")))


def _attached(reader: Any) -> dict[str, bytes]:
    """The attachments by name; what one reader could be shown and another not is refused."""
    found: dict[str, bytes] = {}
    for one in reader.attachment_list:
        if one.name in found:
            raise UnreadablePDFError("two attachments have the same name")
        files = one.pdf_object["/EF"]
        if len({files[name].get_data() for name in ("/F", "/UF") if name in files}) != 1:
            raise UnreadablePDFError(f"the attachment {one.name[:80]} is two different files")
        found[one.name] = bytes(one.content)
    return found


def _guarded(read: Any) -> Any:
    try:
        return read()
    except UnreadablePDFError:
        raise
    except OSError:
        raise
    except RecursionError:
        raise UnreadablePDFError("its objects refer to one another in a circle") from None
    except Exception as error:  # a broken file makes a parser fail in any way there is
        raise UnreadablePDFError(f"{type(error).__name__}: {str(error)[:200]}") from error
