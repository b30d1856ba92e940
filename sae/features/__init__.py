"""What every latent of a paired dictionary is: rates, latent scaling, kinds, nulls, examples, logits."""

from sae.features.examples import Example, ExampleSizes, collect_examples
from sae.features.kinds import KINDS, SILENT, SWITCHED, Effects, Kinds, Thresholds, classify, live
from sae.features.logits import Promoted, direct_logits, promoted
from sae.features.nulls import LEVEL, NullSample, QValues, against_nulls, least_findings, switch_score
from sae.features.recurrence import RECURS, Matches, matches, recurrence, rotation_bar
from sae.features.scaling import Scaling, decoder_cosine, delta_norm, latent_scaling
from sae.features.statistics import LatentStatistics, latent_statistics

__all__ = [
    "KINDS",
    "LEVEL",
    "RECURS",
    "SILENT",
    "SWITCHED",
    "Effects",
    "Example",
    "ExampleSizes",
    "Kinds",
    "LatentStatistics",
    "Matches",
    "NullSample",
    "Promoted",
    "QValues",
    "Scaling",
    "Thresholds",
    "against_nulls",
    "classify",
    "collect_examples",
    "decoder_cosine",
    "delta_norm",
    "direct_logits",
    "latent_scaling",
    "latent_statistics",
    "least_findings",
    "live",
    "matches",
    "promoted",
    "recurrence",
    "rotation_bar",
    "switch_score",
]  # fmt: skip
