"""Which methods are compared, and whether comparing them can show anything."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from training.envs.bandit import LongTailBandit
from training.envs.chain import Chain
from training.envs.copying import Copying
from training.envs.types import Task
from training.errors import TrainingError
from training.registry import ADVANTAGES, OBJECTIVES
from training.types import Advantage, MethodCard, Objective

TASKS: dict[str, Task] = {task.name: task for task in (LongTailBandit(), Chain(), Copying())}
"""Tasks by name."""


@dataclass(frozen=True)
class Method:
    """An objective with its settings and the advantage it trains with."""

    label: str
    """As it was asked for."""
    objective: Objective
    advantage: Advantage

    @property
    def card(self) -> MethodCard:
        """The objective's card."""
        return self.objective.card


def parse_method(text: str, advantage: str = "group") -> Method:
    """A method from NAME or NAME:SETTING=NUMBER:... with an advantage by name.

    With `card` it is the one on the card, or the group's where that needs a value head: these tasks lack one.

    Raises:
        TrainingError: the name or a setting does not exist, or a value is no number.
    """
    name, *pairs = text.strip().split(":")
    settings = {key: _number(text, key, value) for key, _, value in (pair.partition("=") for pair in pairs)}
    objective = OBJECTIVES.make(name, settings)
    if advantage == "card":
        advantage = "group" if "values" in objective.card.needs else objective.card.advantage
    label = ":".join((objective.card.name, *pairs))
    return Method(label, objective, ADVANTAGES.make(advantage))


def parse_methods(text: str, lag: int, advantage: str = "group") -> list[Method]:
    """Several methods, with commas between.

    Raises:
        TrainingError: as above; one is named twice; or at this lag they would be one and the same function.
    """
    methods = [parse_method(part, advantage) for part in text.split(",") if part.strip()]
    if not methods:
        raise TrainingError("no method is named", where="methods", fix="name at least one")
    labels = [method.label for method in methods]
    if twice := {label for label in labels if labels.count(label) > 1}:
        raise TrainingError(f"{min(twice)!r} is named twice", where="methods", fix="name it once")
    refuse_inert(methods, lag)
    return methods


def refuse_inert(methods: Sequence[Method], lag: int) -> None:
    """Stops a comparison that cannot show a difference between two of its methods.

    Raises:
        TrainingError: two methods or more are plain policy gradient at this lag.
    """
    same = [method for method in methods if method.card.inert(lag)]
    if len(same) < 2:
        return
    names = ", ".join(method.label for method in same)
    raise TrainingError(
        f"at staleness {lag} {names} are one and the same function: {same[-1].card.inert_when}",
        where="staleness",
        fix="let rollouts grow old: --staleness 8, say",
    )


def parse_tasks(text: str) -> list[Task]:
    """Several tasks, with commas between.

    Raises:
        TrainingError: a name does not exist.
    """
    names = [part.strip() for part in text.split(",") if part.strip()]
    unknown = [name for name in names if name not in TASKS]
    if unknown or not names:
        raise TrainingError(
            f"there is no task called {unknown[0]!r}" if unknown else "no task is named",
            where="task",
            fix=f"choose among: {', '.join(TASKS)}",
        )
    return [TASKS[name] for name in dict.fromkeys(names)]


def _number(text: str, key: str, value: str) -> float:
    try:
        return float(value)
    except ValueError as error:
        raise TrainingError(
            f"{value!r} is no number", where=text, fix=f"write {text.split(':')[0]}:{key or 'SETTING'}=0.1"
        ) from error
