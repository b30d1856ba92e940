"""`audit selftest`: the tool's own record, measured on models whose truth is known."""
