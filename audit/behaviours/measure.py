"""What a suite says of two models: every estimate of `SuiteResult`, from its rows of the table `items`."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import pandas as pd

from audit.behaviours.suite import Item, Suite
from audit.evidence.schema.documents import Estimate
from audit.evidence.schema.results import RELIABILITY_FLOOR, FlipsResult, SuiteResult, TemplateResult
from audit.measures.duplicates import near_duplicates
from audit.measures.effect import behaviour_effect, paired_change
from audit.measures.equivalence import equivalent
from audit.measures.flips import count_flips
from audit.measures.reliability import split_half_reliability

SIDES: tuple[Literal["base", "tuned"], ...] = ("base", "tuned")
SPLITS: tuple[Literal["test", "all"], ...] = ("test", "all")


@dataclass(frozen=True)
class Draws:
    """Size and seed of every resampling."""

    count: int
    seed: int


def measure_suite(suite: Suite, items: pd.DataFrame, draws: Draws) -> SuiteResult:
    """Everything that one suite says, from its rows of the table `items`."""
    found = list(items["template"].unique())
    primary = _primary(suite.card.primary_template, found)
    on_base, on_tuned = (items[(items["model"] == side) & (items["template"] == primary)] for side in SIDES)
    reliability, reliability_tuned = (_reliability(suite, rows, draws) for rows in (on_base, on_tuned))
    duplicates = near_duplicates(texts_of(suite), entities=[item.entity for item in suite.items])
    result = SuiteResult(
        name=suite.card.name,
        title=suite.card.title,
        sha256=suite.sha256,
        items=len(suite.items),
        entities=on_base["entity"].nunique(),
        unit="nats/token" if suite.card.length_normalised else "nats",
        score=suite.card.score,
        equivalence_band=suite.card.equivalence_band,
        null_level=suite.card.null_level,
        primary_template=primary,
        reliability=reliability,
        reliability_tuned=reliability_tuned,
        measurable=_reliable(reliability),
        near_duplicates=duplicates.share,
        near_duplicates_masked=duplicates.masked_share or 0.0,
        templates=[_compare(suite, items, template, split, draws) for template in found for split in SPLITS],
        metrics=_metrics(suite, items),
    )
    return result.model_copy(update={"measurable": _reliable(reliability) or _new(result)})


def _reliability(suite: Suite, rows: pd.DataFrame, draws: Draws) -> float | None:
    found = split_half_reliability(
        rows["m"],
        rows["entity"],
        group=_groups(suite, rows),
        contrast=suite.card.contrast,
        level=None if suite.card.contrast else suite.card.null_level,
        seed=draws.seed,
    )
    return None if found is None else found.value


def _reliable(reliability: float | None) -> bool:
    return reliability is not None and reliability >= RELIABILITY_FLOOR


def _new(result: SuiteResult) -> bool:
    """Clearly more of it in the tuned model, which answers consistently: a base without it cannot."""
    low = result.primary.change.low
    rose = low is not None and low > result.equivalence_band and result.primary.tuned_above_null
    return rose and _reliable(result.reliability_tuned)


def _primary(wanted: str, found: list[str]) -> str:
    """The card's template; of two chat templates the tuned model's; plain where the pair has no template."""
    return next((name for name in (wanted, f"{wanted}-tuned", f"{wanted}-base") if name in found), found[0])


def _groups(suite: Suite, frame: pd.DataFrame) -> pd.Series | None:
    return frame["group"] if suite.card.contrast else None


def _compare(
    suite: Suite, items: pd.DataFrame, template: str, split: Literal["test", "all"], draws: Draws
) -> TemplateResult:
    base, tuned = _paired(items, template, split)
    card, entity, group = suite.card, base["entity"], _groups(suite, base)
    resampling = {"draws": draws.count, "seed": draws.seed}
    change = paired_change(
        base["m"],
        tuned["m"],
        entity,
        group=group,
        contrast=card.contrast,
        null=card.null_level,
        **resampling,
    )
    on_tuned = behaviour_effect(tuned["m"], entity, group=group, contrast=card.contrast, **resampling)
    level = 0.0 if card.contrast else card.null_level
    flips = count_flips(base["m"] - level, tuned["m"] - level, group=group, contrast=card.contrast)
    return TemplateResult(
        template=template,
        split=split,
        base=Estimate.of(change.base),
        tuned=Estimate.of(change.tuned),
        change=Estimate.of(change.change),
        lost_share=change.lost_share and Estimate.of(change.lost_share),
        gained_share=change.gained_share and Estimate.of(change.gained_share),
        p_value=change.p_value,
        equivalent=equivalent(change.change, card.equivalence_band),
        base_above_null=change.base.low > card.null_level,
        tuned_above_null=on_tuned.low > card.null_level,
        flips=FlipsResult(
            items=flips.items, to_showing=flips.started, to_not_showing=flips.stopped, p_value=flips.p_value
        ),
    )


def _paired(items: pd.DataFrame, template: str, split: str) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Rows of both models, in the same order of items."""
    rows = items[items["template"] == template]
    if split != "all":
        rows = rows[rows["split"] == split]
    base, tuned = (rows[rows["model"] == side].sort_values("item", ignore_index=True) for side in SIDES)
    return base, tuned


def _metrics(suite: Suite, items: pd.DataFrame) -> dict[str, float | int | None]:
    """Scores of the suite's own kind, such as accuracy and bias of BBQ."""
    if suite.card.generates:
        from audit.behaviours.bbq import bbq_metrics

        return bbq_metrics(suite, items)
    if suite.card.whole_texts:
        from audit.behaviours.crows_pairs import crows_metrics

        return crows_metrics(items)
    return {}


def texts_of(suite: Suite) -> list[str]:
    """Each item's prompt as text: the plain one, else the chat's turns, else its first whole text."""
    return [item.prompt or _chat_text(item) or item.showing[0] for item in suite.items]


def _chat_text(item: Item) -> str:
    return " ".join(message.content for message in item.messages or ())
