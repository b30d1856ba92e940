"""A concept's texts in a model: the right tokens, the same numbers as one text at a time."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from audit.behaviours.suite import Concept, ConceptText
from audit.directions.read import EMBEDDINGS, read_concept, tokens_of
from audit.errors import SuiteError
from audit.pair.checkpoint import LoadOptions, resolve
from audit.pair.load import load_single

Make = Callable[..., Path]
TEXTS = (
    "the nurse said that in the left party",
    "a doctor works to day and the tax is good",
    "him is that a teacher",
)


def concept(entities: tuple[str, ...] = ("nurse", "doctor", "teacher")) -> Concept:
    texts = tuple(
        ConceptText(text=text, label="A", entity=entity, split="train")
        for text, entity in zip(TEXTS, entities, strict=True)
    )
    return Concept(name="c", label_a="a", label_b="b", texts=texts)


@pytest.mark.parametrize("architecture", ["llama", "gpt2", "gpt_neox", "qwen3", "gemma3"])
def test_batches_read_what_one_text_at_a_time_reads(architecture: str, tiny_model: Make) -> None:
    loaded = load_single(resolve(str(tiny_model(architecture)), LoadOptions()))
    done: list[int] = []
    found = read_concept(
        loaded.model, loaded.tokenizer, concept(), [1, 0], batch_size=2, progress=done.append
    )
    assert found.layers == (EMBEDDINGS, 1, 0)
    assert found.positions == ("entity", "last")
    assert found.x_PLND.shape == (2, 3, 3, 32)
    assert sum(done) == 3
    embedding: Any = loaded.model.get_input_embeddings()
    for n, text in enumerate(concept().texts):
        tokens = tokens_of(loaded.tokenizer, text)
        assert tokens.entity is not None
        assert loaded.tokenizer.decode(tokens.ids[tokens.entity.stop - 1 : tokens.entity.stop]).endswith(
            text.entity
        )
        ids = torch.tensor([tokens.ids])
        states = loaded.model(input_ids=ids, output_hidden_states=True).hidden_states
        after_first = states[1][0].detach().numpy()
        last_of_name = after_first[tokens.entity.stop - 1]
        np.testing.assert_allclose(found.x_PLND[0, 2, n], last_of_name, atol=1e-4)
        np.testing.assert_allclose(found.x_PLND[1, 2, n], after_first[-1], atol=1e-4)
        words = embedding(ids)[0].detach().numpy()
        np.testing.assert_allclose(found.x_PLND[1, 0, n], words.mean(0), atol=1e-5)
        name = words[tokens.entity.start : tokens.entity.stop].mean(0)
        np.testing.assert_allclose(found.x_PLND[0, 0, n], name, atol=1e-5)


@pytest.mark.parametrize(
    ("entity", "text", "spelled"),
    [
        ("nurse", "the Nurse said", "Nurse"),
        ("left party", "in the left-party of", "left-party"),
        ("left-party", "in the left party of", "left party"),
        ("a.c", "abc a.c", "a.c"),
        ("tax", "taxes and tax", "tax"),
    ],
)
def test_the_name_is_found_by_its_letters(
    entity: str, text: str, spelled: str, tiny_tokenizer: Callable[..., Any]
) -> None:
    tokenizer = tiny_tokenizer()
    found = tokens_of(tokenizer, ConceptText(text=text, label="A", entity=entity, split="train"))
    assert found.entity is not None
    assert tokenizer.decode(found.ids[found.entity.start : found.entity.stop]).strip() == spelled


def test_a_text_without_the_name_is_read_at_its_end_and_counted(tiny_model: Make) -> None:
    loaded = load_single(resolve(str(tiny_model()), LoadOptions()))
    some = read_concept(
        loaded.model, loaded.tokenizer, concept(("nurse", "engineer", "teacher")), [0], batch_size=3
    )
    assert some.without_entity == 1
    np.testing.assert_array_equal(some.x_PLND[0, :, 1], some.x_PLND[1, :, 1])
    none = read_concept(loaded.model, loaded.tokenizer, concept(("x1", "x2", "x3")), [0], batch_size=3)
    assert (none.positions, none.without_entity) == (("last",), 3)
    assert none.x_PLND.shape[0] == 1


def test_a_text_longer_than_the_context_is_named(tiny_model: Make) -> None:
    loaded = load_single(resolve(str(tiny_model(max_position_embeddings=4)), LoadOptions()))
    with pytest.raises(SuiteError, match="1 to 4 can be read"):
        read_concept(loaded.model, loaded.tokenizer, concept(), [0], batch_size=3)


def test_closing_special_tokens_are_no_part_of_a_text(tiny_tokenizer: Callable[..., Any]) -> None:
    from tokenizers.processors import TemplateProcessing

    tokenizer = tiny_tokenizer()
    tokenizer.backend_tokenizer.post_processor = TemplateProcessing(
        single="<|start|> $A <|end|>", special_tokens=[("<|start|>", 1), ("<|end|>", 2)]
    )
    text = ConceptText(text="the nurse", label="A", entity="nurse", split="train")
    found = tokens_of(tokenizer, text)
    assert found.ids[0] == 1
    assert found.ids[-1] != 2
    assert found.entity == range(2, 3)
