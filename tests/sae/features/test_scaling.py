from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch

from sae.features import delta_norm, latent_scaling, latent_statistics

Maker = Callable[..., Any]


def test_betas_are_the_least_squares_solutions(world: Maker) -> None:
    """The plain twin: lstsq of each target on f_j d_j, latent by latent."""
    planted = world(shared=6, tuned_only=2, base_only=1, rotated=1, tokens=1500, rare=0.05, noise=0.2)
    dictionary = planted.dictionary(planted.rows_GMD * 0.7 + 0.05)
    found = latent_scaling(latent_statistics(planted.stream(), dictionary, joint=True))
    x, d = planted.x_NMD.double(), dictionary.decoder_FMD.double()
    codes = dictionary.encode(planted.x_NMD)
    f, decoded = codes[:, 0].double(), dictionary.decode(codes).double()
    bias, mean = dictionary.bias_MD.double(), x.mean(0)
    for j in range(len(d)):
        for probe in range(2):
            design = torch.outer(f[:, j], d[j, probe]).reshape(-1, 1)
            for m in range(2):
                own = f[:, j, None] * d[j, m]
                for target, value in (
                    (x[:, m] - decoded[:, m] + own, found.beta_error_FPM),
                    (decoded[:, m] - bias[m], found.beta_reconstruction_FPM),
                    (x[:, m] - mean[m], found.beta_activation_FPM),
                ):
                    wanted = torch.linalg.lstsq(design, target.reshape(-1, 1)).solution.item()
                    assert abs(float(value[j, probe, m]) - wanted) < 1e-4


def test_probes_of_both_sides_mirror_each_other(world: Maker) -> None:
    planted = world(shared=8, tuned_only=3, base_only=3, rare=0.05)
    found = latent_scaling(latent_statistics(planted.stream(), planted.dictionary(), joint=True))
    tuned, base, shared = (planted.of(kind) for kind in ("tuned only", "base only", "shared"))
    assert found.nu_error_FP[tuned, 1].abs().max() < 0.05
    assert found.nu_error_FP[base, 0].abs().max() < 0.05
    assert (found.nu_error_FP[shared] - 1).abs().max() < 0.05
    assert found.nu_error_FP[tuned, 0].isnan().all()  # the base's row has norm 0: no probe
    assert found.trusted_FP[tuned].tolist() == [[False, True]] * 3


def test_the_sign_of_delta_norm(world: Maker) -> None:
    planted = world(shared=1, tuned_only=1, base_only=1, rare=0.05, tokens=400)
    found = latent_statistics(planted.stream(), planted.dictionary(), joint=True)
    torch.testing.assert_close(delta_norm(found), torch.tensor([0.5, 1.0, 0.0], dtype=torch.float64))
