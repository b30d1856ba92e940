"""A concept inside two models: its texts read, probed layer by layer, and what follows."""
