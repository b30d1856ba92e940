"""The fonts that reports are set in, subset from Noto; see README.md beside this file."""
