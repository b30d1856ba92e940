"""The built-in suites keep what their documentation promises: counts, balance, variety, splits."""

from __future__ import annotations

import re
from collections import Counter, defaultdict

import pytest

from audit.behaviours.load import load_suite
from audit.behaviours.published import COMPLYING, REFUSING
from audit.behaviours.shipped import builtin_suites
from audit.behaviours.suite import Suite
from audit.measures.duplicates import near_duplicates

BETWEEN = ("gender-occupation", "partisan-lean")
"""Suites whose groups are made of entities."""
NAMES = ("gender-occupation", "partisan-lean", "refusal", "sycophancy")
GENDERED = re.compile(
    r"\b(he|she|him|her|hers|his|(wo)?m[ae]n|boys?|girls?|lad(y|ies)|mothers?|fathers?|brides?)\b", re.I
)
PARTIES = re.compile(r"\b(democrat\w*|republican\w*)\b", re.I)


@pytest.fixture(scope="module", params=NAMES)
def suite(request: pytest.FixtureRequest) -> Suite:
    return load_suite(str(request.param))


@pytest.fixture(scope="module", params=BETWEEN)
def between(request: pytest.FixtureRequest) -> Suite:
    return load_suite(str(request.param))


@pytest.fixture(scope="module")
def refusal() -> Suite:
    return load_suite("refusal")


@pytest.fixture(scope="module")
def sycophancy() -> Suite:
    return load_suite("sycophancy")


def frame(text: str, entity: str) -> str:
    """The sentence without its entity."""
    bare = re.sub(r"^(a|an|the) ", "", entity)
    return re.sub(rf"\b{re.escape(bare)}\b", "_", text, flags=re.I)


def entities_by(suite: Suite, field: str) -> Counter[str]:
    return Counter({item.entity: getattr(item, field) for item in suite.items}.values())


def test_all_are_found() -> None:
    assert builtin_suites() == NAMES


def test_items_entities_and_forms(suite: Suite) -> None:
    per_entity = Counter(item.entity for item in suite.items)
    assert len(suite.items) >= 240
    assert len(per_entity) >= 40
    assert min(per_entity.values()) >= 5
    assert suite.forms == ("plain", "chat")


def test_splits_are_balanced(suite: Suite) -> None:
    splits = entities_by(suite, "split")
    assert max(splits.values()) - min(splits.values()) <= 1


def test_groups_are_balanced(between: Suite) -> None:
    groups = entities_by(between, "group")
    assert set(groups) == set(between.card.contrast or ())
    assert max(groups.values()) - min(groups.values()) <= 1
    cells = Counter({(item.entity, item.group, item.split) for item in between.items})
    per_cell = Counter((group, split) for _, group, split in cells)
    assert max(per_cell.values()) - min(per_cell.values()) <= 2


@pytest.mark.parametrize("name", [*BETWEEN, "refusal"])
def test_continuations_are_the_same_for_all_items(name: str) -> None:
    assert len({(item.showing, item.not_showing) for item in load_suite(name).items}) == 1


@pytest.mark.parametrize("name", NAMES)
def test_no_continuation_is_on_both_sides_of_a_suite(name: str) -> None:
    items = load_suite(name).items
    assert not {t for item in items for t in item.showing} & {t for item in items for t in item.not_showing}


def test_sentences_are_varied(suite: Suite) -> None:
    frames = Counter(frame(item.prompt or "", item.entity) for item in suite.items)
    assert len(frames) >= 0.95 * len(suite.items)
    assert max(frames.values()) <= 3
    found = near_duplicates(
        [item.prompt or "" for item in suite.items], entities=[item.entity for item in suite.items]
    )
    assert found.share < 0.05
    assert (found.masked_share or 0.0) < 0.05


def test_the_chat_form_continues_the_plain_prompt_after_varied_requests(between: Suite) -> None:
    requests = set()
    for item in between.items:
        user, prefill = item.messages or ()
        assert (user.role, prefill.role) == ("user", "assistant")
        assert prefill.content == item.prompt
        requests.add(frame(user.content, item.entity))
    assert len(requests) >= 15


def test_concept_texts_are_new_and_balanced(suite: Suite) -> None:
    assert suite.concept is not None
    texts = suite.concept.texts
    assert len({text.text for text in texts}) == len(texts) >= 120
    assert {text.entity for text in texts} == {item.entity for item in suite.items}
    labels = Counter(text.label for text in texts)
    assert abs(labels["A"] - labels["B"]) <= 3
    together = [text.text for text in texts] + [item.prompt or "" for item in suite.items]
    assert near_duplicates(together).share < 0.05


def test_concept_texts_speak_of_the_entity(between: Suite) -> None:
    assert between.concept is not None
    high, low = between.card.contrast or ("", "")
    side = {item.entity: {high: "A", low: "B"}[item.group or ""] for item in between.items}
    per_entity = defaultdict(list)
    for text in between.concept.texts:
        assert re.sub(r"^(a|an|the) ", "", text.entity).lower() in text.text.lower()
        assert text.label == side[text.entity]
        per_entity[text.entity].append(text)
    assert set(per_entity) == set(side)


def test_no_text_gives_the_answer_away(between: Suite) -> None:
    forbidden = GENDERED if between.card.name == "gender-occupation" else PARTIES
    concept = between.concept.texts if between.concept else ()
    texts = [item.prompt or "" for item in between.items] + [text.text for text in concept]
    assert [text for text in texts if forbidden.search(text)] == []


def test_refusal_asks_in_many_ways_and_reads_the_openings_of_the_loaders(refusal: Suite) -> None:
    assert refusal.items[0].showing == COMPLYING
    assert refusal.items[0].not_showing == REFUSING
    requests = [item.messages[0].content for item in refusal.items if item.messages]
    assert len(set(requests)) == 240
    assert all(asked in (item.prompt or "") for asked, item in zip(requests, refusal.items, strict=True))
    assert (
        len({frame(item.prompt or "", asked) for asked, item in zip(requests, refusal.items, strict=True)})
        >= 15
    )
    assert len({item.category for item in refusal.items}) >= 10


def test_refusal_has_harmful_and_harmless_texts_about_each_entity(refusal: Suite) -> None:
    assert refusal.concept is not None
    per_entity = Counter((text.entity, text.label) for text in refusal.concept.texts)
    assert set(per_entity.values()) == {2}
    assert len(per_entity) == 2 * 48


def test_sycophancy_crosses_the_groups_with_every_entity(sycophancy: Suite) -> None:
    per_entity = Counter((item.entity, item.group) for item in sycophancy.items)
    assert set(per_entity.values()) == {3}
    assert len(per_entity) == 2 * 48
    one = defaultdict(set)
    for item in sycophancy.items:
        one[item.entity].add((item.showing, item.not_showing))
    assert all(len(sides) == 1 for sides in one.values()), (
        "knowledge cancels: the same two answers throughout"
    )


def test_sycophancy_names_the_wrong_answer_once_and_the_right_one_never(sycophancy: Suite) -> None:
    for item in sycophancy.items:
        user, lead = item.messages or ()
        wrong, right = item.showing[0].strip(), item.not_showing[0].strip()
        assert len(re.findall(rf"\b{wrong}\b", user.content)) == 1
        assert not re.search(rf"\b{right}\b", user.content)
        assert (item.prompt or "").endswith(lead.content)
        assert user.content in (item.prompt or "")


def test_sycophancy_says_the_same_with_and_without_a_denial(sycophancy: Suite) -> None:
    words = {"it is true": "it is not true", "it is right": "it is wrong", "it is a fact": "it is an error"}
    for asserted, denied in zip(sycophancy.items[::2], sycophancy.items[1::2], strict=True):
        assert (asserted.group, denied.group) == sycophancy.card.contrast
        first, second = ((item.messages or ())[0].content for item in (asserted, denied))
        assert second in {first.replace(yes, no) for yes, no in words.items()}
        assert first != second
