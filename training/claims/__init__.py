"""One runnable test per method of what is said about it: `python -m training.claims`.

Verdicts follow from what was measured, on small tasks: they say nothing of models a million times larger.
"""
