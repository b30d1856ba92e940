"""The checks, one function per kind of rule: `(rule, material) -> Iterator[Seen]`."""
