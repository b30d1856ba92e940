"""The arms of an attack: what one item may be trained towards, and by which method."""

from __future__ import annotations

from dataclasses import dataclass

from audit.attack.config import AttackConfig


@dataclass(frozen=True)
class Arm:
    """What one item is trained towards, and how."""

    kind: str
    """One of `config.ARMS`."""
    objective: str
    main: bool = True
    """Whether the objective is the attack's own; others have its name in the arm's."""

    @property
    def name(self) -> str:
        """As the table has it."""
        words = self.kind.replace("-", " ")
        return words if self.main else f"{words}, {self.objective}"

    @property
    def realigned(self) -> bool:
        """Whether realignment follows: it mends what the attack broke."""
        return self.kind == "attack"


def arms_of(config: AttackConfig) -> tuple[Arm, ...]:
    """Every arm of a run: with several objectives the attack and its correct-label twin run under each."""
    first, *more = config.objectives
    found = [Arm(kind, first) for kind in config.arm_names]
    again = [kind for kind in ("attack", "correct-label") if kind in config.arm_names]
    return (*found, *(Arm(kind, name, main=False) for name in more for kind in again))
