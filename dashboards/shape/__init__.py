"""Frames of a run brought into the shape that a page or a chart takes; pure functions."""
