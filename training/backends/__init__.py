"""Other trainers that run the same objectives."""
