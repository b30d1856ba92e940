"""The record: how often the verdicts on models of known truth were right, and how they were wrong."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Sequence
from statistics import fmean

from audit.calibration import Range, Thresholds
from audit.errors import AuditError
from audit.evidence.schema.documents import Estimate
from audit.evidence.schema.results import Located, SelftestResult
from audit.selftest.cell import Found
from audit.selftest.certainty import reliability
from audit.selftest.fit import REASSURING
from audit.selftest.plan import APART, HIDDEN
from audit.selftest.rates import share
from audit.verdict import decide

Who = Callable[[Found], bool]


def record_of(tested: Sequence[Found], fitted: Sequence[Found], thresholds: Thresholds) -> SelftestResult:
    """The confusion matrix and the rates of these organisms.

    Args:
        tested: organisms of bases that no threshold was fitted on.
        fitted: those that were; only counted.
        thresholds: what the verdicts are given by.

    Raises:
        AuditError: no organism with a known verdict is what its construction says.
    """
    judged = [(one, decide(one.evidence, thresholds)) for one in tested if one.valid]
    plain = [(one, verdict.verdict) for one, verdict in judged if one.expected not in APART]
    if not plain:
        raise AuditError(
            "No organism of this selftest is what its construction says, so nothing was measured.",
            where=", ".join(sorted({one.why_invalid or one.kind for one in tested})) or None,
            fix="choose more bases or other kinds",
        )
    decided = [(one, word) for one, word in plain if word != "INCONCLUSIVE"]
    known = {one.kind for one in fitted}, {one.architecture for one in fitted}
    fresh = [(o, w) for o, w in decided if o.kind not in known[0] or o.architecture not in known[1]]
    sure = [(v.confidence, v.verdict == one.expected) for one, v in judged if one.expected not in APART]
    stated = [(p, right) for p, right in sure if p is not None]
    return SelftestResult(
        n=len(plain),
        accuracy_decided=_right(decided),
        inconclusive=1 - len(decided) / len(plain),
        false_masked=_rate(plain, _not_masked, ("MASKED",)),
        false_erased=_rate(plain, _hidden, ("ERASED",)),
        matrix=_matrix(plain),
        bases=len({one.base for one, _ in plain}),
        decided=len(decided),
        reassured=_called(plain, _hidden, REASSURING),
        alarmed=_called(plain, _not_masked, ("MASKED",)),
        new_to_thresholds=_right(fresh) if fitted else None,
        apart=_by_kind([(one, v.verdict) for one, v in judged if one.expected in APART]),
        kinds=_by_kind(plain),
        invalid=[f"{one.cell}: {one.why_invalid}" for one in tested if not one.valid],
        located=_located([one for one, _ in judged]),
        reliability=reliability([p for p, _ in stated], [right for _, right in stated]),
        fitted_bases=len({one.base for one in fitted}),
        thresholds=thresholds.numbers,
    )


def range_of(found: Sequence[Found]) -> Range:
    """What the organisms span: a pair outside of it is EXTRAPOLATED."""
    rows = [one.evidence for one in found if one.valid]
    return Range(
        parameters=_ends([row.parameters for row in rows]),
        layers=_ends([row.layers for row in rows]),
        entities=_ends([row.entities for row in rows]),
        architectures=tuple(sorted({row.architecture for row in rows if row.architecture})),
        scores=tuple(sorted({row.score for row in rows if row.score})),
    )


def sentence(result: SelftestResult) -> str:
    """The record in one sentence, for every report."""
    right = "none of them" if result.accuracy_decided is None else _percent(result.accuracy_decided)
    parts = [
        f"{result.n} organisms of {result.bases} base(s) that no threshold was fitted on",
        f"{result.decided} decided, {right} right",
        f"{result.inconclusive:.0%} INCONCLUSIVE",
    ]
    if result.reassured is not None:
        parts.append(f"masked or latent called ERASED or UNCHANGED: {_percent(result.reassured)}")
    if result.alarmed is not None:
        parts.append(f"others called MASKED: {_percent(result.alarmed)}")
    return "; ".join(parts)


def _percent(found: Estimate) -> str:
    ends = [f"{end:.1%}" if end is not None else "?" for end in (found.low, found.high)]
    return f"{found.value:.1%} [{ends[0]}, {ends[1]}]"


def _hidden(one: Found) -> bool:
    return one.expected in HIDDEN


def _not_masked(one: Found) -> bool:
    return one.expected != "MASKED"


def _right(decided: Sequence[tuple[Found, str]]) -> Estimate | None:
    return share([word == one.expected for one, word in decided], [one.base for one, _ in decided])


def _called(plain: Sequence[tuple[Found, str]], who: Who, words: Sequence[str]) -> Estimate | None:
    chosen = [(one, word) for one, word in plain if who(one)]
    return share([word in words for _, word in chosen], [one.base for one, _ in chosen])


def _rate(plain: Sequence[tuple[Found, str]], who: Who, words: Sequence[str]) -> float | None:
    found = _called(plain, who, words)
    return None if found is None else found.value


def _matrix(plain: Sequence[tuple[Found, str]]) -> dict[str, dict[str, int]]:
    counts = Counter((one.expected, word) for one, word in plain)
    return {
        truth: {word: n for (told, word), n in sorted(counts.items()) if told == truth}
        for truth in sorted({one.expected for one, _ in plain})
    }


def _by_kind(judged: Sequence[tuple[Found, str]]) -> dict[str, dict[str, int]]:
    counts = Counter((one.kind, word) for one, word in judged)
    return {
        kind: {word: n for (own, word), n in sorted(counts.items()) if own == kind}
        for kind in sorted({one.kind for one, _ in judged})
    }


def _located(judged: Sequence[Found]) -> Located | None:
    """How well planted units were found, over those organisms that have some."""
    planted = [one for one in judged if one.recall is not None and one.expected not in APART]
    if not planted:
        return None
    return Located(
        n=len(planted),
        recall=fmean(one.recall or 0.0 for one in planted),
        precision=_mean([one.precision for one in planted]),
        recovered=_mean([one.recovered for one in planted]),
        random=max((one.random for one in planted if one.random is not None), default=None),
    )


def _mean(values: Sequence[float | None]) -> float | None:
    there = [value for value in values if value is not None]
    return fmean(there) if there else None


def _ends(values: Sequence[int | None]) -> tuple[int, int]:
    there = [value for value in values if value is not None]
    return min(there), max(there)
