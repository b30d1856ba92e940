"""Which measures the terminal shows, in columns of a few characters."""

from __future__ import annotations

SHOWN = (
    ("trained item", "item", ".2f"),
    ("held-out items", "held", ".2f"),
    ("held-out items, unknown", "unkn.", ".2f"),
    ("held-out items, trained letter", "letter", ".2f"),
    ("other categories", "other", ".2f"),
    ("paired sentences", "pairs", ".2f"),
    ("disambiguated accuracy", "acc.", ".2f"),
    ("perplexity", "ppl", ".3g"),
    ("exact_kl", "KL", ".2f"),
)
"""Name of the measure, its heading, and how its numbers are written."""
