from contextlib import contextmanager, nullcontext
from functools import partial
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from peft import LoraConfig, get_peft_model
from scipy.stats import chisquare
from transformers import AutoModelForCausalLM

from audit.measures.sampling import (
    Samples,
    inverse_cdf,
    sample_sequences,
    sequence_divergences,
)
from audit.measures.sequence import sequence_kl

PROMPTS = [[3, 4, 5, 6], [7, 8], [9], [3, 9, 4], [5, 5, 5, 5, 5, 5]]


class Chain:
    """A model whose next token depends on the last one alone: logits are rows of a table."""

    def __init__(self, table: torch.Tensor) -> None:
        self.table, self.calls = table, 0

    def __call__(self, input_ids, attention_mask, past_key_values=None, use_cache=False, logits_to_keep=0):
        self.calls += 1
        return SimpleNamespace(logits=self.table[input_ids][:, -logits_to_keep:], past_key_values="cache")


@pytest.fixture
def chain() -> Chain:
    return Chain(torch.randn(6, 6, generator=torch.Generator().manual_seed(0)))


@pytest.fixture
def pair(tiny_model):
    return [AutoModelForCausalLM.from_pretrained(tiny_model("llama", seed=seed)).eval() for seed in (0, 1)]


def test_tokens_have_the_probabilities_of_the_model(chain: Chain) -> None:
    found = sample_sequences(chain, [[2]] * 4000, new_tokens=2, batch_size=500, seed=0).tokens
    expected = chain.table.double().softmax(-1).numpy()
    first = np.bincount(found[:, 0], minlength=6)
    assert chisquare(first, 4000 * expected[2]).pvalue > 0.01
    busiest = first.argmax()
    second = np.bincount(found[found[:, 0] == busiest, 1], minlength=6)
    assert chisquare(second, second.sum() * expected[busiest]).pvalue > 0.01


def test_sampled_and_scored_chains_give_their_exact_sequence_kl(chain: Chain) -> None:
    other = Chain(chain.table + 0.5 * torch.randn(6, 6, generator=torch.Generator().manual_seed(1)))
    p, q = (model.table.double().softmax(-1).numpy() for model in (chain, other))
    kl, alive, exact = (p * np.log(p / q)).sum(axis=1), np.eye(6)[2], 0.0
    for _ in range(5):
        exact += alive @ kl
        alive = alive @ p
        alive[4] = 0  # the end token: no sequence goes on after it
    prompts = [[2]] * 2000
    samples = sample_sequences(chain, prompts, new_tokens=5, batch_size=500, seed=0, end_ids=[4])
    opened = [partial(nullcontext, model) for model in (chain, other)]
    found = sequence_divergences(*opened, prompts, samples, batch_size=500)
    estimate = sequence_kl(found.forward, samples.mask, draws=1000)
    assert estimate.low <= exact <= estimate.high
    assert estimate.high - estimate.low < 0.1 * exact


def test_tokens_beyond_the_shared_vocabulary_never_come_and_the_rest_is_renormalised(chain: Chain) -> None:
    found = sample_sequences(chain, [[2]] * 2000, new_tokens=1, batch_size=500, seed=1, vocabulary=4).tokens
    counts = np.bincount(found[:, 0], minlength=6)
    assert counts[4:].sum() == 0
    assert chisquare(counts[:4], 2000 * chain.table[2, :4].double().softmax(-1).numpy()).pvalue > 0.01


def test_an_end_token_counts_and_nothing_after_it(chain: Chain) -> None:
    found = sample_sequences(chain, [[2]] * 300, new_tokens=8, batch_size=64, seed=0, end_ids=[1, 3])
    ends = np.isin(found.tokens, [1, 3]) & found.mask
    for tokens, mask, end in zip(found.tokens, found.mask, ends, strict=True):
        length = int(end.argmax()) + 1 if end.any() else 8
        assert mask.sum() == mask[:length].sum() == length
        assert (tokens[length:] == 0).all()
    assert 0 < ends.any(axis=1).mean() <= 1


def test_sampling_stops_when_all_sequences_have_ended() -> None:
    sure = Chain(torch.full((3, 3), -1e4).index_fill(1, torch.tensor([1]), 0.0))
    found = sample_sequences(sure, [[0]] * 4, new_tokens=50, batch_size=4, seed=0, end_ids=[1])
    assert sure.calls == 1
    assert found.mask.sum(axis=1).tolist() == [1] * 4


def test_samples_do_not_depend_on_the_batch(pair) -> None:
    found = [
        sample_sequences(pair[0], PROMPTS * 2, new_tokens=10, batch_size=size, seed=5) for size in (1, 3, 16)
    ]
    for other in found[1:]:
        np.testing.assert_array_equal(found[0].tokens, other.tokens)
        np.testing.assert_array_equal(found[0].mask, other.mask)
    assert (found[0].tokens[:5] != found[0].tokens[5:]).any()
    again = sample_sequences(pair[0], PROMPTS * 2, new_tokens=10, batch_size=3, seed=6)
    assert (again.tokens != found[0].tokens).any()


def test_work_is_reported_and_numbers_below_one_are_refused(chain: Chain) -> None:
    done: list[int] = []
    samples = sample_sequences(chain, [[1]] * 5, new_tokens=2, batch_size=2, seed=0, advance=done.append)
    assert done == [2, 2, 1]
    open_chain = partial(nullcontext, chain)
    sequence_divergences(open_chain, open_chain, [[1]] * 5, samples, batch_size=3, advance=done.append)
    assert done == [2, 2, 1, 3, 2]
    with pytest.raises(ValueError, match="0 new tokens"):
        sample_sequences(chain, [[1]], new_tokens=0, batch_size=1, seed=0)
    with pytest.raises(ValueError, match="2 prompts for 5 samples"):
        sequence_divergences(open_chain, open_chain, [[1]] * 2, samples, batch_size=3)


def plain_divergences(base, tuned, prompts, samples: Samples, vocabulary=None) -> list[np.ndarray]:
    """The twin: one sequence at a time, all logits held, no padding."""
    forward, reverse = np.zeros(samples.mask.shape), np.zeros(samples.mask.shape)
    for row, prompt in enumerate(prompts):
        length = int(samples.mask[row].sum())
        ids = torch.tensor([prompt + samples.tokens[row, :length].tolist()])
        with torch.inference_mode():
            log_p, log_q = (
                model(ids).logits[0, len(prompt) - 1 : -1, :vocabulary].double().log_softmax(-1)
                for model in (base, tuned)
            )
        forward[row, :length] = (log_p.exp() * (log_p - log_q)).sum(-1)
        reverse[row, :length] = (log_q.exp() * (log_q - log_p)).sum(-1)
    return [forward, reverse]


@pytest.mark.parametrize("batch_size", [1, 2, 16])
@pytest.mark.parametrize("vocabulary", [None, 20])
def test_divergences_equal_the_plain_twin(pair, batch_size: int, vocabulary: int | None) -> None:
    samples = sample_sequences(pair[0], PROMPTS, new_tokens=6, batch_size=2, seed=0, end_ids=range(0, 40, 4))
    assert 0 < samples.mask.mean() < 1
    opened = [partial(nullcontext, model) for model in pair]
    found = sequence_divergences(*opened, PROMPTS, samples, batch_size=batch_size, vocabulary=vocabulary)
    forward, reverse = plain_divergences(*pair, PROMPTS, samples, vocabulary)
    np.testing.assert_allclose(found.forward, forward, rtol=1e-3, atol=1e-6)
    np.testing.assert_allclose(found.reverse, reverse, rtol=1e-3, atol=1e-6)
    assert (found.forward[samples.mask] > 0).all()


@contextmanager
def adapter_off(model):
    with model.disable_adapter():
        yield model


# peft 0.21 asks transformers 5 for an attribute under its old name.
@pytest.mark.filterwarnings("ignore:.is_gradient_checkpointing. is deprecated:FutureWarning")
def test_one_model_with_its_adapter_off_and_on(tiny_model) -> None:
    plain = AutoModelForCausalLM.from_pretrained(tiny_model("llama")).eval()
    adapted = get_peft_model(
        AutoModelForCausalLM.from_pretrained(tiny_model("llama")),
        LoraConfig(task_type="CAUSAL_LM", r=2, target_modules=["q_proj"], init_lora_weights=False),
    ).eval()
    samples = sample_sequences(adapted, PROMPTS, new_tokens=4, batch_size=8, seed=0)
    found = sequence_divergences(
        partial(adapter_off, adapted),
        partial(nullcontext, adapted),
        PROMPTS,
        samples,
        batch_size=2,
    )
    forward, _ = plain_divergences(plain, adapted, PROMPTS, samples)
    np.testing.assert_allclose(found.forward, forward, rtol=1e-3, atol=1e-7)
    assert found.forward.max() > 1e-7


def test_a_model_against_itself_gives_exactly_zero(pair) -> None:
    opened = partial(nullcontext, pair[0])
    samples = sample_sequences(pair[0], PROMPTS, new_tokens=5, batch_size=3, seed=0)
    found = sequence_divergences(opened, opened, PROMPTS, samples, batch_size=3)
    assert not found.forward.any()
    assert not found.reverse.any()


def test_the_inverse_of_the_distribution_never_picks_what_has_no_probability() -> None:
    logits = torch.tensor([[-torch.inf, 0.0, 0.0, -torch.inf]]).expand(4, 4)
    uniform = torch.tensor([0.0, 0.4999, 0.5, 1 - 2**-53], dtype=torch.float64)
    assert inverse_cdf(logits, uniform).tolist() == [1, 1, 2, 2]
