"""Single-model SAEs in the layouts of other libraries, written here by hand as those write them."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pytest
import torch
from safetensors.torch import save_file
from torch import Tensor

import sae
from sae.dictionaries import SharedSAE, architecture_of, save
from sae.errors import DictionaryError

WIDTH, LATENTS, K = 8, 20, 4
X = 3 * torch.randn(50, WIDTH, generator=torch.Generator().manual_seed(5)) + 1


class Parts(NamedTuple):
    """Weights of an SAE, a row per latent."""

    encoder: Tensor
    bias: Tensor
    decoder: Tensor
    out: Tensor
    threshold: Tensor


def drawn() -> Parts:
    g = torch.Generator().manual_seed(1)
    return Parts(
        torch.randn(LATENTS, WIDTH, generator=g),
        torch.randn(LATENTS, generator=g),
        torch.randn(LATENTS, WIDTH, generator=g),
        torch.randn(WIDTH, generator=g),
        torch.rand(LATENTS, generator=g) * 3,
    )


P = drawn()
SHIFTED = (X - P.out) @ P.encoder.T + P.bias
PLAIN = X @ P.encoder.T + P.bias
NORM = P.decoder.norm(dim=1)


def largest(pre: Tensor, k: int = K) -> Tensor:
    top = pre.relu().topk(k, dim=1)
    return torch.zeros_like(pre).scatter(1, top.indices, top.values)


def above(pre: Tensor, threshold: Tensor | float) -> Tensor:
    return torch.where(pre > threshold, pre.relu(), 0)


def torch_saved(folder: Path, tensors: dict[str, Tensor], **trainer: Any) -> None:
    torch.save(tensors, folder / "ae.pt")
    if trainer:
        (folder / "config.json").write_text(json.dumps({"trainer": trainer, "buffer": {"ctx_len": 128}}))


def linear(**more: Tensor) -> dict[str, Tensor]:
    weights = {
        "encoder.weight": P.encoder,
        "encoder.bias": P.bias,
        "decoder.weight": P.decoder.T.contiguous(),
    }
    return weights | more


def matrices(**more: Tensor) -> dict[str, Tensor]:
    weights = {"W_enc": P.encoder.T.contiguous(), "b_enc": P.bias, "W_dec": P.decoder, "b_dec": P.out}
    return weights | more


def sparsify(folder: Path, **settings: Any) -> None:
    config = {
        "activation": "topk", "expansion_factor": 32, "normalize_decoder": True, "num_latents": LATENTS,
        "k": K, "multi_topk": False, "skip_connection": False, "transcode": False, "d_in": WIDTH,
    }  # fmt: skip
    (folder / "cfg.json").write_text(json.dumps(config | settings))
    tensors = {"encoder.weight": P.encoder, "encoder.bias": P.bias, "W_dec": P.decoder, "b_dec": P.out}
    save_file(tensors, folder / "sae.safetensors")


def saelens(folder: Path, architecture: str, tensors: dict[str, Tensor], **settings: Any) -> None:
    config = {
        "architecture": architecture, "d_in": WIDTH, "d_sae": LATENTS, "dtype": "float32", "device": "cpu",
        "apply_b_dec_to_input": True, "normalize_activations": "none", "reshape_activations": "none",
        "metadata": {"sae_lens_version": "6.0.0", "hook_name": "blocks.2.hook_resid_post"},
    }  # fmt: skip
    (folder / "cfg.json").write_text(json.dumps(config | settings))
    save_file(tensors, folder / "sae_weights.safetensors")


def gemma_scope(folder: Path, tensors: dict[str, Tensor]) -> None:
    arrays: dict[str, Any] = {name: tensor.numpy() for name, tensor in tensors.items()}
    np.savez(folder / "params.npz", **arrays)


LAYOUTS: dict[str, tuple[Callable[[Path], object], Tensor, Tensor, str | None]] = {
    "sparsify": (sparsify, largest(SHIFTED), P.decoder, "blocks.3.hook_resid_post"),
    "SAELens standard": (
        lambda f: saelens(f, "standard", matrices()), SHIFTED.relu(), P.decoder, "blocks.2.hook_resid_post",
    ),
    "SAELens jumprelu": (
        lambda f: saelens(f, "jumprelu", matrices(threshold=P.threshold), apply_b_dec_to_input=False),
        above(PLAIN, P.threshold), P.decoder, "blocks.2.hook_resid_post",
    ),
    "SAELens topk": (
        lambda f: saelens(f, "topk", matrices(), k=K, rescale_acts_by_decoder_norm=False),
        largest(SHIFTED), P.decoder, "blocks.2.hook_resid_post",
    ),
    "SAELens topk by norm": (
        lambda f: saelens(f, "topk", matrices(), k=K, rescale_acts_by_decoder_norm=True),
        largest(SHIFTED * NORM), P.decoder / NORM[:, None], "blocks.2.hook_resid_post",
    ),
    "AutoEncoder": (
        lambda f: torch_saved(f, linear(bias=P.out), dict_class="AutoEncoder"),
        SHIFTED.relu(), P.decoder, None,
    ),
    "AutoEncoder, no settings": (
        lambda f: torch_saved(f, linear(bias=P.out)), SHIFTED.relu(), P.decoder, None,
    ),
    "AutoEncoderNew": (
        lambda f: torch_saved(f, linear(**{"decoder.bias": P.out})), PLAIN.relu(), P.decoder, None,
    ),
    "AutoEncoderTopK": (
        lambda f: torch_saved(
            f, linear(b_dec=P.out, k=torch.tensor(K), threshold=torch.tensor(-1.0)),
            dict_class="AutoEncoderTopK", layer=5, submodule_name="resid_post_layer_5",
        ),
        largest(SHIFTED), P.decoder, "blocks.5.hook_resid_post",
    ),
    "BatchTopKSAE": (
        lambda f: torch_saved(
            f, linear(b_dec=P.out, k=torch.tensor(K), threshold=torch.tensor(1.5)),
            dict_class="BatchTopKSAE", layer=5, submodule_name="model.layers.5",
        ),
        above(SHIFTED, 1.5), P.decoder, "blocks.5.hook_resid_post",
    ),
    "MatryoshkaBatchTopKSAE": (
        lambda f: torch_saved(
            f, matrices(threshold=torch.tensor(1.5), k=torch.tensor(K), group_sizes=torch.tensor([5, 15]))
        ),
        above(SHIFTED, 1.5), P.decoder, None,
    ),
    "JumpReluAutoEncoder": (
        lambda f: torch_saved(f, matrices(threshold=P.threshold), dict_class="JumpReluAutoEncoder"),
        above(PLAIN, P.threshold) * NORM, P.decoder / NORM[:, None], None,
    ),
    "Gemma Scope": (
        lambda f: gemma_scope(f, matrices(threshold=P.threshold)),
        above(PLAIN, P.threshold), P.decoder, None,
    ),
}  # fmt: skip
"""How a folder is written, the codes by the library's own formula, its decoder rows, and where it reads."""


@pytest.mark.parametrize("name", LAYOUTS)
def test_a_layout_is_read_as_its_library_reads_it(tmp_path: Path, name: str) -> None:
    write, codes, rows, hook_name = LAYOUTS[name]
    folder = tmp_path / "layers.3"
    folder.mkdir()
    write(folder)
    found = sae.load(folder)
    assert isinstance(found, SharedSAE)
    assert (found.latents, found.width, found.hook_name) == (LATENTS, WIDTH, hook_name)
    torch.testing.assert_close(found.encode(X), codes, rtol=1e-5, atol=1e-5)
    torch.testing.assert_close(found.reconstruct(X), codes @ rows + P.out, rtol=1e-5, atol=1e-5)
    save(found, tmp_path / "again")
    torch.testing.assert_close(sae.load(tmp_path / "again").reconstruct(X), found.reconstruct(X))


@pytest.mark.parametrize("name", ["sparsify", "Gemma Scope"])
def test_sparse_codes_are_the_dense_ones(tmp_path: Path, name: str) -> None:
    LAYOUTS[name][0](tmp_path)
    found = sae.load(tmp_path)
    pairs = torch.stack([X, -X], 1)
    codes = found.encode_sparse(pairs)
    assert codes.indices.shape == codes.values.shape == (50, 2, int((found.encode(pairs) > 0).sum(-1).max()))
    there = codes.indices >= 0
    dense = torch.zeros(50, 2, LATENTS).scatter_add(2, codes.indices.clamp(min=0), codes.values * there)
    torch.testing.assert_close(dense, found.encode(pairs))
    torch.testing.assert_close(found.decode_sparse(codes), found.decode(dense))


def test_codes_beyond_the_first_capacity_are_not_lost(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    LAYOUTS["AutoEncoder"][0](tmp_path)
    found = sae.load(tmp_path)
    monkeypatch.setattr("sae.dictionaries.weights.CAPACITY", 2)
    codes = found.encode_sparse(X)
    assert torch.equal((codes.indices >= 0).sum(1), (found.encode(X) > 0).sum(1))


def test_reconstructions_have_gradients_where_they_are_asked_for(tmp_path: Path) -> None:
    LAYOUTS["sparsify"][0](tmp_path)
    found, x = sae.load(tmp_path), X.clone().requires_grad_()
    dense = found.reconstruct(x)
    torch.testing.assert_close(dense, found.reconstruct(X))
    (gradient,) = torch.autograd.grad(dense.square().sum(), [x])
    assert gradient.any()


@pytest.mark.parametrize(
    ("write", "message"),
    [
        (lambda f: sparsify(f, transcode=True), "transcoder"),
        (lambda f: sparsify(f, skip_connection=True), "skip connection"),
        (lambda f: sparsify(f, activation="groupmax"), "groupmax"),
        (lambda f: sparsify(f, k=None), "no dictionary that can be read: TypeError"),
        (lambda f: sparsify(f, k=99), "k is 99 and there are 20 latents"),
        (lambda f: torch_saved(f, linear(bias=P.out), dict_class="GatedAutoEncoder"), "GatedAutoEncoder"),
        (lambda f: torch_saved(f, linear()), "config.json is missing"),
        (lambda f: torch_saved(f, linear(), dict_class="AutoEncoder"), "bias .the file holds decoder.weight"),
        (lambda f: torch_saved(f, {"ae": linear(), "step": 3}), "a checkpoint of a run, not an SAE"),  # type: ignore[dict-item]
        (lambda f: torch_saved(f, linear(bias=P.out[:5])), "do not fit each other"),
        (lambda f: torch_saved(f, linear(bias=P.out * torch.nan)), "no finite numbers"),
        (lambda f: (f / "ae.pt").write_bytes(b"none"), "no dictionary that can be read"),
        (lambda f: (f / "params.npz").write_bytes(b"none"), "no dictionary that can be read"),
        (lambda f: np.savez(f / "params.npz", W_enc=np.zeros(3)), "b_enc, W_dec, b_dec, threshold .the file"),
        (lambda f: np.savez(f / "params.npz", W_enc=np.array([{}])), "allow_pickle"),
        (lambda f: saelens(f, "topk", matrices()), "no dictionary that can be read: KeyError: 'k'"),
        (lambda f: saelens(f, "jumprelu", matrices()), "threshold .the file holds"),
    ],
)  # fmt: skip
def test_what_cannot_be_read_is_told(tmp_path: Path, write: Callable[[Path], object], message: str) -> None:
    write(tmp_path)
    with pytest.raises(DictionaryError, match=message):
        sae.load(tmp_path)


class Bomb:
    """What a pickle can do."""

    def __reduce__(self) -> Any:
        return (Path.touch, (Path("bomb-went-off"),))


def test_nothing_in_a_pickle_runs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    torch.save({"bias": Bomb()}, tmp_path / "ae.pt")
    with pytest.raises(DictionaryError, match="no dictionary that can be read"):
        sae.load(tmp_path)
    assert not (tmp_path / "bomb-went-off").exists()


def test_a_folder_above_the_hook_points_names_them(tmp_path: Path) -> None:
    for name in ("layers.3", "layers.7"):
        (tmp_path / name).mkdir()
        sparsify(tmp_path / name)
    with pytest.raises(DictionaryError, match=r"name one of its folders: layers.3, layers.7"):
        sae.load(tmp_path)
    assert architecture_of(tmp_path / "layers.3") == "sparsify"


def test_the_package_has_nothing_else() -> None:
    with pytest.raises(AttributeError, match="no attribute 'nothing'"):
        _ = sae.nothing
