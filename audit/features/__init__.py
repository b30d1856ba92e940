"""How the stage `features` does its work: activations, dictionaries, nulls, tables."""
