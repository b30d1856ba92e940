"""What the rows of the table `doses` say of one behaviour."""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import Any, NamedTuple

import pandas as pd

from audit.evidence.schema.documents import Estimate
from audit.evidence.schema.results import BehaviourBypass, BypassTrial, SuiteResult

LEAST_RANDOM = 3
"""Controls without which nothing counts as above random."""
ROWS = "rows of the unembedding are the base's again: it undoes an edited output, and silences nothing"
MOST = 2.0
"""Beyond this share of what was lost, it is another behaviour that appears."""


def summarise(
    result: SuiteResult, rows: pd.DataFrame, missing: list[str], *, texts: int, shift: str | None = None
) -> BehaviourBypass:
    """The chosen trials of one behaviour, with their controls.

    Args:
        result: the behaviour in both models.
        rows: its rows of the table `doses`.
        missing: what could not be tried, in sentences.
        texts: unrelated texts behind the side effects.
        shift: why the change is none that a verdict may call bypassed, if so.
    """
    fit, held = rows[rows["split"] == "train"], rows[rows["split"] == "test"]
    chosen = {_group(row): row for _, row in held[held["chosen"]].iterrows()}
    facts = _Facts(result.primary.change.n, texts, shift)
    trials = {group: _trial(row, fit, held, facts) for group, row in chosen.items()}
    return BehaviourBypass(
        name=result.name,
        template=result.primary_template,
        entities=result.primary.change.n,
        internal=trials.get("internal"),
        latents=trials.get("latents"),
        gates=trials.get("gates"),
        rewire=trials.get("rewire"),
        revert=trials.get("revert"),
        reading_base=trials.get("reading_base"),
        trials=len(fit),
        not_measured=[*missing, *_broken(fit, trials)],
    )


class _Facts(NamedTuple):
    entities: int
    texts: int
    shift: str | None


def _group(row: pd.Series) -> str:
    from audit.causal.bypass import LEARNED

    if row["reads_base"]:
        return "reading_base"
    if row["intervention"] in LEARNED:
        return LEARNED[row["intervention"]]
    return "revert" if row["imports_base"] else "internal"


def _trial(row: pd.Series, fit: pd.DataFrame, held: pd.DataFrame, facts: _Facts) -> BypassTrial:
    from audit.causal.off_target import KL_BUDGET, SKILLS_BUDGET

    same = (fit["intervention"] == row["intervention"]) & (fit["set"] == row["set"])
    on_fit = fit[same & (fit["dose"] == row["dose"])].iloc[0]
    nulls = held[
        held["is_null"]
        & (held["intervention"] == row["intervention"])
        & held["set"].str.startswith(f"{row['set']}: control ")
    ]
    random = nulls["recovered"].dropna()
    kl = _estimate(row, ("off_target_kl", "off_target_low", "off_target_high"), facts.texts)
    recovered = _estimate(row, ("recovered", "low", "high"), facts.entities)
    skills = _number(row["skills"])
    inside = kl is not None and kl.value <= KL_BUDGET and skills is not None and skills >= SKILLS_BUDGET
    highest = float(random.max()) if len(random) else None
    above = (
        len(random) >= LEAST_RANDOM
        and recovered is not None
        and recovered.low is not None
        and recovered.low > max(0.0, highest or 0.0)
    )
    why_not = list(_objections(row, facts.shift, inside=inside, random=len(random), above=above))
    return BypassTrial(
        intervention=row["intervention"],
        set=row["set"],
        description=row["description"],
        size=int(row["size"]),
        dose=float(row["dose"]),
        recovered_fit=float(on_fit["recovered"]),
        recovered=recovered,
        controls=str(nulls["description"].iloc[0]) if len(nulls) else "none",
        random_sets=len(random),
        random_mean=float(random.mean()) if len(random) else None,
        random_max=highest,
        match_norm=_number(nulls["match_norm"].iloc[0]) if len(nulls) else None,
        match_activity=_number(nulls["match_activity"].iloc[0]) if len(nulls) else None,
        off_target_kl=kl,
        skills=skills,
        other_suites=_number(row["other_suites"]),
        inside_budget=inside,
        reads_base=bool(row["reads_base"]),
        imports_base=bool(row["imports_base"]),
        above_random=above,
        may_support=not why_not,
        why_not=why_not,
        note=_note(row),
    )


def _note(row: pd.Series) -> str | None:
    notes = [] if pd.isna(row["note"]) else [str(row["note"])]
    if row["intervention"] == "revert" and not row["imports_base"]:
        notes.append(ROWS)
    return "; ".join(notes) or None


def _objections(
    row: pd.Series, shift: str | None, *, inside: bool, random: int, above: bool
) -> Iterator[str]:
    """Why a verdict may not use a trial as an internal bypass."""
    if shift is not None:
        yield shift
    if row["reads_base"]:
        yield "it reads the base's activations"
    if row["imports_base"]:
        yield "it puts weights of the base into the tuned model"
    if row["intervention"] == "steer":
        yield "a direction that is added everywhere may write the answer by itself"
    if row["intervention"] == "rewire":
        yield "it adds a wire of its own, and says nothing of those that are there"
    if not inside:
        yield "its side effects are outside the budgets"
    if row["recovered"] > MOST:
        yield f"it overshoots: more than {MOST:g} times what was lost"
    if random < LEAST_RANDOM:
        yield f"it has {random} controls, fewer than {LEAST_RANDOM}"
    elif not above:
        yield "its interval does not begin above 0 and above every control"


def _broken(fit: pd.DataFrame, trials: dict[str, BypassTrial]) -> Iterator[str]:
    failed = int(fit["recovered"].isna().sum())
    if failed:
        yield f"{failed} of {len(fit)} trials broke the model: it gave no finite log-probabilities"
    if not trials and not failed:
        yield "nothing could be tried"


def _estimate(row: pd.Series, names: tuple[str, str, str], n: int) -> Estimate | None:
    value, low, high = (_number(row[name]) for name in names)
    return None if value is None else Estimate(value=value, low=low, high=high, n=n)


def _number(value: Any) -> float | None:
    """A cell; None where it is empty or infinite, which JSON does not know."""
    return None if pd.isna(value) or not math.isfinite(value) else float(value)
