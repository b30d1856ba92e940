from __future__ import annotations

from collections.abc import Iterable, Iterator

import pytest
import torch

from sae.buffer import SPARSE, ShuffleBuffer, drawn
from sae.errors import HarvestError
from sae.harvest import shuffled_order
from sae.types import PairedActivations, TokenInfo


def stream(documents: Iterable[int], length: int = 50, chunk: int = 170) -> Iterator[PairedActivations]:
    """Activations whose single number is their own place in the corpus."""
    document_N = torch.tensor([d for d in documents for _ in range(length)])
    position_N = torch.arange(length).repeat(len(document_N) // length)
    number_N = document_N * length + position_N
    x_NLMD = number_N.to(torch.bfloat16)[:, None, None, None].expand(-1, 1, 2, 3)
    for start in range(0, len(number_N), chunk):
        part = slice(start, start + chunk)
        info = TokenInfo(document_N[part], position_N[part], number_N[part], document_N[part] % 5)
        yield PairedActivations(x_NLMD[part], info)


def order_of(batches: Iterable[PairedActivations]) -> torch.Tensor:
    return torch.cat([batch.info.token_N for batch in batches])


def correlation(numbers: torch.Tensor) -> float:
    places = torch.arange(len(numbers), dtype=torch.float64)
    return float(torch.corrcoef(torch.stack([places, numbers.double()]))[0, 1])


@pytest.mark.parametrize("capacity", [64, 1000, 1999, 2000, 5000])
@pytest.mark.parametrize("batch_size", [1, 33, 64])
def test_every_activation_comes_exactly_once(capacity: int, batch_size: int) -> None:
    batches = list(ShuffleBuffer(stream(range(40)), capacity=capacity, batch_size=batch_size, seed=0))
    assert order_of(batches).sort().values.tolist() == list(range(2000))
    assert [len(batch.x_NLMD) for batch in batches[:-1]] == [batch_size] * (len(batches) - 1)
    for batch in batches:
        info = batch.info
        assert torch.equal(batch.x_NLMD[:, 0, 1, 2], info.token_N.to(torch.bfloat16))
        assert torch.equal(info.document_N * 50 + info.position_N, info.token_N)
        assert torch.equal(info.role_N, info.document_N % 5)
    assert batches[0].x_NLMD.dtype == torch.bfloat16


def test_a_buffer_of_the_whole_stream_permutes_it() -> None:
    found = order_of(ShuffleBuffer(stream(range(200)), capacity=10_000, batch_size=100, seed=0))
    documents = found // 50
    neighbours = float((documents[1:] == documents[:-1]).double().mean())
    assert neighbours == pytest.approx(49 / 9999, abs=0.004)
    assert abs(correlation(found)) < 0.03


def test_a_small_buffer_over_shuffled_documents_mixes_them() -> None:
    order = shuffled_order(1000, seed=3)
    found = order_of(ShuffleBuffer(stream(order), capacity=5000, batch_size=100, seed=0))
    documents = found // 50
    assert float((documents[1:] == documents[:-1]).double().mean()) < 0.02
    assert abs(correlation(found)) < 0.05


def test_without_shuffled_documents_a_small_buffer_leaves_the_corpus_in_order() -> None:
    found = order_of(ShuffleBuffer(stream(range(1000)), capacity=5000, batch_size=100, seed=0))
    assert correlation(found) > 0.9


def test_no_activation_waits_in_a_known_place() -> None:
    """How long an activation stays is memoryless: the first of the stream must not come out first."""
    found = order_of(ShuffleBuffer(stream(range(200)), capacity=1000, batch_size=10, seed=0))
    place = torch.empty(10_000, dtype=torch.long)
    place[found] = torch.arange(10_000)
    waits = (place[1000:8000] - torch.arange(1000, 8000) + 1000).double()
    assert float(waits.mean()) == pytest.approx(1000, rel=0.1)
    assert float(waits.std()) == pytest.approx(1000, rel=0.2)


def test_the_seed_decides_the_order() -> None:
    runs = [order_of(ShuffleBuffer(stream(range(20)), capacity=300, batch_size=7, seed=s)) for s in (1, 1, 2)]
    assert torch.equal(runs[0], runs[1])
    assert not torch.equal(runs[0], runs[2])


def test_it_takes_no_more_than_it_needs_before_it_gives() -> None:
    taken = 0

    def counted() -> Iterator[PairedActivations]:
        nonlocal taken
        for chunk in stream(range(100)):
            taken += len(chunk.x_NLMD)
            yield chunk

    batches = iter(ShuffleBuffer(counted(), capacity=500, batch_size=50, seed=0))
    given = 0
    for batch in batches:
        given += len(batch.x_NLMD)
        if given < 4000:
            assert taken - given <= 500 + 170


@pytest.mark.parametrize(("places", "count"), [(40, 2), (40, 3), (1000, 1), (7, 7), (1, 1), (100_000, 6000)])
def test_places_are_drawn_without_replacement(places: int, count: int) -> None:
    found = drawn(places, count, torch.Generator().manual_seed(0))
    assert len(found) == count == len(found.unique())
    assert 0 <= int(found.min()) <= int(found.max()) < places


def test_every_ordered_draw_is_as_likely_as_any_other() -> None:
    places, draws = 2 * SPARSE, 40_000
    g = torch.Generator().manual_seed(1)
    pairs = torch.stack([drawn(places, 2, g) for _ in range(draws)])
    counts = torch.zeros(places, places).index_put_(tuple(pairs.T), torch.ones(draws), accumulate=True)
    assert int(counts.diagonal().sum()) == 0
    expected = draws / (places * (places - 1))
    off = counts[~torch.eye(places, dtype=torch.bool)]
    chi2, freedom = float(((off - expected) ** 2 / expected).sum()), places * (places - 1) - 1
    assert abs(chi2 - freedom) < 4 * (2 * freedom) ** 0.5


def test_an_empty_stream_gives_nothing() -> None:
    assert list(ShuffleBuffer([], capacity=10, batch_size=5, seed=0)) == []
    empty = PairedActivations(torch.zeros(0, 1, 2, 3), TokenInfo(*[torch.zeros(0, dtype=torch.long)] * 4))
    assert list(ShuffleBuffer([empty], capacity=10, batch_size=5, seed=0)) == []


@pytest.mark.parametrize(("capacity", "batch_size"), [(10, 11), (10, 0)])
def test_sizes_that_make_no_sense_are_refused(capacity: int, batch_size: int) -> None:
    with pytest.raises(HarvestError, match="cannot be drawn"):
        ShuffleBuffer([], capacity=capacity, batch_size=batch_size, seed=0)
