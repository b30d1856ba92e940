"""Home: which runs were given, whether they are whole, and what is missing."""

from __future__ import annotations

from dashboards import widgets
from dashboards.runs import given_runs


def page() -> None:
    """The page."""
    widgets.heading("Unmask", "Did training remove the behaviour, or only hide it?")
    for name in given_runs():
        widgets.text(name)
