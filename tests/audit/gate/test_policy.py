"""Policies: what is read, and everything that is refused with its line."""

from __future__ import annotations

import hashlib
import re
import time
from pathlib import Path

import pytest

from audit.errors import UsageError
from audit.gate.policy import read_policy

HEAD = 'format = 1\ntitle = "t"\n'
VERDICT = '[[rule]]\nkind = "verdict"\nallowed = ["ERASED"]\n'


def refused(tmp_path: Path, text: str | bytes) -> UsageError:
    path = tmp_path / "policy.toml"
    path.write_bytes(text if isinstance(text, bytes) else text.encode())
    with pytest.raises(UsageError) as caught:
        read_policy(path)
    assert len(str(caught.value)) < 1500
    return caught.value


def test_a_policy_is_read_with_its_hash_and_the_lines_of_its_rules(tmp_path: Path) -> None:
    age = '[[ rule ]]  # second\nname = "old"\nkind = "age"\nat_most_days = 3\n'
    text = f"{HEAD}\n# why\n[run]\nminiature = true\n\n{VERDICT}\n{age}"
    path = tmp_path / "policy.toml"
    path.write_text(text)
    found = read_policy(path)
    assert found.sha256 == hashlib.sha256(text.encode()).hexdigest()
    assert [found.name_of(rule) for rule in found.policy.rule] == ["verdict (rule 1)", "old"]
    lines = text.splitlines()
    assert [lines[found.line_of(rule) - 1] for rule in found.policy.rule] == [
        "[[rule]]",
        "[[ rule ]]  # second",
    ]
    assert (found.policy.inconclusive, found.policy.run.miniature, found.policy.run.verified) == (
        "fail",
        True,
        True,
    )


def test_rules_written_as_an_inline_array_are_read_and_stand_at_line_one(tmp_path: Path) -> None:
    path = tmp_path / "policy.toml"
    path.write_text(HEAD + 'rule = [{kind = "age", at_most_days = 1}, {kind = "sign_off"}]\n')
    found = read_policy(path)
    assert [found.line_of(rule) for rule in found.policy.rule] == [1, 1]
    path.write_text(HEAD + 'rule = [{kind = "age", at_most_days = -1}]\n')
    with pytest.raises(UsageError, match=r"rule\.1\.at_most_days"):
        read_policy(path)


@pytest.mark.parametrize(
    ("rule", "said", "line"),
    [
        ('kind = "verdict"\nallowed = ["GONE"]', "allowed.1", 5),
        ('kind = "verdict"\nallowed = []', "allowed", 5),
        ('kind = "verdict"\nallowed = ["ERASED"]\nallow = 1', "allow: Extra inputs", 6),
        ('kind = "nothing"', "kind", 3),
        ('at_most = 1', "Unable to extract tag", 3),
        ('kind = "bound"\nclaim = "a/b"', "needs one of", 3),
        ('kind = "bound"\nclaim = "a/b"\nbelow = nan', "below", 6),
        ('kind = "bound"\nclaim = "a/b"\nbelow = inf', "below", 6),
        ('kind = "bound"\nclaim = "a/b"\nbelow = "0.5"', "below", 6),
        ('kind = "bound"\nclaim = "a/b"\nbelow = true', "below", 6),
        ('kind = "bound"\nclaim = "a/b"\nbelow = 1\nat_most = 2', "two bounds on one side", 3),
        ('kind = "bound"\nclaim = "a/b"\nbelow = 1\nabove = 2', "can never pass", 3),
        ('kind = "bound"\nclaim = "a/b*"\nbelow = 1', "inside a segment", 5),
        ('kind = "bound"\nclaim = "a/.*/b"\nbelow = 1', "inside a segment", 5),
        ('kind = "bound"\nclaim = "/etc/passwd"\nbelow = 1', "empty segment", 5),
        ('kind = "bound"\nclaim = "a\\u001b[2J"\nbelow = 1', "does not print", 5),
        ('kind = "bound"\nclaim = "a"\nbelow = 1\nleast_n = 0', "least_n", 7),
        ('kind = "bound"\nclaim = "a"\nbelow = 1\nof = "median"', "of", 7),
        ('kind = "age"\nat_most_days = -1', "at_most_days", 5),
        ('kind = "age"\nat_most_days = 0', "at_most_days", 5),
        ('kind = "drift"\nat_most = -0.1', "at_most", 5),
        ('kind = "drift"\nat_most = 1\ndirections = []', "directions", 6),
        ('kind = "dose"\nmeasure = "reward"\nwithstands = 0', "withstands", 6),
        ('kind = "weights"', "needs either identity", 3),
        ('kind = "weights"\nidentity = "zz"', "identity", 5),
        ('kind = "weights"\nfile = "a"', "go together", 3),
        ('kind = "evidence"', "needs stages or claims", 3),
        ('kind = "findings"\nnone_open_from = "huge"', "none_open_from", 5),
        ('kind = "sign_off"\nat_least = 2\nreviewers = ["Ada"]', "more signatures than there are", 3),
        ('kind = "sentinel"\nsuite = "x"\ntolerance = 1.5', "tolerance", 6),
        ('kind = "word"\nclaim = "x"\nallowed = [1]', "allowed", 6),
    ],
)  # fmt: skip
def test_what_no_rule_can_be_is_refused_at_its_line(tmp_path: Path, rule: str, said: str, line: int) -> None:
    error = refused(tmp_path, f"{HEAD}[[rule]]\n{rule}\n")
    assert said in error.problem
    assert error.where == f"{tmp_path / 'policy.toml'}: line {line}"


def test_the_line_is_that_of_the_right_rule(tmp_path: Path) -> None:
    error = refused(tmp_path, HEAD + VERDICT + VERDICT.replace("ERASED", "GONE"))
    assert (error.where or "").endswith(": line 8")
    error = refused(tmp_path, HEAD + "[run]\nkinds = []\n" + VERDICT)
    assert (error.where or "").endswith(": line 4")


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("", "no rules"),
        (HEAD, "no rules"),
        (HEAD + "rule = []", "no rules"),
        (VERDICT, "format"),
        ("format = 2\ntitle = 't'\n" + VERDICT, "format"),
        ("format = 1\ntitle = ''\n" + VERDICT, "title"),
        (HEAD + "surprise = 1\n" + VERDICT, "surprise: Extra inputs"),
        (HEAD + "inconclusive = 'maybe'\n" + VERDICT, "inconclusive"),
        (HEAD + "[run]\nverified = 1\n" + VERDICT, "verified"),
        (HEAD + 2 * VERDICT.replace("kind", 'name = "a"\nkind', 1), "two rules have one name"),
        ("format = = 1", "no TOML.*line 1"),
        (HEAD + "rule = 5", "rule"),
        (HEAD + 201 * VERDICT, "at most 200"),
    ],
)
def test_policies_that_say_nothing_or_too_much_are_refused(tmp_path: Path, text: str, said: str) -> None:
    assert re.search(said, str(refused(tmp_path, text)))


@pytest.mark.parametrize(
    ("text", "said"),
    [
        (f'{HEAD}title = "{"x" * 10_000_000}"', "larger than 64 KiB"),
        (f'{HEAD}title = "{"x" * 60_000}"', "longer than 1,000 characters"),
        ("format = 1\ntitle = 'y\u2028'\n" + VERDICT, "does not print"),
        (f'format = 1\ntitle = "{"x" * 900}"\n{VERDICT}', "title"),
        (HEAD + "a = " + "[\n" * 30_000, "nested too deeply"),
        (HEAD + "a = " + "{a=" * 300, "nested too deeply|no TOML"),
        (HEAD + VERDICT + 60 * ("a." * 490 + "b = 1\n"), "no TOML|Extra inputs"),
        (f'{HEAD}[[rule]]\nkind = "bound"\nbelow = 1\nclaim = "{"a*" * 99}"', "inside a segment"),
        (f'{HEAD}[[rule]]\nkind = "bound"\nbelow = 1\nclaim = "{"*/" * 300}a"', "at most 200"),
    ],
    ids=["10 MB", "long line", "separator", "long title", "arrays", "tables", "keys", "stars", "segments"],
)
def test_hostile_files_end_in_a_short_message_at_once(tmp_path: Path, text: str, said: str) -> None:
    begun = time.monotonic()
    assert re.search(said, str(refused(tmp_path, text)))
    assert time.monotonic() - begun < 10


def test_no_text_no_file_and_no_permission_are_messages(tmp_path: Path) -> None:
    assert "no UTF-8" in refused(tmp_path, b"\xff\xfe").problem
    for path in (tmp_path, tmp_path / "none.toml"):
        with pytest.raises(UsageError, match="no such policy"):
            read_policy(path)
    for name in ("a\0b", "x" * 5000):
        with pytest.raises(UsageError, match=r"no such policy|cannot be read"):
            read_policy(tmp_path / name)
