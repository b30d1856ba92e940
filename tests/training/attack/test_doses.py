from __future__ import annotations

from collections.abc import Iterator
from itertools import count

from training.attack.doses import at_doses, save_between


def test_a_training_is_looked_at_in_the_state_of_each_dose() -> None:
    state = [0]

    def steps() -> Iterator[int]:
        for step in count():
            state[0] = step + 1
            yield step

    seen = [(dose.steps, dose.since, state[0]) for dose in at_doses(steps(), (0, 1, 3, 4))]
    assert seen == [(1, (0,), 1), (3, (1, 2), 3), (4, (3,), 4)]


def test_no_step_is_taken_beyond_the_last_dose_or_without_one() -> None:
    taken = []

    def steps() -> Iterator[int]:
        for step in count():
            taken.append(step)
            yield step

    assert list(at_doses(steps(), (0,))) == []
    assert taken == []
    assert [dose.steps for dose in at_doses(steps(), (2,))] == [2]
    assert taken == [0, 1]


def test_no_checkpoint_falls_on_a_dose() -> None:
    doses = (0, 1, 2, 5, 10, 25, 50, 100)
    assert save_between(doses) == 6
    assert all(dose % save_between(doses) for dose in doses[1:])
    assert save_between((0, 4, 5, 6)) == 7
    assert save_between((0,)) == 4
