from __future__ import annotations

from typing import Any

import pytest

from sae.dictionaries import DictionaryConfig, SharedConfig
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
    ],
)
def test_settings_that_make_no_sense_are_named(settings: dict[str, Any], where: str) -> None:
    with pytest.raises(DictionaryError) as caught:
        DictionaryConfig(**settings)
    assert caught.value.where == where


@pytest.mark.parametrize(
    ("name", "value"),
    [("architecture", "gated"), ("reads", "both"), ("k", 0), ("steps", 0), ("batch_size", 3), ("lr", -1.0)],
)
def test_settings_of_a_shared_sae_are_checked_too(name: str, value: Any) -> None:
    with pytest.raises(DictionaryError) as caught:
        SharedConfig(**{name: value})
    assert caught.value.where == name


def test_settings_are_json() -> None:
    assert DictionaryConfig().to_dict()["k"] == 32
    assert SharedConfig().to_dict()["reads"] == "mixed"
