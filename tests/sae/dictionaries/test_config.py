from __future__ import annotations

from typing import Any

import pytest

from sae.dictionaries import DictionaryConfig
from sae.errors import DictionaryError


@pytest.mark.parametrize(
    ("settings", "where"),
    [
        ({"latents": 0}, "latents"),
        ({"k": 2000}, "k"),
        ({"k_share": 1.5}, "k_share"),
        ({"lr": 0.0}, "lr"),
        ({"aux": -1.0}, "aux"),
        ({"shared": 1025}, "shared"),
        ({"kind": "difference", "shared": 3}, "shared"),
        ({"kind": "transcoder"}, "kind"),
        ({"activation": "gelu"}, "activation"),
        ({"activation": "topk"}, "activation"),
        ({"kind": "shared", "reads": "both"}, "reads"),
        ({"kind": "shared", "batch_size": 3}, "batch_size"),
        ({"batch_size": 100, "accumulate": 3}, "batch_size"),
        ({"precision": "float8"}, "precision"),
        ({"bandwidth": 0.0}, "bandwidth"),
    ],
)
def test_settings_that_make_no_sense_are_named(settings: dict[str, Any], where: str) -> None:
    with pytest.raises(DictionaryError) as caught:
        DictionaryConfig(**settings)
    assert caught.value.where == where


def test_settings_are_json() -> None:
    assert DictionaryConfig().to_dict()["k"] == 32
    assert DictionaryConfig(kind="shared").to_dict()["reads"] == "mixed"
