from __future__ import annotations

import torch

from sae.dictionaries import DictionaryConfig
from sae.dictionaries.coder import Coder
from sae.dictionaries.objective import Pressure, Read, auxk, batchtopk, jumprelu, l1, topk


def setting(**settings: object) -> tuple[Coder, torch.Tensor, DictionaryConfig]:
    config = DictionaryConfig(**{"latents": 10, "k": 3, "shared": 4, "shared_penalty": 0.5, **settings})  # type: ignore[arg-type]
    coder = Coder(config, 2, 5)
    g = torch.Generator().manual_seed(7)
    with torch.no_grad():
        for parameter in coder.parameters():
            parameter.copy_(torch.randn(parameter.shape, generator=g))
    return coder, torch.randn(20, 2, 5, generator=g), config


def test_batchtopk_is_the_mean_unsquared_norm_with_the_largest_scores_kept() -> None:
    coder, x, config = setting()
    found = batchtopk(coder, x, config, Pressure(3.0, 0.0, None))
    with torch.no_grad():
        codes = torch.einsum("nmd,fmd->nf", x, coder.encoder_FMD).add(coder.bias_F).relu()
        norms = coder.decoder_FMD[:, 0].norm(dim=-1) + coder.decoder_FMD[:, 1].norm(dim=-1)
        score = codes * norms / torch.tensor([0.5] * 4 + [1.0] * 6)
        least = score.flatten().sort(descending=True).values[3 * 20 - 1]
        codes = codes * (score >= least)
        error = x - torch.einsum("nf,fmd->nmd", codes, coder.decoder_FMD) - coder.bias_MD
        loss = 0.5 * (error[:, 0].norm(dim=-1) + error[:, 1].norm(dim=-1)).mean()
    torch.testing.assert_close(found.loss.detach(), loss)
    torch.testing.assert_close(found.least, least)
    assert torch.equal(found.fired_F, (codes > 0).any(0))


def test_l1_is_the_squared_error_and_the_sum_of_norms() -> None:
    coder, x, config = setting(activation="l1")
    found = l1(coder, x, config, Pressure(3.0, 0.7, None))
    with torch.no_grad():
        codes = torch.einsum("nmd,fmd->nf", x, coder.encoder_FMD).add(coder.bias_F).relu()
        norms = coder.decoder_FMD[:, 0].norm(dim=-1) + coder.decoder_FMD[:, 1].norm(dim=-1)
        error = x - torch.einsum("nf,fmd->nmd", codes, coder.decoder_FMD) - coder.bias_MD
        penalty = (codes * norms * torch.tensor([0.5] * 4 + [1.0] * 6)).sum(1).mean()
        loss = error.square().sum((1, 2)).mean() + 0.7 * penalty
    torch.testing.assert_close(found.loss.detach(), loss)


def test_topk_keeps_the_largest_of_every_activation() -> None:
    coder, x, config = setting(kind="shared", activation="topk", shared=0)
    found = topk(coder, x, config, Pressure(9.0, 0.0, None))
    with torch.no_grad():
        codes = torch.einsum("nmd,fmd->nf", x, coder.encoder_FMD).add(coder.bias_F).relu()
        score = codes * coder.decoder_FMD.norm(dim=-1).sum(1)
        codes = codes * (score >= score.sort(dim=1, descending=True).values[:, 2:3])
        error = x - torch.einsum("nf,fmd->nmd", codes, coder.decoder_FMD) - coder.bias_MD
    torch.testing.assert_close(found.loss.detach(), error.square().mean())
    assert torch.equal(found.fired_F, (codes > 0).any(0))


def test_jumprelu_is_the_error_and_the_distance_to_the_l0_aimed_at() -> None:
    coder, x, config = setting(kind="shared", activation="jumprelu", shared=0, sparsity=0.7)
    with torch.no_grad():
        assert coder.log_threshold_F is not None
        coder.log_threshold_F.copy_(torch.linspace(-0.1, 0.05, 10))
    found = jumprelu(coder, x, config, Pressure(3.0, 0.0, None))
    with torch.no_grad():
        codes = torch.einsum("nmd,fmd->nf", x, coder.encoder_FMD).add(coder.bias_F)
        codes = codes * (codes > coder.threshold_F)
        error = x - torch.einsum("nf,fmd->nmd", codes, coder.decoder_FMD) - coder.bias_MD
        l0 = (codes > 0).float().sum(1).mean()
    wanted = error.norm(dim=-1).mean() + 0.7 * (l0 / 3 - 1) ** 2
    torch.testing.assert_close(found.loss.detach(), wanted)
    (gradient,) = torch.autograd.grad(found.loss, [coder.log_threshold_F])
    assert gradient.any(), "thresholds learn"


def test_auxk_trains_the_dead_alone_on_the_residual() -> None:
    coder, x, config = setting(aux=1.0)
    dead = torch.tensor([2, 7, 8])
    without = batchtopk(coder, x, config, Pressure(3.0, 0.0, None))
    found = batchtopk(coder, x, config, Pressure(3.0, 0.0, dead))
    (gradient,) = torch.autograd.grad(found.loss - without.loss, [coder.decoder_FMD])
    assert set(gradient.abs().sum((1, 2)).nonzero().flatten().tolist()) <= {2, 7, 8}
    assert gradient.any()


def test_auxk_is_the_share_of_the_residual_that_the_dead_leave() -> None:
    eye, dead = torch.eye(10), torch.tensor([0, 1, 2])
    with torch.no_grad():
        x = torch.zeros(6, 10)
        x[:3, :3] = torch.eye(3) * 2
        assert float(auxk(Read(x, eye, torch.zeros(10), eye), x, dead, 2)) < 1e-6, (
            "they read and write all of it"
        )
        # Of five dead per token only two may work: the largest of coordinates 5, 4, 3, 2, 1.
        x[:, :5] = torch.tensor([5.0, 4.0, 3.0, 2.0, 1.0])
        x[3:] = 0
        left = 3 * (9 + 4 + 1)
        error = x - x.mean(0)
        wanted = left / float(error.square().sum())
        found = auxk(Read(x, eye, torch.zeros(10), eye), x, torch.arange(5), 2)
        assert abs(float(found) - wanted) < 1e-5
