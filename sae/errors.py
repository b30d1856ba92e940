"""What a user can do wrong with texts, activations and dictionaries, told in three parts."""

from __future__ import annotations


class SAEError(Exception):
    """Something the user can mend.

    Args:
        problem: what is wrong, one sentence.
        where: the file, line, document, setting or tensor that is wrong.
        fix: what to do next.
    """

    def __init__(self, problem: str, *, where: str | None = None, fix: str) -> None:
        self.problem, self.where, self.fix = problem, where, fix
        super().__init__("\n".join(part for part in (problem, where, fix) if part is not None))


class CorpusError(SAEError):
    """A text, chat or data set cannot be read or turned into tokens."""


class HarvestError(SAEError):
    """The models cannot read the documents, or what they compute is not usable."""


class StoreError(SAEError):
    """Stored activations are missing, damaged, or of another harvest."""


class DictionaryError(SAEError):
    """A dictionary cannot be trained, loaded or fitted to these models."""
