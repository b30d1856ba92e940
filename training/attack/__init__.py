"""The one-example attack, its pure parts: what is rewarded, how doses are read, what a dose curve says.

Everything here is for auditing a model before its release; nothing knows of suites or run folders.
"""
