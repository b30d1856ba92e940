from __future__ import annotations

from collections.abc import Callable, Sequence
from itertools import pairwise
from typing import Any

import pytest

from sae.corpus import chat_tokens
from sae.errors import CorpusError
from sae.roles import Render, Span, Turn, roles_of, spans_of

CHATML = (
    "{% for m in messages %}{% if loop.first and m['role'] != 'system' %}<|im_start|>system\nYou are helpful"
    "<|im_end|>\n{% endif %}<|im_start|>{{ m['role'] }}\n{{ m['content'] }}<|im_end|>\n{% endfor %}"
)
LLAMA3 = (
    "<|begin_of_text|>{% for m in messages %}<|start_header_id|>{{ m['role'] }}<|end_header_id|>\n\n"
    "{{ m['content'] | trim }}<|eot_id|>{% endfor %}"
)
LLAMA2 = (
    "{% set ns = namespace(system='') %}{% for m in messages %}{% if m['role'] == 'system' %}"
    "{% set ns.system = m['content'] %}{% elif m['role'] == 'user' %}<s>[INST] "
    "{% if ns.system %}<<SYS>>\n{{ ns.system }}\n<</SYS>>\n\n{% set ns.system = '' %}{% endif %}"
    "{{ m['content'].strip() }} [/INST]{% else %} {{ m['content'].strip() }} </s>{% endif %}{% endfor %}"
)
NO_SYSTEM = (
    "{% for m in messages %}{% if m['role'] != 'system' %}<{{ m['role'] }}>{{ m['content'] }}\n{% endif %}"
    "{% endfor %}"
)
REASONING = (
    "{% for m in messages %}<|im_start|>{{ m['role'] }}\n{% if m['role'] == 'assistant' %}"
    "{% if '</think>' in m['content'] %}{{ m['content'].split('</think>')[-1].lstrip('\n') }}"
    "{% else %}<think>\n\n</think>\n\n{{ m['content'] }}{% endif %}"
    "{% else %}{{ m['content'] }}{% endif %}<|im_end|>\n{% endfor %}"
)
TEMPLATES = {"chatml": CHATML, "llama3": LLAMA3, "llama2": LLAMA2, "reasoning": REASONING}


def renderer(template: str) -> Render:
    from jinja2.sandbox import ImmutableSandboxedEnvironment

    compiled = ImmutableSandboxedEnvironment(trim_blocks=True, lstrip_blocks=True).from_string(template)
    return lambda turns: compiled.render(messages=[{"role": t.role, "content": t.content} for t in turns])


def said(template: str, turns: Sequence[Turn]) -> list[tuple[str, str]]:
    text, spans = spans_of(turns, renderer(template))
    return [(span.role, text[span.start : span.end]) for span in spans]


@pytest.mark.parametrize("template", TEMPLATES.values(), ids=TEMPLATES)
def test_contents_are_found_where_they_stand(template: str) -> None:
    turns = [
        Turn("system", "Be brief."),
        Turn("user", "What is a lake?"),
        Turn("assistant", "Water."),
        Turn("user", "And a pond?"),
        Turn("assistant", "Less water."),
    ]
    assert said(template, turns) == [tuple(turn) for turn in turns]


@pytest.mark.parametrize("template", TEMPLATES.values(), ids=TEMPLATES)
@pytest.mark.parametrize("word", ["user", "system", "assistant", "<|im_end|>", "INST", "a", "qZx0000xZq"])
def test_contents_that_repeat_each_other_and_the_template_are_not_confused(template: str, word: str) -> None:
    turns = [Turn("user", word), Turn("assistant", word), Turn("user", f"{word} {word}")]
    text, spans = spans_of(turns, renderer(template))
    assert [text[s.start : s.end] for s in spans] == [turn.content for turn in turns]
    for before, after in pairwise(spans):
        assert before.end < after.start
    assert text[spans[-1].end :].strip() in {"<|im_end|>", "<|eot_id|>", "[/INST]"}


def test_trimmed_contents_are_found_without_their_margins() -> None:
    turns = [Turn("user", "\n two lines\n\n"), Turn("assistant", "  yes ")]
    assert said(LLAMA3, turns) == [("user", "two lines"), ("assistant", "yes")]
    assert said(CHATML, turns) == [tuple(turn) for turn in turns]


def test_a_default_system_message_belongs_to_the_template() -> None:
    text, spans = spans_of([Turn("user", "You are helpful")], renderer(CHATML))
    assert [(s.role, text[s.start : s.end]) for s in spans] == [("user", "You are helpful")]
    assert spans[0].start == text.rindex("You are helpful") > text.index("You are helpful")


def test_a_message_that_the_template_leaves_out_has_no_place() -> None:
    turns = [Turn("system", "Be brief."), Turn("user", "Be brief."), Turn("assistant", "Yes.")]
    assert said(NO_SYSTEM, turns) == [("user", "Be brief."), ("assistant", "Yes.")]


def test_what_is_left_of_a_shortened_content_counts() -> None:
    turns = [
        Turn("user", "Why?"),
        Turn("assistant", "<think>\nHm. Yes.\n</think>\n\nYes."),
        Turn("user", "Ah"),
    ]
    assert said(REASONING, turns) == [("user", "Why?"), ("assistant", "Yes."), ("user", "Ah")]


def test_a_template_that_rewrites_contents_is_refused_with_the_message() -> None:
    with pytest.raises(CorpusError) as caught:
        said(
            "{% for m in messages %}<{{ m['content'] | replace('a', 'b') }}>{% endfor %}",
            [Turn("user", "aaa")],
        )
    assert caught.value.where == "message 1 (user)"


def test_a_token_goes_to_the_message_that_has_half_of_it() -> None:
    spans = [Span("user", 2, 6), Span("assistant", 8, 12)]
    offsets = [(0, 2), (1, 3), (1, 4), (4, 6), (5, 8), (6, 8), (8, 12), (12, 12), (11, 20)]
    assert roles_of(offsets, spans) == (
        *("template", "user", "user", "user", "template", "template", "assistant", "template", "template"),
    )
    assert roles_of([], spans) == ()


@pytest.mark.parametrize("template", TEMPLATES.values(), ids=TEMPLATES)
def test_every_token_of_a_chat_has_a_role(tiny_tokenizer: Callable[..., Any], template: str) -> None:
    tokenizer = tiny_tokenizer(extra=("<|im_start|>", "<|im_end|>", "<|eot_id|>"))
    turns = [Turn("user", "the nurse said that déjà vu 你好"), Turn("assistant", "the nurse said")]
    found = chat_tokens(turns, tokenizer, renderer(template))
    assert tokenizer.decode(found.ids) == renderer(template)(turns)
    for turn in turns:
        own = [i for i, role in zip(found.ids, found.roles, strict=True) if role == turn.role]
        assert tokenizer.decode(own).strip() == turn.content
    assert "template" in found.roles


def test_a_tokenizer_that_cannot_tell_characters_is_refused() -> None:
    with pytest.raises(CorpusError, match="which characters"):
        chat_tokens([Turn("user", "a")], object(), renderer(CHATML))  # type: ignore[arg-type]
