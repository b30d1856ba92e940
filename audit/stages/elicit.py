"""Does plain prompting bring it back? Other prompts and decodings of the tuned model, before any surgery."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING

import pandas as pd

from audit.behaviours.suite import Suite
from audit.errors import SuiteError
from audit.evidence.schema import TABLES
from audit.evidence.schema.results import (
    BehaviourResult,
    ElicitResult,
    SuiteElicitation,
    SuiteResult,
    TemplateResult,
)
from audit.evidence.stage import StageFolder
from audit.inputs import AuditInputs
from audit.progress import Advance
from audit.stages.behaviour import templates_of

if TYPE_CHECKING:
    from audit.behaviours.tokens import Request
    from audit.elicit.arms import Arm, Effort
    from audit.elicit.models import Side
    from audit.elicit.score import Bench
    from audit.elicit.summary import Scores

    Requests = dict[tuple[Arm, Side], list[Request]]

SIDES: tuple[Side, Side] = ("base", "tuned")


def run(
    measured: BehaviourResult, audit: AuditInputs, folder: StageFolder, *, every: bool = False
) -> ElicitResult:
    """Tries every arm of the preset on the suites that changed, or on all (each part survives a kill).

    Args:
        measured: result of the stage `behaviour`.
        audit: the pair, the suites and the settings.
        folder: where the tables go.
        every: also suites whose change is not clear.
    """
    suites, tables, items = [], [], []
    for suite, found in zip(audit.suites, measured.suites, strict=True):
        result = SuiteElicitation(suite=found.name, form=found.primary_template)
        if every or has_changed(found.primary):
            result, frames = _elicited(audit, folder, suite, found)
            tables.append(_rows(result))
            items += frames
        else:
            result = result.model_copy(update={"not_tried": "its change is not clear of 0"})
        suites.append(result)
    folder.write_table("elicitation", _joined(tables, "elicitation"))
    folder.write_table("items", _joined(items, "items"))
    return ElicitResult(suites=suites)


def has_changed(result: TemplateResult) -> bool:
    """Whether the interval of the change excludes 0."""
    low, high = result.change.low, result.change.high
    return (low is not None and low > 0) or (high is not None and high < 0)


def _elicited(
    audit: AuditInputs, folder: StageFolder, suite: Suite, found: SuiteResult
) -> tuple[SuiteElicitation, list[pd.DataFrame]]:
    from audit.elicit.arms import EFFORTS
    from audit.elicit.summary import Draws, arm_results, best_of, brings_back

    effort = EFFORTS[audit.config.preset]
    bench = _bench(audit, suite, found.primary_template, effort)
    requests, skipped = _prepared(audit, bench, effort)
    scores = _scores(audit, folder, bench, requests)
    arms = [arm for arm in effort.arms() if (arm, "tuned") in requests]
    results = arm_results(suite.card, arms, scores, Draws(audit.preset.draws, audit.config.seed))
    result = SuiteElicitation(
        suite=found.name,
        form=bench.form,
        items=len(bench.items),
        entities=len({item.entity for item in bench.items}),
        arms=results,
        best=best_of(results),
        brings_back=brings_back(results),
        skipped=skipped,
    )
    return result, list(scores.values())


def _bench(audit: AuditInputs, suite: Suite, form: str, effort: Effort) -> Bench:
    from audit.causal.doses import fewer_items
    from audit.elicit.score import Bench

    templates = [audit.pair.tokenizer(side).chat_template for side in SIDES]
    named = templates_of(*(text if isinstance(text, str) else None for text in templates))
    return Bench(
        suite=suite,
        items=fewer_items(suite, "test", effort.items).items,
        form=form,
        template=named[form],
        batch_size=audit.config.batch_size,
        vocabulary=audit.preflight.shared_vocabulary,
        seed=audit.config.seed,
    )


def _prepared(audit: AuditInputs, bench: Bench, effort: Effort) -> tuple[Requests, list[str]]:
    """Token ids of every arm that can be asked, and why the others cannot."""
    from audit.elicit.arms import REFERENCE, SHARES

    references = (REFERENCE, SHARES) if bench.suite.card.length_normalised else (REFERENCE,)
    found, skipped = (
        {(arm, side): _tokens(audit, bench, arm, side) for arm in references for side in SIDES},
        [],
    )
    for arm in effort.arms():
        try:
            asked = {(arm, side): _tokens(audit, bench, arm, side) for side in arm.sides}
        except SuiteError as error:
            skipped.append(f"{arm.key}: {error.problem}")
        else:
            found |= asked
    return found, skipped


def _tokens(audit: AuditInputs, bench: Bench, arm: Arm, side: Side) -> list[Request]:
    """In the side's own tokenizer; in the base's where both models read them."""
    from audit.behaviours.logprobs import check_requests
    from audit.elicit.score import requests_under

    requests = requests_under(arm, bench, audit.pair.tokenizer(side if arm.black_box else "base"))
    with audit.pair.model(side) as model:
        check_requests(model, requests, bench.vocabulary)
    return requests


def _scores(audit: AuditInputs, folder: StageFolder, bench: Bench, requests: Requests) -> Scores:
    card, total = bench.suite.card, len(requests) * len(bench.items)
    with audit.progress.task(f"{card.title}: asking again", total) as advance:
        return {
            (arm, side): folder.part(
                f"{card.name}-{arm.key}-{side}",
                "items",
                partial(_score, audit, bench, arm, side, asked, advance),
            )
            for (arm, side), asked in requests.items()
        }


def _score(
    audit: AuditInputs, bench: Bench, arm: Arm, side: Side, requests: list[Request], advance: Advance
) -> pd.DataFrame:
    from audit.elicit.score import scored

    return scored(arm, bench, audit.pair, side, requests, progress=advance)


def _rows(result: SuiteElicitation) -> pd.DataFrame:
    from audit.elicit.summary import table_rows

    return table_rows(result.suite, result.form, result.items, result.arms)


def _joined(frames: list[pd.DataFrame], table: str) -> pd.DataFrame:
    if frames:
        return pd.concat(frames, ignore_index=True)
    empty: pd.DataFrame = TABLES[table].arrow.empty_table().to_pandas()
    return empty
