"""Silenced latents through the stage: a direction that the tuned model holds and no longer reads."""

from __future__ import annotations

import json
import shutil
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
from audit.evidence.files import read_table
from audit.evidence.schema import TABLES
from audit.evidence.schema.results import BehaviourResult, FeaturesResult
from audit.evidence.stage import StageFolder
from audit.inputs import AuditInputs
from audit.organisms import world_of
from audit.organisms.export import write_corpus, write_suite
from audit.organisms.manifest import read_manifest
from audit.pair.checkpoint import LoadOptions, resolve
from audit.pair.preflight import compare
from audit.pair.quiet import quiet
from audit.stages import behaviour, features
from sae.dictionaries import Crosscoder, Weights, load, save
from sae.types import Document

HOOK, WIDTH, LATENT = "blocks.0.hook_resid_post", 32, 5


@dataclass
class World:
    """A base, a child that is deaf to a direction behind block 0, and a dictionary with that direction."""

    base: Path
    child: Path | str
    suite: Path
    dictionary: Path

    def inputs(self, **settings: Any) -> AuditInputs:
        sides = [resolve(str(reference), LoadOptions()) for reference in (self.base, self.child)]
        chosen = {"dictionary": str(self.dictionary), "layer": (0,), "device": "cpu", **settings}
        config = CompareConfig(base=str(self.base), tuned=str(self.child), preset="quick", **chosen)
        return AuditInputs(config, sides[0], sides[1], compare(*sides), (read_suite(self.suite),))


def orthonormal() -> Tensor:
    """Rows [64, 32]: a random basis, and its negative."""
    draw = torch.randn(WIDTH, WIDTH, generator=torch.Generator().manual_seed(0))
    basis = torch.linalg.qr(draw).Q.T
    return torch.cat([basis, -basis])


def crosscoder(rows_FD: Tensor) -> Crosscoder:
    """Reconstructs both streams without an error: each code is the mean of the two."""
    rows, latents = rows_FD[:, None].repeat(1, 2, 1), len(rows_FD)
    return Crosscoder(
        Weights(rows / 2, torch.zeros(latents), torch.zeros(latents), rows, torch.zeros(2, WIDTH))
    )


def deafen(model: Any, direction: Tensor) -> None:
    """Nothing behind block 0 reads the direction, nor does the unembedding."""
    away = torch.eye(WIDTH) - torch.outer(direction, direction)
    block = model.model.layers[1]
    readers = [block.self_attn.q_proj, block.self_attn.k_proj, block.self_attn.v_proj, block.mlp.gate_proj]
    for module in (*readers, block.mlp.up_proj, model.lm_head):
        module.weight.data = module.weight.data @ away


@pytest.fixture
def world(tiny_model: Any, tiny_suite: Any, tiny_tokenizer: Any, tiny_preset: Any, tmp_path: Path) -> World:
    torch.set_num_threads(1)
    tiny_preset(corpus_tokens=600)
    base, child = (tiny_model("llama", name=name, mlp_bias=True) for name in ("base", "child"))
    rows, she = orthonormal(), tiny_tokenizer()(" she")["input_ids"][0]
    save(crosscoder(rows), tmp_path / "dictionary")
    with torch.no_grad(), quiet():
        model = AutoModelForCausalLM.from_pretrained(base).eval()
        model.model.layers[0].mlp.down_proj.bias += 3 * rows[LATENT]
        model.lm_head.weight[she] += 4 * rows[LATENT]
        model.save_pretrained(base)
        deafen(model, rows[LATENT])
        model.save_pretrained(child)
    suite = tiny_suite(entities=16, score="level", contrast=None)
    return World(base, child, suite, tmp_path / "dictionary")


@pytest.fixture
def corpus() -> Corpus:
    draw = torch.Generator().manual_seed(0)
    texts = [torch.randint(3, 250, (26,), generator=draw).tolist() for _ in range(24)]
    documents = [Document(tuple(ids), ("none",) * 26, f"text {i}") for i, ids in enumerate(texts)]
    return Corpus(tuple(documents), "invented", "0" * 64)


def measured(audit: AuditInputs, out: Path) -> BehaviourResult:
    return behaviour.run(audit, StageFolder(out / "behaviour", "key"))


def run(
    audit: AuditInputs, corpus: Corpus, out: Path, behaviours: BehaviourResult | None
) -> tuple[FeaturesResult, pd.DataFrame, pd.DataFrame]:
    out.mkdir(exist_ok=True)
    result = features.run(audit, StageFolder(out, "key"), corpus, behaviours=behaviours)
    tables = (read_table(out / f"{name}.parquet", TABLES[name]) for name in ("features", "latent_effects"))
    return result, *tables


def test_a_latent_whose_write_is_gone_is_silenced(world: World, corpus: Corpus, tmp_path: Path) -> None:
    audit = world.inputs()
    result, table, effects = run(audit, corpus, tmp_path / "out", measured(audit, tmp_path))
    assert result.effects_on == ["tiny"]
    silenced = result.hooks[0].silenced
    assert silenced[0].latent == LATENT
    assert {one.latent for one in silenced} == set(table.loc[table["kind"] == "silenced", "latent"])
    rows, found = table.set_index("latent"), effects.set_index("latent")
    assert rows.loc[LATENT, "rate_tuned"] == pytest.approx(rows.loc[LATENT, "rate_base"])
    assert rows.loc[LATENT, "mean_tuned"] == pytest.approx(rows.loc[LATENT, "mean_base"], rel=1e-3)
    assert found.loc[LATENT, "effect_base"] > 1
    assert abs(found.loc[LATENT, "effect_tuned"]) < 0.02
    assert found.loc[LATENT, "q_value"] < 0.05
    # Others lose what they did through the same row, by way of the norm in front of it: far less.
    lost = rows["write_attribution"]
    assert lost[LATENT] == pytest.approx(found.loc[LATENT, "difference"])
    assert silenced[0].effect_tuned - silenced[0].effect_base == pytest.approx(lost[LATENT])
    others = [one.latent for one in silenced[1:]]
    assert (lost[others] / lost[LATENT]).lt(0.25).all()
    assert LATENT in set(read_table(tmp_path / "out" / "examples.parquet", TABLES["examples"])["latent"])


def test_without_a_change_nothing_is_silenced(world: World, corpus: Corpus, tmp_path: Path) -> None:
    audit = world.inputs()
    result, table, effects = run(audit, corpus, tmp_path / "unasked", None)
    assert any("No behaviour was measured" in sentence for sentence in result.not_measured)
    shutil.copytree(world.base, tmp_path / "twin")
    same = World(world.base, tmp_path / "twin", world.suite, world.dictionary).inputs()
    behaviours = measured(same, tmp_path)
    twin, table_twin, effects_twin = run(same, corpus, tmp_path / "out", behaviours)
    assert any("no effect that a latent could have lost" in sentence for sentence in twin.not_measured)
    for found, rows, lost in ((result, table, effects), (twin, table_twin, effects_twin)):
        assert found.effects_on == found.hooks[0].silenced == []
        assert rows["write_attribution"].isna().all()
        assert "silenced" not in set(rows["kind"])
        assert lost.empty


class Killed(BaseException):
    """Stands for kill -9: no handler of the code catches it."""


def test_a_killed_stage_keeps_the_effects(
    world: World, corpus: Corpus, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    audit = world.inputs()
    behaviours = measured(audit, tmp_path)
    straight = run(audit, corpus, tmp_path / "straight", behaviours)

    def dies(*_: object, **__: object) -> None:
        raise Killed

    with monkeypatch.context() as patch:
        patch.setattr("sae.features.classify", dies)
        with pytest.raises(Killed):
            run(audit, corpus, tmp_path / "out", behaviours)
    monkeypatch.setattr("audit.features.effects.latent_effects", dies)
    again = run(audit, corpus, tmp_path / "out", behaviours)
    assert again[0] == straight[0]
    for wanted, table in zip(straight[1:], again[1:], strict=True):
        pd.testing.assert_frame_equal(wanted, table)


def test_an_adapter_pair_in_one_copy_of_the_weights(
    world: World, tiny_adapter: Any, corpus: Corpus, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("audit.stages.changed.unchanged", lambda result: None)
    pair = World(world.base, f"{world.base}+{tiny_adapter(world.base)}", world.suite, world.dictionary)
    audit = pair.inputs()
    result, table, effects = run(audit, corpus, tmp_path / "out", measured(audit, tmp_path))
    assert audit.pair.one_copy
    assert result.effects_on == ["tiny"]
    assert (effects["effect_base"] != effects["effect_tuned"]).any()
    assert table["write_attribution"].notna().all()


@pytest.mark.slow
def test_a_trained_dictionary_shows_the_class_that_nothing_reads_any_more(
    organism: Any, tiny_preset: Any, tmp_path: Path
) -> None:
    """Silenced latents write along the direction of the class, nearly all of them, and each way."""
    torch.set_num_threads(1)
    sizes = {"latents": 256, "active_latents": 8, "dictionary_steps": 300}
    tiny_preset(**sizes, dictionary_seeds=1, benign_nulls=0)
    base, child = organism("base"), organism("feature")
    truth = read_manifest(child)
    assert truth.layer == 1
    suite = write_suite(world_of(truth).suite(), tmp_path / "suite.jsonl")
    audit = World(base, child, suite, tmp_path).inputs(dictionary="crosscoder", layer=(1,))
    texts = write_corpus(world_of(truth), tmp_path / "texts.jsonl", documents=400).read_text().splitlines()
    ids = [audit.pair.tokenizer("base")(json.loads(text)["text"])["input_ids"] for text in texts]
    documents = tuple(Document(tuple(i), ("none",) * len(i), f"text {n}") for n, i in enumerate(ids))
    result, table, _ = run(
        audit, Corpus(documents, "world", "0" * 64), tmp_path / "out", measured(audit, tmp_path)
    )
    rows = load(tmp_path / "out" / "dictionaries" / "blocks.1.hook_resid_post" / "seed-0").decoder_FMD[:, 0]
    cosine = torch.nn.functional.cosine_similarity(rows, torch.tensor(truth.direction), dim=1)
    found = [one.latent for one in result.hooks[0].silenced]
    assert (cosine[found].abs() > 0.3).float().mean() > 0.8
    assert cosine[found].min() < 0 < cosine[found].max()
    live = table.loc[table["kind"].isin(["shared", "silenced"]), "latent"]
    assert cosine[live.to_list()].abs().quantile(0.5) < 0.2  # most live latents have nothing to do with it
