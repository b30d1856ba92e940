from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch

from sae.features import ExampleSizes, collect_examples
from sae.features.examples import Example

Maker = Callable[..., Any]
SIZES = ExampleSizes(top=4, quantile=3, random=3, pool=12, before=3, after=2)


def collected(planted: Any, piece: int = 3000, latents: tuple[int, ...] = (0, 17)) -> list[Example]:
    return collect_examples(
        planted.stream(piece), planted.dictionary(), torch.tensor(latents), joint=True, seed=0, sizes=SIZES
    )


def test_top_examples_are_the_strongest_one_per_document(world: Maker) -> None:
    planted = world(shared=16, tuned_only=2, rare=0.02, noise=1e-4)
    found = [e for e in collected(planted) if (e.latent, e.stratum) == (17, "top")]
    per_document = planted.code_NG[:, 17].reshape(-1, 40)
    wanted = per_document.amax(1).topk(4)
    assert [e.document for e in found] == wanted.indices.tolist()
    assert [e.rank for e in found] == [0, 1, 2, 3]
    for example in found:
        token = example.start + example.position
        assert token == int(per_document[example.document].argmax())
        base, tuned = example.activation_WM[example.position].tolist()
        assert abs(tuned - float(per_document[example.document, token])) < 0.2
        assert base < 0.2 * tuned  # the base does not have it
        assert example.role == (40 * example.document + token) % 5


def test_windows_show_the_same_tokens_in_both_models(world: Maker) -> None:
    planted = world(shared=16, tuned_only=2)
    for example in collected(planted):
        if example.latent == 0:
            codes = planted.code_NG[40 * example.document :][:40, 0]
            end = min(40, example.start + len(example.activation_WM))
            shown = example.activation_WM[: end - example.start]
            assert (shown - codes[example.start : end, None]).abs().max() < 0.2
            assert example.position == min(3, example.start + example.position)


def test_quantiles_span_the_activations_and_random_ones_differ(world: Maker) -> None:
    planted = world(shared=16, tuned_only=2)
    found = {
        s: [e for e in collected(planted) if (e.latent, e.stratum) == (0, s)] for s in ("quantile", "random")
    }
    assert [len(v) for v in found.values()] == [3, 3]
    strength = [float(e.activation_WM[e.position].amax()) for e in found["quantile"]]
    assert strength == sorted(strength, reverse=True)
    assert strength[0] - strength[-1] > 0.3
    places = {(e.document, e.start + e.position) for v in found.values() for e in v}
    assert len(places) == 6


def test_a_uniform_sample_is_uniform_and_does_not_depend_on_the_cut(world: Maker) -> None:
    planted = world(shared=16, tuned_only=2)
    a, b = (
        [(e.stratum, e.rank, e.document, e.start + e.position) for e in collected(planted, piece)]
        for piece in (3000, 77)
    )
    assert a == b
    documents = torch.tensor([
        e.document for seed in range(6)
        for e in collect_examples(planted.stream(), planted.dictionary(), torch.arange(16), joint=True,
                                  seed=seed, sizes=ExampleSizes(top=0, quantile=0, random=12, pool=12))
    ]).double()  # fmt: skip
    assert len(documents) == 6 * 16 * 12
    assert abs(documents.mean() / 99.5 - 1) < 0.05  # 200 documents


def test_masked_neighbours_are_silent(world: Maker) -> None:
    planted = world(shared=16, tuned_only=2)
    pieces = list(planted.stream(8000))
    info = pieces[0].info
    keep = info.position_N % 2 == 0
    masked = type(pieces[0])(
        pieces[0].x_NLMD[keep], type(info)(*(getattr(info, n)[keep] for n in info.__dataclass_fields__))
    )
    found = collect_examples(
        iter([masked]), planted.dictionary(), torch.tensor([0]), joint=True, seed=0, sizes=SIZES
    )
    for example in found:
        odd = (example.start + torch.arange(len(example.activation_WM))) % 2 == 1
        assert example.activation_WM[odd].abs().max() == 0


def test_a_silent_latent_and_no_latents(world: Maker) -> None:
    planted = world(shared=16, tuned_only=2, rare=0.0)
    assert [e for e in collected(planted) if e.latent == 17] == []
    assert collected(planted, latents=()) == []
