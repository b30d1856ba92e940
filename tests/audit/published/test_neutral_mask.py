"""The claims ledger on results made by hand: each outcome of each claim, and its places in the run."""

from __future__ import annotations

import io
from dataclasses import dataclass, field
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from rich.console import Console

from audit.errors import UsageError
from audit.evidence.invent import invented_document
from audit.evidence.run import open_run
from audit.evidence.schema.documents import Document, Estimate
from audit.evidence.schema.results import (
    BehaviourBypass,
    BehaviourResult,
    BehaviourSwitches,
    BypassResult,
    BypassTrial,
    ConceptDirections,
    DirectionsResult,
    ProbeCell,
    SuiteResult,
    SwitchesResult,
    SwitchSet,
    TemplateResult,
)
from audit.published import PublishedClaim, neutral_mask, print_claims

NAME = "partisan-lean"


def estimate(value: float, half: float = 0.01) -> Estimate:
    return Estimate(value=value, low=value - half, high=value + half, n=24)


def made(model: type[Document], **fields: Any) -> Any:
    return invented_document(model, np.random.default_rng(0), **fields)


@dataclass
class HandMade:
    """What the ledger reads of a run folder."""

    stages: dict[str, Any]
    kind: str = "compare"
    path: Path = field(default_factory=lambda: Path("runs/hand-made"))

    def manifest(self) -> Any:
        return SimpleNamespace(kind=self.kind)

    def optional(self, stage: str) -> Any:
        return self.stages.get(stage)


def trial(**changes: Any) -> BypassTrial:
    fields = {
        "intervention": "ablate", "size": 2, "recovered": estimate(0.96),
        "random_sets": 10, "random_max": 0.04, "inside_budget": True, "above_random": True,
    }  # fmt: skip
    return made(BypassTrial, **fields | changes)


def run(
    lost: dict[str, Any] | None = None,
    cell: dict[str, Any] | None = None,
    switch: dict[str, Any] | None = None,
    bypass: dict[str, Any] | None = None,
    without: tuple[str, ...] = (),
) -> HandMade:
    """A run in which every claim holds, with some of its results changed."""
    template = {"template": "plain", "split": "test", "lost_share": estimate(0.9), **(lost or {})}
    suite = {"name": NAME, "primary_template": "plain", "measurable": True, **(lost or {})}
    suite["templates"] = [made(TemplateResult, **{k: v for k, v in template.items() if k != "measurable"})]
    suite.pop("lost_share", None)
    cells = {"layer": 12, "position": "last", "measurable": True, "cosine": estimate(0.995, 0.002),
             "cosine_corrected": 1.0, "norm_ratio": estimate(1.0), "variance_ratio": 0.09}  # fmt: skip
    sets = {"kind": "neuron", "size": 2, "recovered": estimate(0.8), "reported": True, "why_not": []}
    found = made(SwitchSet, **sets | (switch or {}))
    ways = {"internal": trial(), "revert": None, **(bypass or {})}
    other = made(SuiteResult, name="other")
    stages = {
        "behaviour": made(BehaviourResult, suites=[other, made(SuiteResult, **suite)]),
        "directions": made(
            DirectionsResult,
            concepts=[made(ConceptDirections, suite=NAME, chosen=made(ProbeCell, **cells | (cell or {})))],
        ),
        "switches": made(
            SwitchesResult, behaviours=[made(BehaviourSwitches, name=NAME, searched=True, set=found)]
        ),
        "bypass": made(BypassResult, behaviours=[made(BehaviourBypass, name=NAME, **ways)]),
    }
    return HandMade({stage: result for stage, result in stages.items() if stage not in without})


def outcomes(**changes: Any) -> dict[str, str]:
    return {claim.id: claim.outcome for claim in claims(run(**changes))}


def claims(hand_made: HandMade) -> list[PublishedClaim]:
    return neutral_mask(hand_made)  # type: ignore[arg-type]  # it has what the ledger reads


def test_a_mask_as_published() -> None:
    said = {claim.id: claim for claim in claims(run())}
    assert [claim.outcome for claim in said.values()] == ["reproduced"] * 5
    assert said["direction-preserved"].measured.startswith(
        "cosine 0.995 [0.993, 0.997], over its ceiling 1.000"
    )
    assert said["full-bypass"].measured == (
        "ablate of 2: R 0.96 [0.95, 0.97], best of 10 random sets 0.04, inside the budgets"
    )


def test_every_claim_points_into_the_run() -> None:
    hand_made = run()
    for claim in claims(hand_made):
        assert claim.evidence
        for place in claim.evidence:
            file, _, pointer = place.partition("#/")
            value: Any = hand_made.stages[file.split("/")[1]].model_dump(mode="json")
            for step in pointer.split("/"):
                value = value[int(step)] if isinstance(value, list) else value[step]
            assert value is not None


@pytest.mark.parametrize(
    ("claim", "changes", "outcome"),
    [
        ("direction-preserved", {"cell": {"cosine": estimate(0.9)}}, "not reproduced"),
        ("direction-preserved", {"cell": {"cosine": estimate(0.985)}}, "not measurable"),
        ("direction-preserved", {"cell": {"norm_ratio": estimate(1.1)}}, "not reproduced"),
        ("direction-preserved", {"cell": {"norm_ratio": estimate(0.3)}}, "not reproduced"),
        ("direction-preserved", {"cell": {"norm_ratio": estimate(1.0, 0.05)}}, "not measurable"),
        ("direction-preserved", {"cell": {"measurable": False}}, "not measurable"),
        ("direction-preserved", {"cell": {"cosine": None}}, "not measurable"),
        ("direction-preserved", {"without": ("directions",)}, "not measurable"),
        ("variance-compressed", {"cell": {"variance_ratio": 0.9}}, "not reproduced"),
        ("variance-compressed", {"cell": {"variance_ratio": None}}, "not measurable"),
        ("few-features", {"switch": {"size": 17}, "bypass": {"internal": None}}, "not reproduced"),
        ("few-features", {"switch": {"size": 17}}, "reproduced"),
        ("few-features", {"switch": {"reported": False, "why_not": ["random"]},
                          "bypass": {"internal": trial(above_random=False)}}, "not reproduced"),
        ("few-features", {"switch": {"recovered": estimate(0.5, 0.2)},
                          "bypass": {"internal": trial(size=40)}}, "not measurable"),
        ("few-features", {"switch": {"recovered": None}, "bypass": {"internal": None}}, "not measurable"),
        ("few-features", {"without": ("switches",), "bypass": {"internal": None, "revert": trial(size=3)}},
         "reproduced"),
        ("few-features", {"without": ("switches", "bypass")}, "not measurable"),
        ("full-bypass", {"bypass": {"internal": trial(recovered=estimate(0.6))}}, "not reproduced"),
        ("full-bypass", {"bypass": {"internal": trial(recovered=estimate(0.9, 0.1))}}, "not measurable"),
        ("full-bypass", {"bypass": {"internal": trial(random_max=0.3)}}, "not reproduced"),
        ("full-bypass", {"bypass": {"internal": trial(random_max=None)}}, "not measurable"),
        ("full-bypass", {"bypass": {"internal": trial(inside_budget=False)}}, "not reproduced"),
        ("full-bypass", {"bypass": {"internal": trial(recovered=None)}}, "not measurable"),
        ("full-bypass", {"bypass": {"internal": None, "revert": trial()}}, "not measurable"),
        ("full-bypass", {"without": ("bypass",)}, "not measurable"),
    ],
)  # fmt: skip
def test_each_outcome(claim: str, changes: dict[str, Any], outcome: str) -> None:
    assert outcomes(**changes)[claim] == outcome


@pytest.mark.parametrize(
    ("lost", "first"),
    [
        ({"lost_share": estimate(0.1)}, "not reproduced"),
        ({"lost_share": estimate(0.5, 0.3)}, "not measurable"),
        ({"lost_share": None}, "not measurable"),
        ({"measurable": False}, "not measurable"),
    ],
)
def test_nothing_is_a_mask_of_what_did_not_go(lost: dict[str, Any], first: str) -> None:
    said = claims(run(lost=lost))
    assert [claim.outcome for claim in said] == [first, *["not measurable"] * 4]
    assert "for information: cosine" in said[1].measured


def test_a_run_without_the_suite_says_so() -> None:
    said = neutral_mask(run(), behaviour="refusal")  # type: ignore[arg-type]  # it has what the ledger reads
    assert {claim.outcome for claim in said} == {"not measurable"}
    assert said[0].measured == "the run has not measured this behaviour"
    assert said[0].evidence == []


def test_a_training_run_is_refused() -> None:
    with pytest.raises(UsageError, match="audit compare"):
        claims(HandMade({}, kind="train"))


def test_an_open_interval_is_too_wide_to_tell() -> None:
    unbounded = Estimate(value=0.99, low=None, high=None, n=3)
    assert outcomes(cell={"cosine": unbounded})["direction-preserved"] == "not measurable"


def test_a_run_folder_is_read_and_printed() -> None:
    folder = open_run(Path(__file__).parents[2] / "data" / "runs" / "compare")
    console = Console(file=io.StringIO(), width=160)
    print_claims(neutral_mask(folder), console)
    printed = console.file.getvalue()  # type: ignore[attr-defined]  # a StringIO
    assert "arXiv 2606.09735" in printed
    assert printed.count("reproduced") + printed.count("not measurable") >= 5
