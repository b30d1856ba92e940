from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor

from sae.features.statistics import LatentStatistics, latent_statistics

Maker = Callable[..., Any]


def twin(world: Any, dictionary: Any) -> dict[str, Tensor]:
    """The same sums with everything dense and in one piece."""
    x = world.x_NMD.double()
    f = dictionary.encode(world.x_NMD)[:, 0].double()
    d = dictionary.decoder_FMD.double()
    error = x - dictionary.decode(dictionary.encode(world.x_NMD)).double()
    seen_error = torch.einsum("nf,fpd,nmd->fpm", f, d, error)
    seen_raw = torch.einsum("nf,fpd,nmd->fpm", f, d, x)
    leave_one_out = error[:, None] + f[:, :, None, None] * d
    star = d[torch.arange(len(d)), d.norm(dim=-1).argmax(1)]
    a = torch.einsum("nfmd,fd->nfm", leave_one_out, star) / star.square().sum(-1)[:, None]
    on = (a >= f[:, :, None] / 2) & (f > 0)[:, :, None]
    swap = f[:, :, None] * torch.einsum("fpd,nfd->nfp", d, leave_one_out[:, :, 1] - leave_one_out[:, :, 0])
    documents = swap.split(40)
    return {
        "fires_F": (f > 0).sum(0).double(),
        "fires_FM": on.sum(0).double(),
        "sum_FM": (a * on).sum(0),
        "largest_F": f.amax(0),
        "code_FP": f.sum(0)[:, None].expand(-1, 2),
        "code_FPM": f.square().sum(0)[:, None, None].expand(-1, 2, 2),
        "error_FPM": seen_error,
        "raw_FPM": seen_raw,
        "swap_sum_FP": swap.sum(0),
        "swap_square_FP": torch.stack([part.sum(0).square() for part in documents]).sum(0),
        "mean_MD": x.mean(0),
    }


@pytest.mark.parametrize("piece", [3000, 333])
def test_one_streaming_pass_equals_the_dense_twin(world: Maker, piece: int) -> None:
    planted = world(tuned_only=2, base_only=1, rotated=1, tokens=1000, rare=0.05, noise=0.1)
    dictionary = planted.dictionary()
    found = latent_statistics(planted.stream(piece), dictionary, joint=True)
    for name, wanted in twin(planted, dictionary).items():
        torch.testing.assert_close(getattr(found, name), wanted, rtol=1e-4, atol=1e-3, msg=name)
    assert (found.tokens, found.documents, found.joint, found.carries) == (1000, 25, True, False)


def test_rates_are_per_model(world: Maker) -> None:
    planted = world(tuned_only=2, base_only=1, rotated=1, rare=0.02)
    found = latent_statistics(planted.stream(), planted.dictionary(), joint=True)
    true = (planted.code_NG > 0).double().mean(0)
    torch.testing.assert_close(found.rate_F, true)
    shared, tuned = planted.of("shared"), planted.of("tuned only")
    torch.testing.assert_close(found.rate_FM[shared], true[shared, None].expand(-1, 2))
    torch.testing.assert_close(found.rate_FM[tuned, 1], true[tuned])
    assert found.rate_FM[tuned, 0].max() == 0
    assert found.rate_FM[planted.of("base only"), 1].max() == 0
    mean = (planted.code_NG.double().sum(0) / (planted.code_NG > 0).sum(0))[shared]
    torch.testing.assert_close(found.mean_FM[shared], mean[:, None].expand(-1, 2), rtol=0.02, atol=0)


class OwnCodes:
    """A single-model dictionary read on both models: each side has its own codes."""

    def __init__(self, rows: Tensor) -> None:
        self.rows = rows
        self.decoder_FMD = rows[:, None].expand(-1, 2, -1)
        self.bias_MD = torch.full((2, rows.shape[1]), 0.5)

    def encode(self, x_NMD: Tensor) -> Tensor:
        code = (x_NMD - 0.5) @ self.rows.T
        return torch.where(code > 0.5, code, 0)

    def decode(self, codes_NMF: Tensor) -> Tensor:
        return codes_NMF @ self.rows + self.bias_MD


def test_own_codes_need_no_projection(world: Maker) -> None:
    planted = world(tuned_only=2)
    found = latent_statistics(planted.stream(), OwnCodes(planted.rows_GMD[:, 1]), joint=False)
    true = (planted.code_NG > 0).double().mean(0)
    tuned = planted.of("tuned only")
    torch.testing.assert_close(found.rate_FM[:, 1], true)
    assert found.rate_FM[tuned, 0].max() == 0
    torch.testing.assert_close(found.code_FPM[tuned, 1, 0], torch.zeros(2, dtype=torch.float64))


def test_bf16_activations_are_read_in_float32(world: Maker) -> None:
    planted = world(tokens=500)
    planted.x_NMD = planted.x_NMD.bfloat16()
    found = latent_statistics(planted.stream(), planted.dictionary(), joint=True)
    assert found.mean_MD.dtype == torch.float64
    assert found.decoder_FMD.dtype == torch.float32


def test_an_empty_stream_is_refused(world: Maker) -> None:
    with pytest.raises(ValueError, match="no activations"):
        latent_statistics(iter(()), world(tokens=10).dictionary(), joint=True)


def test_progress_counts_tokens(world: Maker) -> None:
    planted, seen = world(tokens=700), list[int]()
    latent_statistics(planted.stream(300), planted.dictionary(), joint=True, progress=seen.append)
    assert seen == [300, 300, 100]


def test_a_latent_that_never_fires_leaves_zeros(world: Maker) -> None:
    planted = world(tokens=400, tuned_only=1, rare=0.0)
    found: LatentStatistics = latent_statistics(planted.stream(), planted.dictionary(), joint=True)
    assert found.mean_FM[planted.of("tuned only")].tolist() == [[0.0, 0.0]]
    assert torch.isfinite(found.swap_square_FP).all()
