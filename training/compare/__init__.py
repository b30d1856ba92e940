"""Methods side by side on tasks in which everything is known. Read `runner.compare` first."""
