"""Two runs beside each other, and the ladder that both climb."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pytest

from audit.evidence.schema.documents import Claim, Evidence
from dashboards import beside, ladder, records
from dashboards.charts.evidence import recovered_alt, recovered_chart
from dashboards.store import open_store

RUNS = Path(__file__).parents[1] / "data" / "runs"
Copy = Callable[[str], Path]


def claim(value: float | str | None, low: float | None = None, high: float | None = None) -> Claim:
    evidence = Evidence(file="f", sha256="0" * 64, pointer="/x")
    return Claim(id="c", statement="s", value=value, low=low, high=high, evidence=evidence)


@pytest.mark.parametrize(
    ("left", "right", "expected"),
    [
        (claim(1.0, 0.5, 1.5), claim(2.0, 1.5, 2.5), "overlap"),
        (claim(1.0, 0.5, 1.4), claim(2.0, 1.5, 2.5), "apart"),
        (claim(2.0, 1.5, 2.5), claim(1.0, 0.5, 1.4), "apart"),
        (claim(1.0, 0.5, None), claim(9.0, 8.0, 10.0), "overlap"),
        (claim(1.0, None, 1.1), claim(9.0, 8.0, None), "apart"),
        (claim("yes"), claim("yes"), "same"),
        (claim("yes"), claim("no"), "different"),
        (claim(1.0), claim(2.0, 1.0, 3.0), "no interval"),
        (claim(1.0), None, "only left"),
        (None, claim(1.0), "only right"),
    ],
)
def test_agreement(left: Claim | None, right: Claim | None, expected: str) -> None:
    assert beside.agreement(left, right) == expected


def test_a_run_agrees_with_itself() -> None:
    store = open_store(RUNS / "compare")
    assert set(beside.claims(store, store)["agreement"]) <= {"overlap", "same"}
    assert beside.differing(store, store).empty
    verdicts = beside.verdicts(store, store)
    assert verdicts["left"].equals(verdicts["right"])
    counts = beside.kinds(store, store)
    assert counts["left"].equals(counts["right"])


def test_runs_of_other_kinds_share_nothing_and_say_so() -> None:
    left, right = open_store(RUNS / "train"), open_store(RUNS / "compare")
    assert set(beside.claims(left, right)["agreement"]) == {"only left", "only right"}
    assert beside.verdicts(left, right)["left"].isna().all()
    assert beside.evidence(left, left).empty


def test_every_rung_has_a_number_or_a_reason() -> None:
    store = open_store(RUNS / "compare")
    found = ladder.rungs(store)
    for name in ladder.behaviours(store):
        relearned = [r for r in found if r.behaviour == name and r.evidence.startswith("relearned in ")]
        assert len(relearned) == 2, "one rung per dose"
        assert len([rung for rung in found if rung.behaviour == name]) == 12 + len(relearned)
    assert all(rung.estimate or rung.why_not or rung.said for rung in found)
    matrix = ladder.matrix(found)
    assert matrix.notna().all(axis=None)


def test_skipped_stages_are_rungs_with_their_reason(miniature: Copy, skip_stage: Callable[..., None]) -> None:
    run = miniature("compare")
    skip_stage(run, "bypass", "asked to skip")
    found = [rung for rung in ladder.rungs(open_store(run)) if rung.evidence == "brought back inside"]
    assert [rung.text for rung in found] == ["not measured: stage bypass was skipped: asked to skip"] * 2


def test_the_chart_keeps_to_shares_and_escapes_names() -> None:
    rungs = [
        ladder.Rung("b", "<b>way</b>", "p", side=ladder.BLACK_BOX, why_not="no"),
        *ladder.recovered(ladder.rungs(open_store(RUNS / "compare")), "gender-occupation"),
    ]
    figure = recovered_chart(rungs)
    assert "&lt;b&gt;way&lt;/b&gt;" in figure.layout.yaxis.categoryarray
    assert {trace.name for trace in figure.data} >= {ladder.BLACK_BOX, ladder.WHITE_BOX, "largest control"}
    assert "not measured: no" in recovered_alt(rungs)


def test_health_names_what_a_dictionary_explains() -> None:
    frame = ladder.health(open_store(RUNS / "compare"))
    assert {"FVE base", "FVE tuned", "L0", "dead share", "loss recovered, base"} <= set(frame.columns)
    assert ladder.health(open_store(RUNS / "train")).empty


def test_stages_that_were_not_asked_for_are_listed_too(miniature: Copy) -> None:
    run = miniature("compare")
    manifest = json.loads((run / "manifest.json").read_text())
    del manifest["stages"]["elicit"]
    (run / "manifest.json").write_text(json.dumps(manifest))
    frame = records.stages_frame(open_store(run)).set_index("stage")
    assert frame.loc["elicit", "status"] == "absent"
    assert frame.loc["behaviour", "status"] == "done"


def test_a_broken_config_is_a_setting_that_cannot_be_read(miniature: Copy) -> None:
    run = miniature("compare")
    (run / "config.toml").write_text("= broken")
    assert records.settings(open_store(run))["config (config.toml)"] == "cannot be read"
