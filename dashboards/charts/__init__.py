"""Charts: pure functions from frames to plotly figures, one file per topic."""
