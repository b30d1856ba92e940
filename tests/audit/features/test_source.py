from __future__ import annotations

from pathlib import Path

import pytest

from audit.errors import UsageError
from audit.features.source import TRAINED, DictionarySource, dictionary_source, hook_layers

CROSSCODER = dictionary_source("crosscoder")


def test_what_a_dictionary_may_be(tmp_path: Path) -> None:
    assert {dictionary_source(name).kind for name in TRAINED} == {"train"}
    assert dictionary_source("saelens:gpt2-small/blocks.8") == DictionarySource(
        "release", "gpt2-small/blocks.8"
    )
    assert dictionary_source(str(tmp_path)) == DictionarySource("folder", str(tmp_path))
    for wrong in ("crosscodr", "saelens:noid", str(tmp_path / "missing")):
        with pytest.raises(UsageError, match="no dictionary"):
            dictionary_source(wrong)


def test_hook_points_are_spread_from_the_middle() -> None:
    assert hook_layers((), 1, 30, CROSSCODER) == (15,)
    assert hook_layers((), 3, 32, CROSSCODER) == (8, 16, 24)
    assert hook_layers((), 3, 2, CROSSCODER) == (0, 1)
    assert hook_layers((5, 2, 5), 1, 30, CROSSCODER) == (2, 5)


def test_a_block_has_to_exist_and_a_loaded_dictionary_needs_one(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="no block 30"):
        hook_layers((30,), 1, 30, CROSSCODER)
    folder = dictionary_source(str(tmp_path))
    for asked in ((), (1, 2)):
        with pytest.raises(UsageError, match="one hook point"):
            hook_layers(asked, 1, 30, folder)
    assert hook_layers((4,), 3, 30, folder) == (4,)
