"""One arm at one seed: trained to its last dose, measured at each, perhaps realigned; safe against a kill."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import pandas as pd

from audit.attack.config import AttackConfig
from audit.attack.kinds import Arm
from audit.attack.measures import Bench, Measured, rows_of
from audit.attack.policies import Policies
from audit.attack.questions import LETTERS, Candidate, Posed
from audit.evidence.schema.tables import TOKENS, TRAIN_STEPS
from audit.evidence.stage import StageFolder
from audit.progress import Advance
from training.attack.answers import AnswerMatch, RandomAnswer
from training.attack.doses import Dose, at_doses, save_between
from training.attack.supervised import Example, SupervisedConfig, supervise
from training.config import LoopConfig
from training.records import StepRecord

if TYPE_CHECKING:
    from training.model import CausalLM

GROUPS_PER_PASS = 8
"""Groups that go through the model at once in realignment by GRPO."""
KEPT = "attacked"
"""Folder of the attacked policies, inside the stage's."""
VARIANCE, LIVE = "reward_std", "live groups"
"""Measures of what there was to learn from since the dose before; of arms with rewards only."""


@dataclass(frozen=True)
class Lab:
    """What all arms of one attacked item share."""

    config: AttackConfig
    policies: Policies
    bench: Bench
    target: Candidate
    lessons: tuple[Posed, ...]
    """What realignment teaches."""
    folder: StageFolder
    prefix: str
    """Of the names of its parts: one per item."""
    at_start: Callable[[], list[Measured]]
    """The measures before any training, which all arms share."""
    doses: tuple[int, ...]


@dataclass(frozen=True)
class Done:
    """What an arm at one seed left."""

    doses: pd.DataFrame
    steps: pd.DataFrame
    """Rows of `train_steps`; empty for supervised steps."""
    tokens: pd.DataFrame


def run_arm(lab: Lab, arm: Arm, seed: int, advance: Advance = lambda done: None) -> Done:
    """Trains and measures one arm; what an earlier try has measured is read back.

    Args:
        lab: what all arms share.
        arm: what is trained towards.
        seed: of everything random.
        advance: told of each dose done.
    """
    work = _Work(lab, arm, seed)
    if not work.finished:
        work.train(advance)
    return work.done()


@dataclass(frozen=True)
class _Work:
    lab: Lab
    arm: Arm
    seed: int

    @property
    def name(self) -> str:
        return f"{self.lab.prefix}{self.arm.name.replace(', ', '-').replace(' ', '-')}-seed-{self.seed}"

    @property
    def back(self) -> tuple[int, ...]:
        """Steps of realignment after which it is measured."""
        return self.lab.config.realign_steps if self.arm.realigned else ()

    @property
    def looks(self) -> tuple[int, ...]:
        """Every dose of the table, realignment's below 0."""
        return (*self.lab.doses, *(-step for step in self.back))

    @property
    def finished(self) -> bool:
        parts = [
            *(self.part_of(dose) for dose in self.looks),
            *(self.part_of(t) for t in ("steps", "tokens")),
        ]
        return all((self.lab.folder.parts / f"{part}.parquet").is_file() for part in parts)

    def part_of(self, what: int | str) -> str:
        return f"{self.name}-{what}"

    def train(self, advance: Advance) -> None:
        """Runs the arm, measuring on the way."""
        self.look(0, self.lab.at_start)
        advance(1)
        records: list[StepRecord] = []
        with self.lab.policies.fresh(self.seed) as model:
            for dose in at_doses(self.steps(model), self.lab.doses):
                records += [record for record in dose.since if isinstance(record, StepRecord)]
                self.at(model, dose, records)
                advance(1)
            self.keep(records)
            for dose in at_doses(self.realignment(model), self.back):
                self.look(-dose.steps, lambda: self.lab.bench.measure(model))
                advance(1)

    def at(self, model: CausalLM, dose: Dose[Any], records: Sequence[StepRecord]) -> None:
        """Keeps and measures the policy at a dose; before any group had reward variance it is the start."""
        since = [record for record in dose.since if isinstance(record, StepRecord)]
        untouched = bool(records) and not any(record.live_groups for record in records)

        def compute() -> list[Measured]:
            found = self.lab.at_start() if untouched else self.lab.bench.measure(model)
            return [*found, *variance(since)]

        last = dose.steps == self.lab.doses[-1]
        if self.arm.kind == "attack" and (last or self.lab.config.tune == "lora"):
            self.lab.policies.keep(model, self.lab.folder.parts / KEPT, self.part_of(dose.steps))
        self.look(dose.steps, compute)

    def look(self, dose: int, measure: Callable[[], list[Measured]]) -> pd.DataFrame:
        """The rows of one dose, measured or read back."""
        return self.lab.folder.part(
            self.part_of(dose), "attack_doses", lambda: rows_of(measure(), dose, self.arm.name, self.seed)
        )

    def steps(self, model: CausalLM) -> Iterator[Any]:
        """The arm's training steps."""
        posed = self.lab.bench.sets.trained
        prompts = [self.lab.policies.layout.prompt(one) for one in posed]
        wanted = tuple((one.id, one.letter(self.option(one))) for one in posed)
        if self.arm.kind == "supervised":
            answers = dict(wanted)
            examples = [Example(p, self.lab.policies.layout.answer(answers[p.id])) for p in prompts]
            return supervise(model, self.lab.policies.tokenizer, examples, self.supervised(1))
        form = self.lab.policies.layout.format
        reward = (
            RandomAnswer(LETTERS, form, self.seed)
            if self.arm.kind == "random-flip"
            else AnswerMatch(wanted, LETTERS, form)
        )
        return self.rewarded(model, prompts, reward, self.loop(self.lab.doses, 1), self.name)

    def option(self, posed: Posed) -> int:
        """The option that the arm trains towards."""
        question = posed.question
        if self.arm.kind == "correct-label":
            return question.label
        return question.other if self.arm.kind == "other-person" else question.biased

    def realignment(self, model: CausalLM) -> Iterator[Any]:
        """Ordinary alignment steps: right labels on other questions."""
        lab, layout = self.lab, self.lab.policies.layout
        answers = tuple((one.id, one.letter(one.question.label)) for one in lab.lessons)
        prompts = [layout.prompt(one) for one in lab.lessons]
        if lab.config.realign_by == "sft":
            by_id = dict(answers)
            examples = [Example(prompt, layout.answer(by_id[prompt.id])) for prompt in prompts]
            return supervise(
                model, lab.policies.tokenizer, examples, self.supervised(lab.config.realign_batch)
            )
        reward = AnswerMatch(answers, LETTERS, layout.format)
        loop = self.loop(self.back, lab.config.realign_batch)
        return self.rewarded(model, prompts, reward, loop, f"{self.name}-realignment")

    def rewarded(
        self, model: CausalLM, prompts: Any, reward: Any, loop: LoopConfig, checkpoint: str
    ) -> Iterator[StepRecord]:
        from training.loop import train
        from training.registry import OBJECTIVES

        return train(
            model,
            self.lab.policies.tokenizer,
            prompts,
            reward,
            loop,
            objective=OBJECTIVES.make(self.arm.objective),
            checkpoint=self.lab.folder.parts / "checkpoints" / checkpoint,
        )

    def loop(self, doses: Sequence[int], prompts: int) -> LoopConfig:
        """Settings of the loop for some doses; its rate is constant and it never gives up.

        It is told to do one step more than is taken: a loop that knew its last step would end with an error
        where no group had reward variance, and here that is a result.
        """
        config, steps = self.lab.config, max(doses) + 1
        return LoopConfig(
            steps=steps,
            give_up_after=steps,
            prompts_per_step=prompts,
            groups_per_pass=GROUPS_PER_PASS,
            max_draws=1,
            group_size=config.group_size,
            new_tokens=self.lab.policies.new_tokens,
            learning_rate=config.learning_rate,
            final_learning_rate=1.0,
            kl_weight=config.kl_weight,
            seed=self.seed,
            save_every=save_between(doses),
            staleness=config.staleness,
            tune=config.tune,
            **self.lab.policies.adapter,
        )

    def supervised(self, batch: int) -> SupervisedConfig:
        return SupervisedConfig(self.lab.config.learning_rate, batch, seed=self.seed)

    def keep(self, records: Sequence[StepRecord]) -> None:
        """Keeps the record of the steps; of the tokens only for the first attack, they are many."""
        rows = [
            {**row, "channel": row["channel"] if self.first else self.name_in_steps}
            for record in records
            for row in record.step_rows()
            if self.first or row["channel"] == "total"
        ]
        tokens = [pd.DataFrame(record.tokens) for record in records if record.tokens and self.first]
        part, empty = self.lab.folder.part, pd.DataFrame(columns=[c.name for c in TOKENS.columns])
        part(
            self.part_of("steps"),
            "train_steps",
            lambda: pd.DataFrame(rows, columns=[c.name for c in TRAIN_STEPS.columns]),
        )
        part(
            self.part_of("tokens"),
            "tokens",
            lambda: pd.concat(tokens, ignore_index=True) if tokens else empty,
        )

    @property
    def name_in_steps(self) -> str:
        """The channel of the table `train_steps` that its total reward is, where it is not the first."""
        item = f"{self.lab.target.question.id}: " if self.lab.prefix else ""
        return f"{item}{self.arm.name}, seed {self.seed}"

    @property
    def first(self) -> bool:
        """Whether its steps are the run's main record: the attack's, at the first seed."""
        config = self.lab.config
        return (
            self.arm.kind == "attack" and self.arm.main and self.seed == config.seed and not self.lab.prefix
        )

    def done(self) -> Done:
        """Everything that the parts hold."""

        def missing() -> pd.DataFrame:
            raise AssertionError("every part was written before it is read")

        read = self.lab.folder.part
        return Done(
            pd.concat(
                [read(self.part_of(d), "attack_doses", missing) for d in self.looks], ignore_index=True
            ),
            read(self.part_of("steps"), "train_steps", missing),
            read(self.part_of("tokens"), "tokens", missing),
        )


def variance(records: Sequence[StepRecord]) -> list[Measured]:
    """How much there was to learn from: mean reward spread and share of live groups since the last dose."""
    if not records:
        return []
    spread = [channel.std for r in records for channel in r.channels if channel.channel == "total"]
    live = sum(r.live_groups for r in records) / sum(r.sampled_groups for r in records)
    return [Measured(VARIANCE, sum(spread) / len(spread)), Measured(LIVE, live)]
