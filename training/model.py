"""A causal language model with an adapter or without: the two kinds of thing that the loop trains."""

from __future__ import annotations

from typing import Any, TypeAlias, cast

from peft import PeftModel
from torch import nn
from transformers import PreTrainedModel

CausalLM: TypeAlias = PreTrainedModel | PeftModel
"""What trains: with an adapter only the adapter does, without one every weight."""


def base_of(model: CausalLM) -> PreTrainedModel:
    """The transformers model itself, inside its adapter's wrapper or bare."""
    return cast(PreTrainedModel, model.get_base_model()) if isinstance(model, PeftModel) else model


def trained(model: nn.Module) -> list[nn.Parameter]:
    """The parameters that train."""
    return [parameter for parameter in model.parameters() if parameter.requires_grad]


def unfreeze(model: PreTrainedModel) -> PreTrainedModel:
    """The model with every weight set to train."""
    cast(Any, model).requires_grad_(True)
    return model


def hidden_size(model: CausalLM) -> int:
    """Width of the residual stream that the unembedding reads."""
    head: Any = cast(Any, base_of(model)).get_output_embeddings()
    return int(head.weight.shape[-1])
