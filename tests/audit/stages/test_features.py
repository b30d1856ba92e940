"""The stage on tiny models: whole, killed and gone on with, with other dictionaries, without a null."""

from __future__ import annotations

import shutil
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
import torch

from audit.config import CompareConfig
from audit.corpora import Corpus
from audit.errors import AuditError
from audit.evidence.files import read_table
from audit.evidence.schema import TABLES
from audit.evidence.schema.results import FeaturesResult
from audit.evidence.stage import StageFolder
from audit.inputs import AuditInputs
from audit.pair.checkpoint import LoadOptions, resolve
from audit.pair.preflight import compare
from audit.stages import features
from sae.types import Document

Make = Callable[..., Path]
TINY = {
    "latents": 24, "active_latents": 3, "dictionary_steps": 8, "dictionary_seeds": 2, "benign_nulls": 1,
    "corpus_tokens": 600,
}  # fmt: skip


@pytest.fixture(autouse=True)
def small(tiny_preset: Callable[..., None]) -> None:
    torch.set_num_threads(1)
    tiny_preset(**TINY)


@pytest.fixture
def corpus() -> Corpus:
    draw = torch.Generator().manual_seed(0)
    documents = []
    for i in range(24):
        tokens = torch.randint(3, 250, (26,), generator=draw).tolist()
        roles = (("none",) * 26, ("user",) * 13 + ("assistant",) * 13)[i % 2]
        documents.append(Document(tuple(tokens), roles, f"text {i}"))  # type: ignore[arg-type]
    return Corpus(tuple(documents), "invented", "0" * 64)


def inputs(base: object, tuned: object, **settings: Any) -> AuditInputs:
    sides = [resolve(str(reference), LoadOptions()) for reference in (base, tuned)]
    config = CompareConfig(
        base=str(base), tuned=str(tuned), preset="quick", device="cpu", dtype="float32", **settings
    )
    return AuditInputs(config, sides[0], sides[1], compare(*sides), ())


def measured(audit: AuditInputs, corpus: Corpus, out: Path) -> tuple[FeaturesResult, dict[str, pd.DataFrame]]:
    out.mkdir(exist_ok=True)
    result = features.run(audit, StageFolder(out, "key"), corpus)
    names = ("features", "examples", "logits")
    return result, {name: read_table(out / f"{name}.parquet", TABLES[name]) for name in names}


@pytest.fixture
def adapter_pair(tiny_model: Make, tiny_adapter: Make) -> tuple[Path, str]:
    base = tiny_model()
    return base, f"{base}+{tiny_adapter(base)}"


def test_an_adapter_pair(adapter_pair: tuple[Path, str], corpus: Corpus, tmp_path: Path) -> None:
    result, tables = measured(inputs(*adapter_pair, keep_activations=True), corpus, tmp_path / "out")
    hook, table = result.hooks[0], tables["features"]
    assert (hook.hook, hook.latents, hook.seeds) == ("blocks.1.hook_resid_post", 24, 2)
    assert result.tokens + sum(result.masked.values()) == 24 * 26
    assert result.masked["first"] == 24
    assert sum(result.role_shares.values()) == pytest.approx(1)
    assert set(result.role_shares) >= {"none", "user", "assistant"}
    assert sum(hook.kinds.values()) == sum(hook.candidates.values()) == len(table) == 24
    assert table["kind"].value_counts().to_dict() == hook.kinds
    live = table["q_value"].notna()
    assert live.sum() == hook.live > 0
    assert hook.null_latents > 0
    assert table.loc[live, ["p_benign", "p_labels", "seed_recurrence"]].notna().all(axis=None)
    assert (table["q_value"].dropna() >= table["p_benign"].dropna() - 1e-12).all()
    null = result.nulls[0]
    assert null.kl_reached == pytest.approx(null.kl_target, rel=0.06)
    assert hook.findings == []  # eight steps of training and twenty-odd null latents can prove nothing
    assert any("stand out together" in sentence for sentence in result.not_measured)
    assert set(tables["examples"]["latent"]) <= set(table.loc[table["rate"] > 0, "latent"])
    assert tables["examples"]["stratum"].isin(["top", "quantile", "random"]).all()
    lists = tables["examples"][["tokens", "activation_base", "activation_tuned"]]
    sizes = lists.apply(lambda column: column.map(len))
    assert (sizes.nunique(axis=1) == 1).all()
    assert set(tables["logits"]["model"]) == {"base", "tuned"}
    assert len(tables["logits"]) == hook.described * 2 * 2 * 10
    from sae.dictionaries import load
    from sae.store import open_store

    kept = tmp_path / "out" / "dictionaries" / hook.hook
    assert sorted(path.name for path in kept.iterdir()) == ["seed-0", "seed-1"]
    assert load(kept / "seed-1").latents == 24
    assert sum(len(p.x_NLMD) for p in open_store(tmp_path / "out" / "activations")) == result.tokens


class Killed(BaseException):
    """Stands for kill -9: no handler of the code catches it."""


@pytest.mark.parametrize("at", ["train_dictionary", "latent_statistics", "spliced_loss"])
def test_a_killed_stage_goes_on_and_ends_alike(
    adapter_pair: tuple[Path, str], corpus: Corpus, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, at: str
) -> None:
    wanted, tables = measured(inputs(*adapter_pair), corpus, tmp_path / "straight")
    calls = 0
    module = {
        "train_dictionary": "audit.features.dictionaries", "latent_statistics": "sae.features",
        "spliced_loss": "audit.features.summary",
    }[at]  # fmt: skip
    import importlib

    real = getattr(importlib.import_module(module), at)

    def dies(*args: Any, **kwargs: Any) -> Any:
        nonlocal calls
        calls += 1
        if calls == (2 if at == "train_dictionary" else 1):
            raise Killed
        return real(*args, **kwargs)

    with monkeypatch.context() as patch:
        patch.setattr(f"{module}.{at}", dies)
        with pytest.raises(Killed):
            measured(inputs(*adapter_pair), corpus, tmp_path / "out")

    def never(*_: object, **__: object) -> None:
        raise AssertionError("the null was trained again")

    monkeypatch.setattr("audit.benign.finetune", never)
    again, same = measured(inputs(*adapter_pair), corpus, tmp_path / "out")
    assert again == wanted
    for name, table in tables.items():
        pd.testing.assert_frame_equal(same[name], table)


def test_models_that_are_equal(tiny_model: Make, corpus: Corpus, tmp_path: Path) -> None:
    base = tiny_model("gpt2")
    shutil.copytree(base, tmp_path / "copy")
    result, tables = measured(inputs(base, tmp_path / "copy"), corpus, tmp_path / "out")
    assert result.nulls == []
    assert result.hooks[0].findings == []
    assert set(result.hooks[0].candidates) <= {"shared", "unsure", "dead"}
    assert tables["features"]["q_value"].isna().all()
    assert tables["features"]["score"].max() < 0.01
    assert any("same predictions" in sentence for sentence in result.not_measured)


def test_full_models_two_hooks_and_bf16(tiny_model: Make, corpus: Corpus, tmp_path: Path) -> None:
    pair = tiny_model("gemma3"), tiny_model("gemma3", seed=1)
    result, tables = measured(inputs(*pair, layer=(0, 1)), corpus, tmp_path / "out")
    assert [hook.hook for hook in result.hooks] == ["blocks.0.hook_resid_post", "blocks.1.hook_resid_post"]
    assert len(tables["features"]) == 48


def test_a_difference_sae_says_what_it_cannot(
    adapter_pair: tuple[Path, str], corpus: Corpus, tmp_path: Path
) -> None:
    result, tables = measured(inputs(*adapter_pair, dictionary="difference"), corpus, tmp_path / "out")
    assert set(tables["features"]["candidate"]) <= {"unsure", "dead"}
    assert tables["features"]["nu_error_tuned"].isna().all()
    assert tables["features"].loc[tables["features"]["rate"] > 0, "nu_activation_tuned"].notna().all()
    assert any("difference SAE" in sentence for sentence in result.not_measured)
    assert set(tables["logits"]["model"]) == {"tuned"}


def test_a_dictionary_that_was_kept_is_loaded(
    adapter_pair: tuple[Path, str], corpus: Corpus, tmp_path: Path
) -> None:
    first, tables = measured(inputs(*adapter_pair), corpus, tmp_path / "out")
    kept = tmp_path / "out" / "dictionaries" / first.hooks[0].hook / "seed-0"
    again, same = measured(inputs(*adapter_pair, dictionary=str(kept)), corpus, tmp_path / "more")
    assert again.hooks[0].hook == first.hooks[0].hook  # it knows where it was read
    assert again.hooks[0].seeds == 1
    assert again.hooks[0].null_latents == 0
    assert any("one dictionary only" in sentence for sentence in again.not_measured)
    assert any("trained on this pair" in sentence for sentence in again.not_measured)
    names = ["rate", "nu_error_tuned", "nu_error_base", "score"]
    pd.testing.assert_frame_equal(same["features"][names], tables["features"][names])


def saelens_sae(folder: Path, width: int = 32, **metadata: str) -> Path:
    """A single-model SAE as SAELens writes it."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # what SAELens's own imports deprecate
        import sae_lens
    torch.manual_seed(0)
    sae = sae_lens.StandardSAE(sae_lens.StandardSAEConfig(d_in=width, d_sae=40))
    sae.W_enc.data, sae.W_dec.data = torch.randn(width, 40), torch.randn(40, width)
    for name, value in metadata.items():
        setattr(sae.cfg.metadata, name, value)
    sae.save_model(folder)
    return folder


def test_a_folder_of_saelens_is_read_on_both_models(
    adapter_pair: tuple[Path, str], corpus: Corpus, tmp_path: Path
) -> None:
    sae = saelens_sae(tmp_path / "sae", hook_name="blocks.1.hook_resid_pre")
    result, tables = measured(inputs(*adapter_pair, dictionary=str(sae)), corpus, tmp_path / "out")
    hook, table = result.hooks[0], tables["features"]
    assert (hook.hook, hook.latents, hook.seeds) == ("blocks.0.hook_resid_post", 40, 1)
    assert hook.null_latents > 0  # one SAE can be read on the benign pair too
    assert table["decoder_cosine"].dropna().to_numpy() == pytest.approx(1)
    assert (table["rate_base"] != table["rate_tuned"]).any()
    assert not (tmp_path / "out" / "dictionaries").exists()


def test_a_release_is_fetched_by_its_name_and_id(
    adapter_pair: tuple[Path, str], corpus: Corpus, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from sae.dictionaries import load, saelens

    sae, asked = load(saelens_sae(tmp_path / "sae")), []

    def fetched(*names: str) -> Any:
        asked.append(names)
        return sae

    monkeypatch.setattr(saelens, "load_release", fetched)
    named = {"dictionary": "saelens:owner/saes:layer_1/width_40", "layer": (1,)}
    result, _ = measured(inputs(*adapter_pair, **named), corpus, tmp_path / "out")
    assert asked == [("owner/saes", "layer_1/width_40", "cpu")]
    assert (result.hooks[0].hook, result.hooks[0].latents) == ("blocks.1.hook_resid_post", 40)


def test_a_dictionary_that_does_not_fit_is_refused_before_anything_is_read(
    adapter_pair: tuple[Path, str], corpus: Corpus, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def never(*_: object, **__: object) -> None:
        raise AssertionError("the text was read first")

    monkeypatch.setattr("audit.features.activations.harvested", never)
    (tmp_path / "empty").mkdir()
    for folder, layer, problem in (
        (saelens_sae(tmp_path / "wide", width=48), (1,), "reads 48 numbers per token; these models have 32"),
        (saelens_sae(tmp_path / "mlp", hook_name="blocks.1.hook_mlp_out"), (), "not the output of a block"),
        (saelens_sae(tmp_path / "other", hook_name="model.layers.1"), (0,), "the output of block 1"),
        (saelens_sae(tmp_path / "silent"), (), "one hook point"),
        (tmp_path / "empty", (1,), "no dictionary that can be read"),
    ):
        with pytest.raises(AuditError, match=problem):
            measured(inputs(*adapter_pair, dictionary=str(folder), layer=layer), corpus, tmp_path / "out")


def test_a_null_that_cannot_be_made_leaves_no_finding(
    adapter_pair: tuple[Path, str], corpus: Corpus, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("training.finetune.linear_layers", lambda model: {})
    result, tables = measured(inputs(*adapter_pair), corpus, tmp_path / "out")
    assert tables["features"]["q_value"].isna().all()
    assert not set(tables["features"]["kind"]) & {"base only", "tuned only", "rotated"}
    assert any("no linear layer" in sentence for sentence in result.not_measured)


def test_errors_of_the_rooms_below_are_the_users(
    adapter_pair: tuple[Path, str], tmp_path: Path, corpus: Corpus
) -> None:
    empty = Corpus((), "nothing", "0" * 64)
    with pytest.raises(AuditError, match="no documents"):
        measured(inputs(*adapter_pair), empty, tmp_path / "out")
    with pytest.raises(AuditError, match="no block 7"):
        measured(inputs(*adapter_pair, layer=(7,)), corpus, tmp_path / "more")
