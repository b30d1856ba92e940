"""`stages/<stage>/result.json`, stage by stage: the models, and which stages a run has."""

from __future__ import annotations

from audit.evidence.schema.documents import Document, RunKind
from audit.evidence.schema.results.behaviour import (
    RELIABILITY_FLOOR,
    BehaviourResult,
    FlipsResult,
    SuiteResult,
    TemplateResult,
)
from audit.evidence.schema.results.bypass import (
    BehaviourBypass,
    BypassResult,
    BypassTrial,
)
from audit.evidence.schema.results.directions import (
    ConceptDirections,
    DirectionsResult,
    ProbeCell,
)
from audit.evidence.schema.results.elicit import (
    ArmResult,
    ElicitResult,
    SuiteElicitation,
)
from audit.evidence.schema.results.features import (
    BenignNull,
    FeaturesResult,
    FoundLatent,
    HookFeatures,
    SilencedLatent,
)
from audit.evidence.schema.results.pair import (
    DirectionDrift,
    DriftResult,
    NoiseFloor,
    PreflightResult,
    WeightsResult,
)
from audit.evidence.schema.results.relearn import (
    BehaviourRelearning,
    RelearnDose,
    RelearnResult,
)
from audit.evidence.schema.results.selftest import (
    Located,
    ReliabilityBin,
    SelftestResult,
)
from audit.evidence.schema.results.switches import (
    BehaviourSwitches,
    KindSearch,
    SwitchesResult,
    SwitchSet,
)
from audit.evidence.schema.results.training import (
    AttackResult,
    TrainResult,
)
from audit.evidence.schema.results.verdict import (
    BehaviourVerdict,
    DoseEvidence,
    LadderEvidence,
    Verdict,
    VerdictResult,
    WayEvidence,
)

RESULTS: dict[str, type[Document]] = {
    "preflight": PreflightResult,
    "weights": WeightsResult,
    "behaviour": BehaviourResult,
    "drift": DriftResult,
    "elicit": ElicitResult,
    "directions": DirectionsResult,
    "features": FeaturesResult,
    "switches": SwitchesResult,
    "bypass": BypassResult,
    "relearn": RelearnResult,
    "verdict": VerdictResult,
    "train": TrainResult,
    "attack": AttackResult,
    "selftest": SelftestResult,
}
"""The model of `stages/<stage>/result.json`, by stage."""

STAGES: dict[RunKind, tuple[str, ...]] = {
    "compare": ("preflight", "weights", "behaviour", "drift", "verdict"),
    "train": ("train",),
    "attack": ("attack",),
    "selftest": ("selftest",),
}
"""The stages that a finished run of each kind has at least, in their order."""

__all__ = [
    "RELIABILITY_FLOOR",
    "RESULTS",
    "STAGES",
    "ArmResult",
    "AttackResult",
    "BehaviourBypass",
    "BehaviourRelearning",
    "BehaviourResult",
    "BehaviourSwitches",
    "BehaviourVerdict",
    "BenignNull",
    "BypassResult",
    "BypassTrial",
    "ConceptDirections",
    "DirectionDrift",
    "DirectionsResult",
    "DoseEvidence",
    "DriftResult",
    "ElicitResult",
    "FeaturesResult",
    "FlipsResult",
    "FoundLatent",
    "HookFeatures",
    "KindSearch",
    "LadderEvidence",
    "Located",
    "NoiseFloor",
    "PreflightResult",
    "ProbeCell",
    "RelearnDose",
    "RelearnResult",
    "ReliabilityBin",
    "SelftestResult",
    "SilencedLatent",
    "SuiteElicitation",
    "SuiteResult",
    "SwitchSet",
    "SwitchesResult",
    "TemplateResult",
    "TrainResult",
    "Verdict",
    "VerdictResult",
    "WayEvidence",
    "WeightsResult",
]
