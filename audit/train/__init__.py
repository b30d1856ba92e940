"""`audit train`: models made under control, and methods held against each other."""
