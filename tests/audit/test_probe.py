"""A text through stored dictionaries: equal to the harvest's own codes, and refused where it has to be."""

from __future__ import annotations

import io
import json
import shutil
import subprocess
import sys
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from rich.console import Console

from audit import probe
from audit.config import CompareConfig
from audit.corpora import Corpus
from audit.errors import AuditError, RunFolderError, UsageError
from audit.evidence.files import sha256_file, write_json
from audit.evidence.run import RunFolder, writing_run
from audit.evidence.schema.documents import Done
from audit.evidence.stage import run_stage
from audit.inputs import AuditInputs
from audit.manifests import new_manifest
from audit.pair.checkpoint import LoadOptions, resolve
from audit.pair.load import load_single
from audit.pair.preflight import compare
from audit.probe import ProbeConfig, answer, check_memory, print_probed, run_probe
from audit.stages import features
from sae.dictionaries import load
from sae.features.examples import activations
from sae.hooks import capture
from sae.types import Document

Make = Callable[..., Path]
TEXT = "the nurse said that she works today and the doctor said that he"
HOOK = "blocks.1.hook_resid_post"


@pytest.fixture(autouse=True)
def small(tiny_preset: Callable[..., None]) -> None:
    torch.set_num_threads(1)
    tiny_preset(latents=24, active_latents=3, dictionary_steps=8, dictionary_seeds=2, benign_nulls=0)


def corpus() -> Corpus:
    draw = torch.Generator().manual_seed(0)
    found = []
    for i in range(16):
        tokens = torch.randint(3, 250, (26,), generator=draw).tolist()
        found.append(Document(tuple(tokens), ("none",) * 26, f"text {i}"))
    return Corpus(tuple(found), "invented", "0" * 64)


def made_run(base: object, tuned: object, out: Path, **settings: Any) -> RunFolder:
    """A run with the one stage that a probe needs."""
    sides = [resolve(str(reference), LoadOptions()) for reference in (base, tuned)]
    config = CompareConfig(
        base=str(base), tuned=str(tuned), preset="quick", device="cpu", dtype="float32", **settings
    )
    audit = AuditInputs(config, sides[0], sides[1], compare(*sides), ())
    manifest = new_manifest(
        "compare", base=sides[0], tuned=sides[1], dtype="float32", device="cpu", seed=0, data={}
    )
    with writing_run(out, manifest, "") as run:
        run_stage(run, "features", {}, lambda folder: features.run(audit, folder, corpus()))
    audit.close()
    return run


@pytest.fixture
def two(tiny_model: Make, tmp_path: Path) -> RunFolder:
    return made_run(tiny_model(), tiny_model(seed=1), tmp_path / "run")


def expected(run: RunFolder, tokens: list[int], layer: int = 1) -> torch.Tensor:
    """Codes by hand: plain forward passes of each model alone, and the dictionary on what they give."""
    manifest, ids = run.manifest(), torch.tensor([tokens])
    assert manifest.tuned is not None
    streams = []
    for record in (manifest.base, manifest.tuned):
        adapter = f"+{record.adapter.reference}" if record.adapter else ""
        loaded = load_single(resolve(record.path + adapter, LoadOptions()), dtype="float32", device="cpu")
        streams.append(capture(loaded.model, [layer], ids, torch.ones_like(ids))[0, 0])
    dictionary = load(run.stage_path("features") / "dictionaries" / HOOK / "seed-0")
    found = activations(
        dictionary, torch.stack(streams, 1), torch.arange(dictionary.latents), joint=dictionary.joint
    )
    found[0] = 0
    return found


@pytest.mark.parametrize("kind", ["crosscoder", "difference", "topk"])
def test_activations_are_those_of_plain_passes(tiny_model: Make, tmp_path: Path, kind: str) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # SAELens imports what TransformerLens calls deprecated
        run = made_run(tiny_model(), tiny_model(seed=1), tmp_path / "run", dictionary=kind)
    found = run_probe(ProbeConfig(run=str(run.path), text=TEXT, top=200))
    tokenizer = load_single(
        resolve(run.manifest().base.path, LoadOptions()), dtype="float32", device="cpu"
    ).tokenizer
    wanted = expected(run, tokenizer(TEXT)["input_ids"])
    assert (found.hook, found.latents, found.left_out) == (HOOK, 24, 1)
    assert "".join(found.tokens) == TEXT
    active = set((wanted.amax((0, 2)) > 0).nonzero().flatten().tolist())
    assert active
    assert {one.latent for one in found.found} == active
    for one in found.found:
        got = torch.tensor([one.base, one.tuned]).T
        torch.testing.assert_close(got.float(), wanted[:, one.latent], atol=1e-4, rtol=1e-4)
    strongest = [max(*one.base, *one.tuned) for one in found.found]
    assert strongest == sorted(strongest, reverse=True)


def test_an_adapter_pair_by_difference(tiny_model: Make, tiny_adapter: Make, tmp_path: Path) -> None:
    base = tiny_model()
    run = made_run(base, f"{base}+{tiny_adapter(base)}", tmp_path / "run")
    found = run_probe(
        ProbeConfig(run=str(run.path), text=TEXT, hook=HOOK, latent=(5,), top=3, order="difference")
    )
    assert found.found[0].latent == 5
    gaps = [max(abs(b - t) for b, t in zip(one.base, one.tuned, strict=True)) for one in found.found[1:]]
    assert gaps == sorted(gaps, reverse=True)
    console = Console(file=io.StringIO(), width=120)
    print_probed(found, console)
    assert HOOK in console.file.getvalue()  # type: ignore[attr-defined]


@pytest.mark.parametrize(
    ("settings", "said"),
    [
        ({"text": "  "}, "not empty"),
        ({"text": "a" * 30_000}, "characters"),
        ({"text": "a", "top": -1}, "top"),
        ({"text": "a", "order": "loudest"}, "order"),
    ],
)
def test_settings_that_make_no_sense(settings: dict[str, Any], said: str) -> None:
    with pytest.raises(UsageError, match=said):
        ProbeConfig(run="run", **settings)


@pytest.mark.parametrize(
    ("settings", "said"),
    [
        ({"hook": "blocks.0.hook_resid_post"}, "no hook point"),
        ({"latent": (24,)}, "no latent 24"),
        ({"text": "x" * 2000}, "at most"),
    ],
)
def test_what_the_run_does_not_have(two: RunFolder, settings: dict[str, Any], said: str) -> None:
    with pytest.raises(AuditError, match=said):
        run_probe(ProbeConfig(**{"run": str(two.path), "text": TEXT, **settings}))


def test_a_changed_model_is_not_opened(two: RunFolder) -> None:
    path = Path(two.manifest().base.path) / "model.safetensors"
    from safetensors.torch import load_file, save_file

    tensors = load_file(path)
    name = next(iter(tensors))
    save_file(tensors | {name: tensors[name] + 1e-3}, path, {"format": "pt"})
    with pytest.raises(AuditError, match="SHA-256"):
        run_probe(ProbeConfig(run=str(two.path), text=TEXT))


@pytest.mark.parametrize("path", ["/nowhere/at/all", "org/name", "a\0b", "x" * 5000])
def test_a_model_that_is_not_here_is_never_fetched(two: RunFolder, path: str) -> None:
    manifest = two.manifest()
    two.write_manifest(manifest.model_copy(update={"base": manifest.base.model_copy(update={"path": path})}))
    with pytest.raises(AuditError, match="not on this machine"):
        run_probe(ProbeConfig(run=str(two.path), text=TEXT))


def test_a_pickled_model_is_not_opened(two: RunFolder, tiny_model: Make) -> None:
    folder = Path(two.manifest().base.path)
    from safetensors.torch import load_file

    torch.save(load_file(folder / "model.safetensors"), folder / "pytorch_model.bin")
    (folder / "model.safetensors").unlink()
    with pytest.raises(AuditError, match="pickle"):
        run_probe(ProbeConfig(run=str(two.path), text=TEXT))


def test_a_changed_dictionary_is_not_opened(two: RunFolder) -> None:
    path = two.stage_path("features") / "dictionaries" / HOOK / "seed-0" / "cfg.json"
    path.write_text(path.read_text() + " ")
    with pytest.raises(RunFolderError, match="changed"):
        run_probe(ProbeConfig(run=str(two.path), text=TEXT))


def test_a_dictionary_outside_the_run_is_not_opened(two: RunFolder, tmp_path: Path) -> None:
    inside = two.stage_path("features") / "dictionaries" / HOOK / "seed-0"
    shutil.move(inside, tmp_path / "elsewhere")
    inside.symlink_to(tmp_path / "elsewhere")
    with pytest.raises(RunFolderError, match="outside"):
        run_probe(ProbeConfig(run=str(two.path), text=TEXT))


def test_a_run_whose_dictionary_was_loaded(two: RunFolder) -> None:
    path = two.stage_path("features") / "DONE"
    done = Done.model_validate(json.loads(path.read_text()))
    files = {name: sha for name, sha in done.files.items() if not name.startswith("dictionaries/")}
    write_json(path, done.model_copy(update={"files": files}).model_dump(mode="json"))
    state = two.manifest().stages["features"].model_copy(update={"done": sha256_file(path)})
    two.update_stage("features", state)
    with pytest.raises(RunFolderError, match="not stored"):
        run_probe(ProbeConfig(run=str(two.path), text=TEXT))


@pytest.mark.parametrize("kind", ["train", "compare"])
def test_invented_runs_say_what_is_missing(kind: str) -> None:
    run = Path(__file__).parents[1] / "data" / "runs" / kind
    with pytest.raises(RunFolderError, match="no dictionary"):
        run_probe(ProbeConfig(run=str(run), text=TEXT))


def test_too_little_memory_is_said_before_anything_is_loaded(
    tiny_model: Make, monkeypatch: pytest.MonkeyPatch
) -> None:
    checkpoint = resolve(str(tiny_model()), LoadOptions())
    check_memory([checkpoint], "float32", "cpu")
    monkeypatch.setattr(probe, "ROOM_MB", 2**40)
    with pytest.raises(AuditError, match="MB are free"):
        check_memory([checkpoint], "float32", "cpu")


def test_the_dashboard_s_door(two: RunFolder) -> None:
    """Another process, JSON in and out, and an error as JSON."""
    command = [sys.executable, "-P", "-m", "audit.probe"]
    request = json.dumps({"run": str(two.path), "text": TEXT, "top": 2, "latent": [3]})
    done = subprocess.run(command, input=request, capture_output=True, text=True, check=True)
    found = json.loads(done.stdout)["result"]
    assert found["found"][0]["latent"] == 3
    assert len(found["tokens"]) == len(found["found"][0]["base"])
    assert answer([])["error"]["problem"] == "The request is no object."
    assert "no hook point" in answer({"run": str(two.path), "text": "a", "hook": "x"})["error"]["problem"]
    assert "settings" in answer({"run": str(two.path), "texts": "a"})["error"]["problem"]
