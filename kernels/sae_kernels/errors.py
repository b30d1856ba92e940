"""What a caller can do wrong with the operations, told in three parts."""

from __future__ import annotations


class KernelError(ValueError):
    """Tensors or settings that an operation cannot take.

    Args:
        problem: what is wrong, one sentence.
        where: the argument that is wrong.
        fix: what to do next.
    """

    def __init__(self, problem: str, *, where: str, fix: str) -> None:
        self.problem, self.where, self.fix = problem, where, fix
        super().__init__(f"{problem}\n{where}\n{fix}")
