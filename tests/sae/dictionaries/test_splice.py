from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest
import torch

from sae.dictionaries import Crosscoder, DifferenceSAE, SpliceLoss, Weights, spliced_loss
from sae.errors import DictionaryError
from sae.harvest import MaskConfig, harvest
from sae.types import Document, HookPoint

Make = Callable[..., Any]
HOOK, MASK = HookPoint(0), MaskConfig(first=1, outlier=None)
SIDES = (0, 1)


def corpus(*lengths: int) -> list[Document]:
    g = torch.Generator().manual_seed(0)
    rows = [tuple(torch.randint(3, 300, (length,), generator=g).tolist()) for length in lengths]
    return [Document(row, ("none",) * len(row), f"d{i}") for i, row in enumerate(rows)]


DOCUMENTS = corpus(9, 4, 12, 1, 7)


def silent(weights: Weights, mean_MD: torch.Tensor) -> Crosscoder:
    """Decodes the same whatever it reads."""
    return Crosscoder(replace(weights, threshold_F=weights.threshold_F + 1e9, bias_MD=mean_MD))


def test_an_exact_dictionary_loses_nothing(pair: Any, make_exact: Make) -> None:
    found = spliced_loss(pair, make_exact(32), DOCUMENTS, HOOK, mask=MASK, batch_size=2)
    for loss in found:
        assert loss.tokens == 7 + 2 + 10 + 5, "the first position is not replaced, the last predicts nothing"
        assert loss.ce_spliced == pytest.approx(loss.ce_clean, abs=1e-5)
        assert loss.kl_spliced == pytest.approx(0, abs=1e-5)
        assert loss.kl_recovered == pytest.approx(1, abs=1e-4)
        assert min(loss.kl_mean, loss.kl_zero) > 0.01
    assert found.base.ce_clean != found.tuned.ce_clean


def test_the_mean_is_the_floor(pair: Any, make_weights: Make) -> None:
    x = torch.cat([pool.x_NLMD[:, 0] for pool in harvest(pair, DOCUMENTS, [0], mask=MASK)])
    dictionary = silent(make_weights(width=32), x.mean(0))
    for loss in spliced_loss(pair, dictionary, DOCUMENTS, HOOK, mask=MASK):
        assert loss.kl_recovered == pytest.approx(0, abs=1e-4)
        assert loss.ce_spliced == pytest.approx(loss.ce_mean, abs=1e-5)


def test_zero_is_the_other_floor_and_sides_are_not_mixed_up(pair: Any, make_exact: Make) -> None:
    """A crosscoder without the tuned model's rows: the base loses nothing, the tuned model all."""
    weights = make_exact(32).weights
    decoder = weights.decoder_FMD.clone()
    decoder[:, 1] = 0
    found = spliced_loss(pair, Crosscoder(replace(weights, decoder_FMD=decoder)), DOCUMENTS, HOOK, mask=MASK)
    assert found.base.kl_recovered_zero == pytest.approx(1, abs=1e-4)
    assert found.tuned.kl_recovered_zero == pytest.approx(0, abs=1e-4)
    assert found.tuned.ce_spliced == pytest.approx(found.tuned.ce_zero, abs=1e-5)


def test_clean_cross_entropy_is_the_models_own(pair: Any, make_exact: Make) -> None:
    found = spliced_loss(pair, make_exact(32), DOCUMENTS, HOOK, mask=MASK)
    for loss, model in zip(found, pair.models.values(), strict=True):
        total = 0.0
        for document in DOCUMENTS:
            ids = torch.tensor([document.tokens])
            with torch.no_grad():
                logprobs = model(ids).logits[0, 1:-1].log_softmax(-1)
            total -= float(logprobs.gather(1, ids[0, 2:, None]).sum())
        assert loss.ce_clean == pytest.approx(total / 24, abs=1e-5)


def test_batches_do_not_matter(pair: Any, make_weights: Make) -> None:
    dictionary = silent(make_weights(width=32), torch.ones(2, 32))
    done: list[int] = []
    one = spliced_loss(pair, dictionary, DOCUMENTS, HOOK, mask=MASK, batch_size=1, progress=done.append)
    four = spliced_loss(pair, dictionary, DOCUMENTS, HOOK, mask=MASK, batch_size=4)
    assert one.tuned.kl_spliced == pytest.approx(four.tuned.kl_spliced, rel=1e-4)
    assert sum(done) == 4, "the document of one token has nothing to replace"


def test_a_difference_sae_leaves_the_base_as_it_is(pair: Any, make_weights: Make) -> None:
    dictionary = DifferenceSAE(make_weights(models=1, width=32))
    found = spliced_loss(pair, dictionary, DOCUMENTS, HOOK, mask=MASK)
    assert found.base.kl_spliced == pytest.approx(0, abs=1e-5)
    assert found.tuned.kl_spliced > 0.01


@pytest.mark.parametrize(
    ("documents", "width", "message"),
    [(corpus(1, 1), 32, "no position is left"), (corpus(2), 32, "no prediction"), (corpus(9), 16, "16 wide")],
)
def test_what_cannot_be_spliced_is_refused(
    pair: Any, make_exact: Make, documents: list[Document], width: int, message: str
) -> None:
    with pytest.raises(DictionaryError, match=message):
        spliced_loss(pair, make_exact(width), documents, HOOK, mask=MASK)


def test_an_ablation_that_does_no_harm_leaves_the_share_open() -> None:
    loss = SpliceLoss(5, 2.0, 2.1, 2.0, 3.0, 0.1, 0.2, 0.4)
    assert loss.ce_recovered is None
    assert loss.ce_recovered_zero == pytest.approx(0.9)
    assert loss.to_dict()["kl_recovered_zero"] == pytest.approx(0.75)


@pytest.mark.parametrize("architecture", ["gpt2", "gemma3", "gpt_neox"])
def test_other_architectures_splice_as_well(tiny_model: Make, make_exact: Make, architecture: str) -> None:
    from transformers import AutoModelForCausalLM

    from audit.pair.quiet import quiet

    with quiet():
        models = [
            AutoModelForCausalLM.from_pretrained(tiny_model(architecture, seed=s)).eval() for s in SIDES
        ]
    pair = type("Pair", (), {"model": lambda self, side: _opened(models[side == "tuned"])})()
    found = spliced_loss(pair, make_exact(32), DOCUMENTS, HOOK, mask=MASK)
    assert found.tuned.kl_spliced == pytest.approx(0, abs=1e-5)
    assert found.tuned.kl_zero > 0.001


def _opened(model: Any) -> Any:
    from contextlib import nullcontext

    return nullcontext(model)
