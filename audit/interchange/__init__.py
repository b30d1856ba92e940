"""Runs in the formats of other tools, each behind an optional extra of its own."""
