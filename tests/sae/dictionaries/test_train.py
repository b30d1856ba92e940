from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file, save_file
from torch import Tensor

from sae.dictionaries import DictionaryConfig, PairedCoder, SharedSAE, train_dictionary
from sae.dictionaries.coder import Coder
from sae.dictionaries.objective import OBJECTIVES, Pressure
from sae.dictionaries.train import Training
from sae.errors import DictionaryError

CONFIG = DictionaryConfig(latents=80, k=2, k_start=4, steps=500, batch_size=256, calibration=4000, lr=1e-2)
SHORT = replace(CONFIG, steps=40, latents=24, batch_size=64, dead_after=500, checkpoint_every=7)
Planter = Callable[..., Any]


class KilledError(Exception):
    """The process ends here."""


def matches(world: Any, dictionary: PairedCoder) -> tuple[Tensor, Tensor]:
    """Per planted latent: cosine of the best trained one (both models side by side), and its index."""
    unit = torch.nn.functional.normalize
    found = (unit(world.rows_GMD.flatten(1)) @ unit(dictionary.decoder_FMD.flatten(1)).T).max(1)
    return found.values, found.indices


def of_kind(world: Any, kind: str) -> Tensor:
    return torch.tensor([k == kind for k in world.kinds])


@pytest.mark.parametrize("activation", ["batchtopk", "l1"])
def test_the_crosscoder_finds_what_was_planted(make_planted: Planter, activation: str) -> None:
    world = make_planted()
    config = replace(CONFIG, activation=activation, l1=0.5)
    trained = train_dictionary(world.stream, config)
    cosine, index = matches(world, trained.dictionary)
    assert cosine.mean() > 0.99
    assert cosine.min() > 0.97
    norms = trained.dictionary.decoder_FMD[index].norm(dim=-1)
    assert (norms[of_kind(world, "base"), 1] < 0.05).all()
    assert (norms[of_kind(world, "tuned"), 0] < 0.05).all()
    assert (norms[of_kind(world, "shared")].min(1).values > 0.9).all()
    rows = trained.dictionary.decoder_FMD[index][of_kind(world, "rotated")]
    planted = world.rows_GMD[of_kind(world, "rotated")]
    assert torch.allclose(
        torch.cosine_similarity(rows[:, 0], rows[:, 1], dim=-1),
        torch.cosine_similarity(planted[:, 0], planted[:, 1], dim=-1),
        atol=0.15,
    )
    assert min(fve or 0.0 for fve in trained.health.fve) > 0.99
    assert trained.health.held_out is False


def test_rare_latents_of_the_tuned_model_are_found(make_planted: Planter) -> None:
    world = make_planted(tokens=16_000, rare=4)
    dictionary = train_dictionary(world.stream, replace(CONFIG, latents=64, steps=900)).dictionary
    cosine, index = matches(world, dictionary)
    rare = of_kind(world, "rare")
    assert cosine[rare].min() > 0.97
    assert (dictionary.decoder_FMD[index[rare]].norm(dim=-1)[:, 0] < 0.05).all()


def test_the_difference_sae_finds_what_only_one_model_has(make_planted: Planter) -> None:
    world = make_planted()
    trained = train_dictionary(world.stream, replace(CONFIG, kind="difference", k=1, k_start=2))
    unit = torch.nn.functional.normalize
    change = unit(world.rows_GMD[:, 1] - world.rows_GMD[:, 0], dim=-1)
    cosine = (change @ unit(trained.dictionary.decoder_FMD[:, 1], dim=-1).T).max(1).values
    assert cosine[~of_kind(world, "shared")].min() > 0.95
    assert trained.health.fve[0] is None
    assert (trained.health.fve[1] or 0) > 0.95


def test_two_seeds_find_the_same_and_start_differently(make_planted: Planter) -> None:
    world = make_planted()
    first = train_dictionary(world.stream, replace(SHORT, steps=1)).dictionary.decoder_FMD
    second = train_dictionary(world.stream, replace(SHORT, steps=1, seed=1)).dictionary.decoder_FMD
    assert not torch.allclose(first, second, atol=0.1)


def test_shared_latents_keep_one_decoder_and_cost_less(make_planted: Planter) -> None:
    world = make_planted()
    found = {}
    for penalty in (0.1, 1.0):
        config = replace(CONFIG, shared=12, shared_penalty=penalty, steps=200)
        found[penalty] = train_dictionary(world.stream, config).dictionary
        tied, free = found[penalty].decoder_FMD.split([12, 68])
        assert torch.cosine_similarity(tied[:, 0], tied[:, 1], dim=-1).min() > 1 - 1e-5
        assert torch.cosine_similarity(free[:, 0], free[:, 1], dim=-1).min() < 0.5
    used = {p: (d.encode(world.x_NMD)[:, 0, :12] > 0).float().mean() for p, d in found.items()}
    assert used[0.1] > 1.2 * used[1.0]


@pytest.mark.parametrize("activation", ["topk", "batchtopk", "jumprelu"])
def test_a_shared_sae_finds_what_both_models_have(make_planted: Planter, activation: str) -> None:
    world = make_planted()
    config = replace(CONFIG, kind="shared", activation=activation, latents=64, steps=300, k=3, k_start=6)
    trained = train_dictionary(world.stream, config, held_out=lambda: world.stream(9))
    dictionary, health = trained.dictionary, trained.health
    assert isinstance(dictionary, SharedSAE)
    assert (dictionary.k == 3) == (activation == "topk")
    assert min(fve or 0 for fve in health.fve) > 0.85
    assert 1 < max(health.l0) < 6
    unit = torch.nn.functional.normalize
    shared = unit(world.rows_GMD[:16, 0]) @ unit(dictionary.decoder_FMD[:, 0]).T
    assert shared.max(1).values.mean() > 0.9
    codes = dictionary.encode(world.x_NMD)
    assert not torch.allclose(codes[:, 0], codes[:, 1])


@pytest.mark.parametrize("reads", ["base", "tuned"])
def test_an_sae_can_be_trained_on_one_model(make_planted: Planter, reads: str) -> None:
    world = make_planted(tokens=3000)
    config = replace(CONFIG, kind="shared", activation="topk", reads=reads, latents=40, k=3, steps=120)
    fve = train_dictionary(world.stream, config).health.fve
    own, other = fve if reads == "base" else fve[::-1]
    assert (own or 0) > (other or 0) + 0.05, "it knows the model that it was trained on better"


def test_half_the_precision_of_products_costs_little(make_planted: Planter) -> None:
    world = make_planted()
    config = replace(CONFIG, latents=64, steps=150)
    full, half = (
        train_dictionary(world.stream, replace(config, precision=p)) for p in ("float32", "bfloat16")
    )
    assert half.dictionary.decoder_FMD.dtype == torch.float32
    assert (half.health.fve[0] or 0) > (full.health.fve[0] or 0) - 0.02
    assert not torch.equal(half.dictionary.decoder_FMD, full.dictionary.decoder_FMD)


def test_a_batch_in_parts_is_the_batch(make_planted: Planter) -> None:
    world = make_planted(tokens=900)
    config = replace(SHORT, kind="shared", activation="topk", reads="base", aux=0.0)
    whole, parts = (train_dictionary(world.stream, replace(config, accumulate=n)).dictionary for n in (1, 4))
    torch.testing.assert_close(whole.decoder_FMD, parts.decoder_FMD, rtol=1e-3, atol=1e-3)


def test_room_for_codes_grows_when_some_were_cut(make_planted: Planter) -> None:
    world = make_planted(tokens=900)
    training = Training(world.stream, replace(SHORT, latents=400), None)
    for _ in range(17):
        training.advance()
    assert training.room == 128
    training.cut += 1
    for _ in range(16):
        training.advance()
    assert (training.room, float(training.cut)) == (256, 0)


@pytest.mark.parametrize("activation", ["batchtopk", "topk", "jumprelu"])
def test_a_step_never_waits_for_the_device(make_planted: Planter, activation: str) -> None:
    """Fake tensors have no numbers: whatever asks the device for one fails."""
    from torch._subclasses.fake_tensor import DataDependentOutputException, FakeTensorMode

    config = replace(
        SHORT, kind="shared", activation=activation, reads="base", dead_after=1, precision="bfloat16"
    )
    with FakeTensorMode(allow_non_fake_inputs=True):
        coder = Coder(config, 1, 48)
        x = torch.randn(64, 1, 48)
        adam = torch.optim.Adam(coder.parameters(), fused=True)
        dead = torch.empty(9, dtype=torch.int64)
        pressure = Pressure(3.4, 0.0, dead)
        found = OBJECTIVES[activation](coder, coder.normalise(x), config, pressure)
        torch.autograd.backward(found.loss)
        torch.nn.utils.clip_grad_norm_(coder.parameters(), 1.0)
        adam.step()
        coder.learn_threshold(found.least, 0.1)
        with pytest.raises(DataDependentOutputException):
            bool(found.loss > 0)


@pytest.mark.parametrize(
    ("activation", "kind", "more"),
    [
        ("batchtopk", "crosscoder", {}),
        ("l1", "crosscoder", {}),
        ("batchtopk", "difference", {}),
        ("l1", "difference", {}),
        ("topk", "shared", {"accumulate": 2}),
        ("batchtopk", "shared", {"precision": "bfloat16"}),
        ("jumprelu", "shared", {"reads": "tuned"}),
    ],
)
def test_a_killed_run_goes_on_to_the_bit(
    make_planted: Planter, tmp_path: Path, activation: str, kind: str, more: dict[str, Any]
) -> None:
    world, path = make_planted(tokens=900), tmp_path / "deep" / "training.safetensors"
    config = replace(SHORT, activation=activation, kind=kind, calibration=500, **more)
    straight = train_dictionary(world.stream, config).dictionary
    started = []
    for end in (5, 16, 30):
        done: list[int] = []

        def kill(steps: int, end: int = end, done: list[int] = done) -> None:
            done.append(steps)
            if sum(done) == end:
                raise KilledError

        with pytest.raises(KilledError):
            train_dictionary(world.stream, config, checkpoint=path, progress=kill)
        started.append(done[0])
    assert started == [0, 0, 14], "a run goes on from its last checkpoint"
    done = []
    resumed = train_dictionary(world.stream, config, checkpoint=path, progress=done.append).dictionary
    for name, tensor in straight.state_dict().items():
        assert torch.equal(tensor, resumed.state_dict()[name]), name
    assert done[0] == 28
    again = train_dictionary(world.stream, config, checkpoint=path).dictionary
    assert torch.equal(again.decoder_FMD, straight.decoder_FMD)


def test_a_checkpoint_of_other_settings_or_of_nothing_is_refused(
    make_planted: Planter, tmp_path: Path
) -> None:
    world, path = make_planted(tokens=900), tmp_path / "training.safetensors"
    train_dictionary(world.stream, SHORT, checkpoint=path)
    with pytest.raises(DictionaryError, match=r"another training.*k_share, lr"):
        train_dictionary(world.stream, replace(SHORT, lr=1e-3, k_share=0.1), checkpoint=path)
    save_file(load_file(path), path, {"state": json.dumps({"step": 3, "position": [0, 0]}), "identity": "{}"})
    with pytest.raises(DictionaryError, match="another training"):
        train_dictionary(world.stream, SHORT, checkpoint=path)
    path.write_bytes(path.read_bytes()[:200])
    with pytest.raises(DictionaryError, match="cannot be read"):
        train_dictionary(world.stream, SHORT, checkpoint=path)
    with pytest.raises(DictionaryError, match="cannot be written"):
        train_dictionary(world.stream, SHORT, checkpoint=path / "below-a-file")


def test_the_pieces_of_the_stream_do_not_matter(make_planted: Planter) -> None:
    world = make_planted(tokens=900)
    pieces = [list(world.x_NMD.split(size)) for size in (1, 77, 900)]
    found = [train_dictionary(lambda _, p=p: iter(p), SHORT).dictionary.decoder_FMD for p in pieces]  # type: ignore[misc]
    assert torch.equal(found[0], found[1])
    assert torch.equal(found[1], found[2])


def test_bf16_activations_train_and_are_measured_on_held_out_tokens(make_planted: Planter) -> None:
    world = make_planted(tokens=2000)
    half = world.x_NMD.bfloat16()
    trained = train_dictionary(lambda _: iter([half[:1500]]), SHORT, held_out=lambda: iter([half[1500:]]))
    assert trained.dictionary.decoder_FMD.dtype == torch.float32
    assert (trained.health.tokens, trained.health.held_out) == (500, True)


def test_numbers_that_are_not_finite_stop_the_training(make_planted: Planter) -> None:
    world = make_planted(tokens=900)
    spoilt = world.x_NMD.clone()
    spoilt[800] = torch.inf

    def late(epoch: int) -> Iterator[Tensor]:
        return iter([spoilt if epoch else world.x_NMD])

    with pytest.raises(DictionaryError, match="finite"):
        train_dictionary(lambda _: iter([spoilt]), SHORT)
    with pytest.raises(DictionaryError, match="no finite number at step"):
        train_dictionary(late, SHORT)


def test_equal_models_have_no_difference_to_learn(make_planted: Planter) -> None:
    same = make_planted(tokens=900).x_NMD[:, :1].repeat(1, 2, 1)
    with pytest.raises(DictionaryError, match="same at every token"):
        train_dictionary(lambda _: iter([same]), replace(SHORT, kind="difference"))
