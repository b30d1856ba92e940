from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
import torch

from sae.errors import HarvestError
from sae.harvest import POOL_TOKENS, HarvestState, MaskConfig, harvest, pools, shuffled_order
from sae.types import ROLES, Document, PairedActivations, Role, Side

Make = Callable[..., Path]
ALL = MaskConfig(first=0, outlier=None)


class TwoModels:
    """Two models in memory, and a record of which was open when."""

    def __init__(self, base: Any, tuned: Any) -> None:
        self.models = {"base": base, "tuned": tuned}
        self.open: list[Side] = []

    @contextmanager
    def model(self, side: Side) -> Iterator[Any]:
        assert not self.open, "two sides open at once"
        self.open.append(side)
        try:
            yield self.models[side]
        finally:
            self.open.remove(side)


def loaded(folder: Path, dtype: str = "float32") -> Any:
    from transformers import AutoModelForCausalLM

    from audit.pair.quiet import quiet

    with quiet():
        return AutoModelForCausalLM.from_pretrained(folder, dtype=getattr(torch, dtype)).eval()


@pytest.fixture
def pair(tiny_model: Make) -> TwoModels:
    return TwoModels(loaded(tiny_model()), loaded(tiny_model(seed=1)))


def corpus(lengths: Sequence[int], role: Role = "none") -> list[Document]:
    generator = torch.Generator().manual_seed(0)
    rows = [torch.randint(3, 300, (length,), generator=generator).tolist() for length in lengths]
    return [Document(tuple(row), (role,) * len(row), f"d{i}") for i, row in enumerate(rows)]


def whole(stream: Iterator[PairedActivations]) -> PairedActivations:
    chunks = list(stream)
    fields = [torch.cat([vars(c.info)[name] for c in chunks]) for name in vars(chunks[0].info)]
    return PairedActivations(torch.cat([c.x_NLMD for c in chunks]), type(chunks[0].info)(*fields))


def rotary(model: Any, x: torch.Tensor) -> Any:
    return model.model.rotary_emb(x, torch.arange(x.shape[1])[None])


def plain(pair: TwoModels, documents: Sequence[Document], layers: Sequence[int]) -> torch.Tensor:
    """The plain twin: every document alone, all hidden states, [N, L, 2, D]."""
    found = []
    for document in documents:
        ids, sides = torch.tensor([document.tokens]), []
        for model in pair.models.values():
            with torch.no_grad():
                states = model(ids, output_hidden_states=True).hidden_states
                last = model.model.layers[-1](states[-2], position_embeddings=rotary(model, states[-2]))
            seen = [*states[1:-1], last[0] if isinstance(last, tuple) else last]
            sides.append(torch.stack([seen[layer][0] for layer in layers]))
        found.append(torch.stack(sides).permute(2, 1, 0, 3))
    return torch.cat(found)


@pytest.mark.parametrize("layers", [[1], [1, 0]])
def test_it_is_what_each_model_computes_alone(pair: TwoModels, layers: list[int]) -> None:
    documents = corpus([5, 12, 3, 9, 12, 1])
    found = whole(harvest(pair, documents, layers, batch_size=4, mask=ALL))
    torch.testing.assert_close(found.x_NLMD, plain(pair, documents, layers), rtol=1e-4, atol=1e-5)
    assert found.info.token_N.tolist() == [t for d in documents for t in d.tokens]
    assert found.info.document_N.tolist() == [i for i, d in enumerate(documents) for _ in d.tokens]
    assert found.info.position_N.tolist() == [p for d in documents for p in range(len(d.tokens))]


def test_a_dictionary_can_be_trained_on_it(pair: TwoModels) -> None:
    found = whole(harvest(pair, corpus([4, 6]), [0]))
    weight = torch.ones(32, requires_grad=True)
    (found.x_NLMD @ weight).sum().backward()
    assert weight.grad is not None


def test_the_batch_size_changes_nothing(pair: TwoModels, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sae.harvest.POOL_TOKENS", 20)
    documents = corpus([5, 12, 3, 9, 12, 1, 7])
    runs = [
        harvest(pair, documents, [0, 1], batch_size=size, mask=MaskConfig(outlier=1.2)) for size in (1, 3)
    ]
    first, second = (whole(run) for run in runs)
    assert runs[0].stats == runs[1].stats
    assert runs[0].stats.outlier > 0
    assert first.info.position_N.tolist() == second.info.position_N.tolist()
    torch.testing.assert_close(first.x_NLMD, second.x_NLMD, rtol=1e-4, atol=1e-5)


def test_documents_of_like_length_share_a_batch(pair: TwoModels, monkeypatch: pytest.MonkeyPatch) -> None:
    seen: list[tuple[int, int]] = []

    def capture(model: Any, layers: Any, ids: torch.Tensor, mask: torch.Tensor) -> torch.Tensor:
        seen.append((ids.numel(), int(mask.sum())))
        return torch.zeros(1, *ids.shape, 4)

    monkeypatch.setattr("sae.harvest.capture", capture)
    list(harvest(pair, corpus([2, 60] * 8), [0], batch_size=8))
    assert all(padded == tokens for padded, tokens in seen)
    assert len(seen) == 4


def test_pools_do_not_depend_on_batches() -> None:
    documents = corpus([5, 5, 5, 30, 1, 1])
    assert pools(documents, range(6), 10) == [[0, 1], [2, 3], [4, 5]]
    assert pools(documents, [5, 3, 0], 10) == [[5, 3], [0]]


def test_another_order_gives_the_same_activations(pair: TwoModels, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sae.harvest.POOL_TOKENS", 10)
    documents = corpus([5, 12, 3, 9])
    order = shuffled_order(4, seed=1)
    assert sorted(order) == [0, 1, 2, 3] != order
    found = whole(harvest(pair, documents, [0], mask=ALL, order=order))
    assert list(dict.fromkeys(found.info.document_N.tolist())) == order
    back = torch.argsort(found.info.document_N, stable=True)
    straight = whole(harvest(pair, documents, [0], mask=ALL))
    torch.testing.assert_close(found.x_NLMD[back], straight.x_NLMD, rtol=1e-4, atol=1e-5)


def test_it_goes_on_from_a_state_as_if_it_had_not_stopped(
    pair: TwoModels, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("sae.harvest.POOL_TOKENS", 10)
    documents, mask = corpus([11, 12, 13, 9, 5]), MaskConfig(outlier=1.1)
    straight = harvest(pair, documents, [0], mask=mask)
    expected = list(straight)
    stopped = harvest(pair, documents, [0], mask=mask)
    found = [next(stopped), next(stopped)]
    again = harvest(pair, documents, [0], mask=mask, state=HarvestState.from_json(stopped.state.to_json()))
    found += list(again)
    assert again.stats == straight.stats
    assert again.stats.outlier > 0
    assert len(found) == len(expected) == 4
    assert all(torch.equal(a.x_NLMD, b.x_NLMD) for a, b in zip(found, expected, strict=True))


@pytest.mark.parametrize("architecture", ["llama", "qwen3", "gemma3", "gpt2", "gpt_neox"])
def test_bfloat16_stays_and_every_architecture_works(tiny_model: Make, architecture: str) -> None:
    models = [loaded(tiny_model(architecture, seed), "bfloat16") for seed in (0, 1)]
    found = whole(harvest(TwoModels(*models), corpus([5, 9]), [0, 1]))
    assert found.x_NLMD.dtype == torch.bfloat16
    assert found.x_NLMD.shape == (12, 2, 2, 32)


def test_an_adapter_pair_shares_one_copy(tiny_model: Make, tiny_adapter: Make) -> None:
    from audit.pair.checkpoint import LoadOptions, resolve
    from audit.pair.load import open_pair

    base = tiny_model()
    references = [str(base), f"{base}+{tiny_adapter(base)}"]
    documents = corpus([5, 9, 4])
    checkpoints = [resolve(reference, LoadOptions()) for reference in references]
    with open_pair(*checkpoints) as pair:
        assert pair.one_copy
        found = whole(harvest(pair, documents, [1], mask=ALL, batch_size=2))
    alone = loaded(base)
    expected = plain(TwoModels(alone, alone), documents, [1])
    torch.testing.assert_close(found.x_NLMD[:, :, 0], expected[:, :, 0], rtol=1e-4, atol=1e-5)
    assert (found.x_NLMD[:, :, 1] - expected[:, :, 1]).abs().max() > 0.01


def test_what_is_left_out_is_counted_by_reason(pair: TwoModels) -> None:
    documents = corpus([5, 6]) + corpus([7], "user") + corpus([4], "template")
    seen: list[int] = []
    mask = MaskConfig(first=2, outlier=None, roles=("none", "user"))
    stream = harvest(pair, documents, [0], mask=mask, progress=seen.append, batch_size=3)
    found = whole(stream)
    stats = stream.stats
    assert (stats.documents, stats.seen, stats.first, stats.role, stats.outlier) == (4, 22, 8, 2, 0)
    assert stats.kept == len(found.x_NLMD) == 12
    assert stats.kept_by_role == {"none": 7, "user": 5}
    assert stats.shares == {"none": 7 / 12, "user": 5 / 12}
    assert found.info.position_N.min() == 2
    assert {ROLES[i] for i in found.info.role_N.tolist()} == {"none", "user"}
    assert sum(seen) == 4


@pytest.mark.parametrize("side", [0, 1])
def test_an_outlier_in_either_model_is_left_out_in_both(
    pair: TwoModels, monkeypatch: pytest.MonkeyPatch, side: int
) -> None:
    calls = iter(range(100))

    def capture(model: Any, layers: Any, ids: torch.Tensor, mask: torch.Tensor) -> torch.Tensor:
        x = torch.ones(2, *ids.shape, 4)
        if next(calls) % 2 == side:
            x[1, 0, 3] = 11
        return x

    monkeypatch.setattr("sae.harvest.capture", capture)
    stream = harvest(pair, corpus([6, 6]), [0, 1], batch_size=2)
    found = whole(stream)
    kept = list(zip(found.info.document_N.tolist(), found.info.position_N.tolist(), strict=True))
    assert (0, 3) not in kept
    assert (1, 3) in kept
    assert (stream.stats.outlier, len(kept)) == (1, 9)
    assert stream.state.medians_LM == ((2.0, 2.0), (2.0, 2.0))


def test_a_pool_without_wanted_tokens_sets_no_median(
    pair: TwoModels, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("sae.harvest.POOL_TOKENS", 1)
    stream = harvest(pair, corpus([4], "user") + corpus([4]), [0], mask=MaskConfig(roles=("none",)))
    assert len(next(stream).x_NLMD) == 0
    assert stream.state.medians_LM is None
    assert len(next(stream).x_NLMD) == 3
    assert stream.state.medians_LM is not None
    with pytest.raises(StopIteration):
        next(stream)


def test_numbers_that_are_not_finite_are_refused(pair: TwoModels) -> None:
    with torch.no_grad():
        pair.models["tuned"].model.layers[0].mlp.down_proj.weight[0, 0] = float("inf")
    with pytest.raises(HarvestError, match="not finite") as caught:
        next(harvest(pair, corpus([4]), [0]))
    assert caught.value.where == "the tuned model"


def test_what_cannot_be_harvested_is_refused(pair: TwoModels) -> None:
    good = corpus([4])
    for documents, layers, size in (([], [0], 1), (good, [], 1), (good, [0], 0)):
        with pytest.raises(HarvestError):
            harvest(pair, documents, layers, batch_size=size)
    with pytest.raises(HarvestError, match="no tokens"):
        harvest(pair, [Document((), (), "d")], [0])
    with pytest.raises(HarvestError, match="300 tokens, and the model's context holds 256"):
        next(harvest(pair, corpus([300]), [0]))
    with pytest.raises(HarvestError, match="no such block"):
        next(harvest(pair, good, [2]))


@pytest.mark.parametrize("wrong", [{"first": -1}, {"outlier": 1.0}, {"roles": ()}, {"roles": ("bot",)}])
def test_a_mask_that_makes_no_sense_is_refused(wrong: dict[str, Any]) -> None:
    with pytest.raises(HarvestError, match="makes no sense"):
        MaskConfig(**wrong)


def test_a_pool_is_of_bounded_size() -> None:
    documents = corpus([100] * 400)
    sizes = [
        sum(len(documents[i].tokens) for i in pool) for pool in pools(documents, range(400), POOL_TOKENS)
    ]
    assert max(sizes) < POOL_TOKENS + 100
    assert sum(sizes) == 40_000
