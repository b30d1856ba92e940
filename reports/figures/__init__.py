"""Figures of a report: each module draws one from a frame of the run's tables and knows nothing of files."""
