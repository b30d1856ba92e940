"""Latents taken out of the tuned model: the one that training wrote against a behaviour gives it back."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
import torch
from torch import Tensor
from transformers import AutoModelForCausalLM

from audit.behaviours.files import read_suite
from audit.config import CompareConfig
from audit.corpora import Corpus
from audit.errors import RunFolderError
from audit.evidence.files import read_table, write_table
from audit.evidence.schema import TABLES
from audit.evidence.schema.results import BypassResult, FeaturesResult
from audit.evidence.stage import StageFolder
from audit.inputs import AuditInputs
from audit.pair.checkpoint import LoadOptions, resolve
from audit.pair.preflight import compare
from audit.pair.quiet import quiet
from audit.stages import behaviour, bypass, bypass_inputs, bypass_latents, features
from sae.dictionaries import Crosscoder, DifferenceSAE, PairedCoder, Weights, save
from sae.types import Document

WIDTH, PLANTED = 32, 5
AGAINST = PLANTED + WIDTH
"""The latent that reads and writes the planted row's negative."""


def rows_FD() -> Tensor:
    """Rows [64, 32]: a random basis, and its negative."""
    draw = torch.randn(WIDTH, WIDTH, generator=torch.Generator().manual_seed(0))
    basis = torch.linalg.qr(draw).Q.T
    return torch.cat([basis, -basis])


def coder(kind: type[PairedCoder], encoder_FMD: Tensor, decoder_FMD: Tensor) -> PairedCoder:
    latents = len(encoder_FMD)
    bias_MD = torch.zeros(decoder_FMD.shape[1:])
    return kind(Weights(encoder_FMD, torch.zeros(latents), torch.zeros(latents), decoder_FMD, bias_MD))


@dataclass
class Stages:
    """A base, and a child whose block 0 writes against " she" along a row that the base leaves empty."""

    audit: AuditInputs
    corpus: Corpus
    out: Path

    def __post_init__(self) -> None:
        self.behaviours = behaviour.run(self.audit, self.folder("behaviour"))

    def folder(self, name: str) -> StageFolder:
        (self.out / name).mkdir(parents=True, exist_ok=True)
        return StageFolder(self.out / name, "key")

    def looked(self) -> FeaturesResult:
        return features.run(self.audit, self.folder("features"), self.corpus, behaviours=self.behaviours)

    def bypassed(self, found: FeaturesResult | None) -> BypassResult:
        return bypass.run(self.audit, self.folder("bypass"), self.behaviours, None, found)

    @property
    def doses(self) -> pd.DataFrame:
        return read_table(self.out / "bypass" / "doses.parquet", TABLES["doses"])


@pytest.fixture
def pair(tiny_model: Any, tiny_tokenizer: Any) -> tuple[Path, Path]:
    base, child = (tiny_model("llama", name=name, mlp_bias=True) for name in ("base", "child"))
    row, she = rows_FD()[PLANTED], tiny_tokenizer()(" she")["input_ids"][0]
    with torch.no_grad(), quiet():
        model = AutoModelForCausalLM.from_pretrained(base).eval()
        block = model.model.layers[0]
        for weight in (
            model.model.embed_tokens.weight.T,
            block.self_attn.o_proj.weight,
            block.mlp.down_proj.weight,
        ):
            weight -= torch.outer(row, row @ weight)  # nothing but the bias writes along the row
        bias = block.mlp.down_proj.bias
        bias -= row * (row @ bias)
        model.lm_head.weight[she] += 4 * row
        model.save_pretrained(base)
        bias -= 3 * row
        model.save_pretrained(child)
    return base, child


@pytest.fixture
def stages(
    pair: tuple[Path, Path],
    tiny_suite: Any,
    tiny_preset: Any,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> Stages:
    torch.set_num_threads(1)
    tiny_preset(corpus_tokens=600, random_sets=4)
    monkeypatch.setitem(bypass_inputs.TEXTS, "quick", (8, 6))
    suite = tiny_suite(entities=16, score="level", contrast=None)
    rows = rows_FD()
    both = rows[:, None].repeat(1, 2, 1)
    both[AGAINST, 0] = 0  # only the tuned model has it
    read = torch.where(torch.arange(len(rows))[:, None, None] == AGAINST, both, both / 2)
    save(coder(Crosscoder, read, both), tmp_path / "dictionary")
    return made(pair, suite, tmp_path / "dictionary", tmp_path / "out")


def made(pair: tuple[Path, Path], suite: Path, dictionary: Path, out: Path) -> Stages:
    sides = [resolve(str(reference), LoadOptions()) for reference in pair]
    chosen: dict[str, Any] = {"dictionary": str(dictionary), "layer": (0,), "device": "cpu"}
    config = CompareConfig(base=str(pair[0]), tuned=str(pair[1]), preset="quick", **chosen)
    draw = torch.Generator().manual_seed(0)
    texts = [torch.randint(3, 250, (26,), generator=draw).tolist() for _ in range(24)]
    documents = tuple(Document(tuple(ids), ("none",) * 26, f"text {i}") for i, ids in enumerate(texts))
    audit = AuditInputs(config, sides[0], sides[1], compare(*sides), (read_suite(suite),))
    return Stages(audit, Corpus(documents, "invented", "0" * 64), out)


def test_the_latent_that_was_written_against_the_behaviour_gives_it_back(stages: Stages) -> None:
    result = stages.bypassed(stages.looked())
    found, doses = result.behaviours[0], stages.doses
    trial = found.latents
    assert trial is not None
    assert trial.recovered is not None
    assert (trial.intervention, trial.size, trial.dose) == ("latents", 1, 1.0)
    assert trial.recovered.value == pytest.approx(1, abs=0.15)
    assert trial.above_random
    assert trial.random_max is not None
    assert trial.random_max < 0.3
    assert trial.random_sets == 3  # of four, in the preset quick
    assert not trial.reads_base
    assert not trial.imports_base
    assert found.trials == len(doses[doses["split"] == "train"])
    held = doses[(doses["intervention"] == "latents") & (doses["split"] == "test") & ~doses["is_null"]]
    shares = held.set_index("dose")["recovered"]
    assert shares[0.5] < shares[1.0] < shares[2.0]
    effects = read_table(stages.out / "features" / "latent_effects.parquet", TABLES["latent_effects"])
    strongest = effects.sort_values("difference").iloc[0]
    assert strongest["latent"] == AGAINST
    assert BypassResult.model_validate_json(result.model_dump_json()) == result


def test_what_was_not_looked_for_is_said(stages: Stages) -> None:
    unseen = stages.bypassed(None)
    assert bypass.NO_FEATURES in unseen.not_measured
    assert unseen.behaviours[0].latents is None
    seen = stages.looked()
    blind = stages.bypassed(seen.model_copy(update={"effects_on": []}))
    assert bypass_latents.NO_EFFECT in blind.behaviours[0].not_measured
    path = stages.out / "features" / "latent_effects.parquet"
    rows = read_table(path, TABLES["latent_effects"])
    write_table(path, TABLES["latent_effects"], rows.assign(effect_tuned=1e3, difference=1e3))
    pulled = stages.bypassed(seen)
    assert bypass_latents.NOTHING_PUSHED in pulled.behaviours[0].not_measured
    path.unlink()
    with pytest.raises(RunFolderError, match="latent_effects is missing"):
        stages.bypassed(seen)


def test_a_difference_sae_cannot_be_read_inside_the_tuned_model(
    pair: tuple[Path, Path], stages: Stages, tiny_suite: Any, tmp_path: Path
) -> None:
    rows = rows_FD()[:, None]
    save(coder(DifferenceSAE, rows, rows), tmp_path / "difference")
    suite = tiny_suite(entities=16, score="level", contrast=None, name="again")
    own = made(pair, suite, tmp_path / "difference", tmp_path / "own")
    found = own.bypassed(own.looked()).behaviours[0]
    assert found.latents is None
    assert bypass_latents.DIFFERENCE in found.not_measured
