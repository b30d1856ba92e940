"""Text that shipped models wrote; README.md says how."""
