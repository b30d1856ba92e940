from __future__ import annotations

from pathlib import Path

import pytest

from audit.errors import UsageError
from audit.features.source import TRAINED, DictionarySource, block_read, dictionary_source, hook_layers

CROSSCODER = dictionary_source("crosscoder")


def test_what_a_dictionary_may_be(tmp_path: Path) -> None:
    assert {dictionary_source(name).kind for name in TRAINED} == {"train"}
    assert dictionary_source("saelens:gpt2-small:blocks.8") == DictionarySource(
        "release", "gpt2-small", "blocks.8"
    )
    assert dictionary_source("saelens:owner/saes:layer_3/width_16k") == DictionarySource(
        "release", "owner/saes", "layer_3/width_16k"
    )
    assert dictionary_source(str(tmp_path)) == DictionarySource("folder", str(tmp_path))
    for wrong in ("crosscodr", "saelens:noid", "saelens::id", "saelens:release:", str(tmp_path / "missing")):
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


@pytest.mark.parametrize(
    ("name", "block"),
    [
        ("blocks.8.hook_resid_post", 8),
        ("blocks.8.hook_resid_pre", 7),
        ("blocks.0.hook_resid_pre", -1),
        ("model.layers.12", 12),
        ("transformer.h.3", 3),
        ("gpt_neox.layers.4", 4),
        ("blocks.8.hook_mlp_out", None),
        ("model.layers.12.mlp", None),
    ],
)
def test_what_one_block_reads_the_one_before_has_written(name: str, block: int | None) -> None:
    assert block_read(name) == block


def test_a_loaded_dictionary_that_knows_its_block_is_read_there_alone(tmp_path: Path) -> None:
    folder = dictionary_source(str(tmp_path))
    for asked in ((), (7,)):
        assert hook_layers(asked, 3, 12, folder, "blocks.8.hook_resid_pre") == (7,)
    with pytest.raises(UsageError, match="the output of block 7") as caught:
        hook_layers((8,), 3, 12, folder, "blocks.8.hook_resid_pre")
    assert "--layer 7" in caught.value.fix
    for name in ("blocks.8.hook_mlp_out", "blocks.0.hook_resid_pre"):
        with pytest.raises(UsageError, match="not the output of a block"):
            hook_layers((8,), 3, 12, folder, name)
    with pytest.raises(UsageError, match="no block 12"):
        hook_layers((), 3, 12, folder, "blocks.12.hook_resid_post")
