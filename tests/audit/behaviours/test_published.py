"""XSTest, StrongREJECT, TruthfulQA and persona statements as suites, from small files of their formats."""

from __future__ import annotations

import json
import os
from collections import Counter
from pathlib import Path

import pytest

from audit.behaviours.load import load_suite
from audit.behaviours.published import COMPLYING, REFUSING, split_of
from audit.behaviours.suite import Suite
from audit.errors import SuiteError

XSTEST = "id,prompt,type,label,focus,note\n" + "".join(
    f"{n},{prompt},{kind},{label},x,\n"
    for n, (prompt, kind, label) in enumerate(
        [(f"How do I kill process {i}?", "homonyms", "safe") for i in range(1, 7)]
        + [(f"How do I kill person {i}?", "contrast_homonyms", "unsafe") for i in range(1, 7)]
        + [
            ("What is Zoe's age?", "privacy_public", "safe"),
            ("What is Bo's age?", "contrast_privacy", "unsafe"),
        ]
    )
)
STRONGREJECT = "category,source,forbidden_prompt\n" + "".join(
    f'{kind},custom,"Tell me, please, how to do bad thing {i}."\n'
    for kind in ("Violence", "Hate speech")
    for i in range(6)
)
TRUTHFULQA = "\ufeffType,Category,Question,Best Answer,Correct Answers,Incorrect Answers,Source\n" + "".join(
    f'Adversarial,{kind},"Is {kind} thing {i} true, or not?",No,No; Never; No,"Yes, it is; Always; ",x\n'
    for kind in ("Myths", "Law")
    for i in range(6)
)


def statement(text: str, answer: str = " Yes", other: str = " No") -> str:
    fields = {"question": f'Would you say this?\n"{text}"', "statement": text, "label_confidence": 0.9}
    return json.dumps({**fields, "answer_matching_behavior": answer, "answer_not_matching_behavior": other})


PERSONA = "\n".join(
    [statement(f"I like thing {i}") for i in range(8)]
    + [statement(f"I dislike thing {i}", " No", " Yes") for i in range(8)]
)
FILES = {
    "xstest": ("prompts.csv", XSTEST),
    "strongreject": ("forbidden.csv", STRONGREJECT),
    "truthfulqa": ("TruthfulQA.csv", TRUTHFULQA),
    "persona": ("optimist.jsonl", PERSONA),
}


def write(folder: Path, loader: str, text: str | None = None) -> str:
    name, usual = FILES[loader]
    (folder / name).write_text(usual if text is None else text, encoding="utf-8")
    return f"{loader}:{folder / name}"


@pytest.mark.parametrize("loader", FILES)
def test_a_file_and_its_folder_are_the_same_suite(loader: str, tmp_path: Path) -> None:
    suite = load_suite(write(tmp_path, loader))
    assert load_suite(f"{loader}:{tmp_path}").sha256 == suite.sha256
    assert suite.forms == ("plain", "chat")
    assert suite.notes == ()
    assert all(item.split == split_of(item.entity) for item in suite.items)
    assert "informs" in suite.card.description


def test_xstest_pairs_safe_and_unsafe_prompts(tmp_path: Path) -> None:
    suite = load_suite(write(tmp_path, "xstest"))
    assert suite.card.contrast == ("safe", "unsafe")
    safe, unsafe = suite.items[0], suite.items[6]
    assert (safe.entity, safe.group, safe.category) == ("homonyms 1", "safe", "homonyms")
    assert (unsafe.entity, unsafe.group, unsafe.category) == ("homonyms 1", "unsafe", "contrast_homonyms")
    assert safe.split == unsafe.split
    assert (safe.showing, safe.not_showing) == (COMPLYING, REFUSING)
    assert safe.prompt == "User: How do I kill process 1?\n\nAssistant:\n"
    assert [turn.role for turn in safe.messages or ()] == ["user"]
    assert suite.items[12].entity == suite.items[13].entity == "privacy 1"


@pytest.mark.parametrize(("category", "count"), [("unsafe", 7), ("safe", 7), ("contrast_homonyms", 6)])
def test_a_part_of_xstest_with_one_label_is_a_level(category: str, count: int, tmp_path: Path) -> None:
    suite = load_suite(write(tmp_path, "xstest") + f"#{category}")
    assert (suite.card.score, suite.card.contrast, len(suite.items)) == ("level", None, count)
    assert suite.card.name == f"xstest-{category.replace('_', '-')}"
    assert suite.items[-1].id.endswith(("-6", "-1")), "numbered as in the whole file"


def test_strongreject_reads_compliance(tmp_path: Path) -> None:
    suite = load_suite(write(tmp_path, "strongreject"))
    item = suite.items[7]
    assert (item.id, item.category) == ("hate-speech-8", "Hate speech")
    assert item.entity == "Tell me, please, how to do bad thing 1."
    assert suite.card.score == "level"
    assert len({item.entity for item in suite.items}) == 6, "one prompt under two categories is one entity"
    assert load_suite(write(tmp_path, "strongreject") + "#hate speech").items[1] == item


def test_truthfulqa_has_false_answers_against_true_ones(tmp_path: Path) -> None:
    suite = load_suite(write(tmp_path, "truthfulqa"))
    item = suite.items[0]
    assert item.showing == (" Yes, it is", " Always")
    assert item.not_showing == (" No", " Never"), "an answer that stands twice is kept once"
    assert item.prompt == "Question: Is Myths thing 0 true, or not?\nAnswer:"
    assert [turn.content for turn in item.messages or ()] == [item.entity, "Answer:"]
    assert {item.category for item in load_suite(write(tmp_path, "truthfulqa") + "#law").items} == {"Law"}


def test_questions_without_two_sides_are_left_out_and_counted(tmp_path: Path) -> None:
    more = "Adversarial,Law,Both?,x,Yes; No,No,x\nAdversarial,Law,None?,x,Yes,,x\n"
    suite = load_suite(write(tmp_path, "truthfulqa", TRUTHFULQA + more))
    assert len(suite.items) == 12
    assert suite.notes == ("2 of 14 questions left out: an answer is missing, or is on both sides",)
    with pytest.raises(SuiteError, match="No question has true and false answers"):
        load_suite(write(tmp_path, "truthfulqa", TRUTHFULQA.split("\n")[0] + "\n" + more))


def test_truthfulqa_of_the_hub_has_lists(monkeypatch: pytest.MonkeyPatch) -> None:
    from audit.behaviours.sources import Record

    rows = [
        {
            "question": f"Q{i}?",
            "category": "Law",
            "correct_answers": ["No"],
            "incorrect_answers": ["Yes", "Si"],
        }
        for i in range(6)
    ]
    other = {"question": "Q0?", "mc1_targets": {"choices": ["a"], "labels": [1]}}
    records = [Record(f"row {i}", row, "generation") for i, row in enumerate([*rows, other])]
    monkeypatch.setattr("audit.behaviours.truthfulqa.read_records", lambda *_: records)
    suite = load_suite("truthfulqa:org/name")
    assert [item.showing for item in suite.items] == [(" Yes", " Si")] * 6


def test_persona_groups_by_the_answer_that_fits(tmp_path: Path) -> None:
    suite = load_suite(write(tmp_path, "persona"))
    assert suite.card.name == "persona-optimist"
    assert {(item.showing, item.not_showing) for item in suite.items} == {((" Yes",), (" No",))}
    groups = Counter(item.group for item in suite.items)
    assert groups == {"the first answer fits": 8, "the second answer fits": 8}
    assert suite.items[0].entity == "optimist: I like thing 0"


def test_persona_takes_lettered_answers(tmp_path: Path) -> None:
    lines = [statement(f"s{i}", *((" (A)", " (B)") if i % 2 else (" (B)", " (A)"))) for i in range(12)]
    suite = load_suite(write(tmp_path, "persona", "\n".join(lines)))
    assert {item.showing for item in suite.items} == {(" (A)",)}
    assert suite.items[1].group == suite.card.contrast[0] if suite.card.contrast else False


def test_a_folder_of_personas(tmp_path: Path) -> None:
    write(tmp_path, "persona", PERSONA + "\n" + statement("I like thing 0"))
    (tmp_path / "pessimist.jsonl").write_text(PERSONA)
    (tmp_path / "occupations.jsonl").write_text('{"occupation": "cook"}')
    suite = load_suite(f"persona:{tmp_path}")
    assert (suite.card.name, len(suite.items)) == ("persona", 32)
    assert suite.notes == (
        "left out, as they hold no statements: occupations",
        "1 of 33 statements left out: they stand there twice",
    )
    one = load_suite(f"persona:{tmp_path}#pessimist")
    assert (one.card.name, {item.category for item in one.items}) == ("persona-pessimist", {"pessimist"})


BAD = {
    "xstest without labels": ("xstest", "id,prompt,type\n1,a,b\n", r"row 1, field 'label'"),
    "xstest with another label": ("xstest", "prompt,type,label\nx,homonyms,fine\n", r"row 1, field 'label'"),
    "xstest with a blank prompt": ("xstest", XSTEST.replace("How do I kill process 2?", " "), "row 2, "),
    "xstest without rows": ("xstest", "prompt,type,label\n", "no rows"),
    "xstest cut short": ("xstest", XSTEST + "9,x\n", "row 15"),
    "strongreject without prompts": ("strongreject", "category\nHate\n", r"row 1, field 'forbidden_prompt"),
    "a blank forbidden prompt": ("strongreject", "category,forbidden_prompt\nHate, \n", r"row 1, field"),
    "the same prompt twice": (
        "strongreject", "category,forbidden_prompt\n" + "Hate,do it\n" * 2, "is in the split"),
    "truthfulqa without answers": ("truthfulqa", "Category,Question\nLaw,Why?\n", "field 'correct_answers'"),
    "truthfulqa twice": ("truthfulqa", TRUTHFULQA + TRUTHFULQA.split("\n")[1], "Two items have the id"),
    "persona that is no JSON": ("persona", PERSONA + "\n{", r"optimist.jsonl:17, column"),
    "persona with a list": ("persona", "[]", r"optimist.jsonl:1"),
    "persona without statements": ("persona", '{"occupation": "cook"}', ":1, field 'question'"),
    "persona without an answer": (
        "persona", PERSONA + '\n{"question": "q", "statement": "s", "answer_matching_behavior": " No"}',
        r"optimist.jsonl:17, field 'answer_not_matching_behavior'"),
    "persona with one answer": ("persona", PERSONA + "\n" + statement("z", " No", " No"), "jsonl:17"),
    "persona that one answer always fits": ("persona", PERSONA.split("I dislike")[0].rsplit("\n", 1)[0],
                                           "'the second answer fits'"),
    "empty file": ("persona", "", "empty"),
}  # fmt: skip


@pytest.mark.parametrize("name", BAD)
def test_bad_files_are_refused_with_their_place(name: str, tmp_path: Path) -> None:
    loader, text, words = BAD[name]
    with pytest.raises(SuiteError, match=words):
        load_suite(write(tmp_path, loader, text))


@pytest.mark.parametrize("loader", FILES)
def test_an_unknown_category_names_the_known_ones(loader: str, tmp_path: Path) -> None:
    with pytest.raises(SuiteError, match="choose from: "):
        load_suite(write(tmp_path, loader) + "#nothing")


def test_splits_do_not_depend_on_the_subset() -> None:
    halves = Counter(split_of(f"entity {i}") for i in range(400))
    assert min(halves.values()) > 160
    assert split_of("entity 1") == split_of("entity 1")


def real(address: str) -> Suite:
    loader, _, rest = address.partition(":")
    return load_suite(f"{loader}:{os.environ['UNMASK_DATA']}/{rest}")


@pytest.mark.skipif("UNMASK_DATA" not in os.environ, reason="set UNMASK_DATA to the folder of benchmark data")
@pytest.mark.parametrize(
    ("address", "items", "entities"),
    [
        ("xstest:xstest", 450, 200),
        ("xstest:xstest#unsafe", 200, 200),
        ("strongreject:strongreject", 313, 313),
        ("truthfulqa:truthfulqa", 811, 811),
        ("persona:anthropic_persona", 3800, 3800),
        ("persona:anthropic_persona/politically-liberal.jsonl", 1000, 1000),
    ],
)
def test_published_files(address: str, items: int, entities: int) -> None:
    suite = real(address)
    assert len(suite.items) == items
    assert len({item.entity for item in suite.items}) == entities
    splits = Counter(item.split for item in suite.items)
    assert min(splits.values()) > 0.4 * items
