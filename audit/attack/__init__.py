"""`audit attack`: how little training on one example it takes to break a guardrail, and to mend it.

Read `run.run_attack` first. For one's own model before its release: what an attack makes stays on this disk.
"""
