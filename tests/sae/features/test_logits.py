from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch

from sae.features.logits import direct_logits, final_norm, promoted


def load(path: Path) -> Any:
    from transformers import AutoModelForCausalLM

    model = AutoModelForCausalLM.from_pretrained(path).eval()
    with torch.no_grad():
        for parameter in final_norm(model).parameters():
            parameter.add_(0.3 * torch.randn(parameter.shape, generator=torch.Generator().manual_seed(1)))
    return model


@pytest.mark.parametrize("architecture", ["llama", "qwen3", "gemma3", "gpt2", "gpt_neox"])
def test_logits_are_the_models_own_slope_along_the_row(
    tiny_model: Callable[..., Path], architecture: str
) -> None:
    """Far from the origin the head's output along a row is that of the row alone, at rms 1."""
    model = load(tiny_model(architecture))
    rows = torch.randn(5, 32, generator=torch.Generator().manual_seed(0))
    head, norm = model.get_output_embeddings(), final_norm(model)
    with torch.no_grad():
        wanted = (head(norm(1e4 * rows)) - head(norm(-1e4 * rows))) / 2
    found = direct_logits(model, rows)
    for a, b in zip(found, wanted, strict=True):
        assert torch.nn.functional.cosine_similarity(a, b, dim=0) > 0.9999
    torch.testing.assert_close(direct_logits(model, 3 * rows), 3 * found, rtol=1e-3, atol=1e-3)


def test_top_and_bottom_tokens(tiny_model: Callable[..., Path]) -> None:
    model = load(tiny_model("llama"))
    rows = torch.randn(40, 32, generator=torch.Generator().manual_seed(0))
    rows[3] = 0
    logits = direct_logits(model, rows)
    found = list(promoted(model, rows, count=3))
    assert [p.row for p in found if p.sign == "top"] == [i for i in range(40) if i != 3]
    for entry in found:
        wanted = logits[entry.row].topk(3, largest=entry.sign == "top")
        assert entry.token_K.tolist() == wanted.indices.tolist()
        torch.testing.assert_close(entry.value_K, wanted.values)


def test_a_model_without_a_final_norm_is_refused(tiny_model: Callable[..., Path]) -> None:
    model = load(tiny_model("llama"))
    model.model.norm = torch.nn.Identity()
    with pytest.raises(ValueError, match="no final norm"):
        final_norm(model)
