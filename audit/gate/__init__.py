"""The release gate: a policy file and a finished run folder give pass, violated or inconclusive.

The path: `run.run_gate` reads the policy (`policy`, whose rules are in `rules`) and the run (`material`),
asks every rule (`evaluate`, which knows the functions in `checks`), and returns `outcome.GateResult`, which
`text`, `junit` and `sarif` write down.
"""
