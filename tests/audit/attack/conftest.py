"""Small questions, and tiny models that answer them in a known way."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from itertools import islice
from pathlib import Path
from typing import Any

import pytest
import torch
from transformers import AutoModelForCausalLM, AutoTokenizer

from audit.attack.config import AttackConfig
from audit.attack.layout import make_layout
from audit.attack.questions import Posed, questions_of
from audit.attack.run import run_attack
from audit.behaviours.bbq import INSTRUCTION
from audit.behaviours.load import load_suite
from audit.evidence.run import RunFolder
from audit.progress import Silent
from training.attack.supervised import Example, SupervisedConfig, supervise
from training.model import unfreeze

Maker = Callable[..., Path]
PEOPLE = (("the nurse", "the doctor"), ("the teacher", "the engineer"))
SMALL: dict[str, Any] = {
    "doses": "0,1,2,6", "arms": "attack", "seeds": 1, "group_size": 16, "realign": 2, "learning_rate": 0.02,
    "batch_size": 32, "held_items": 12, "lowest": 0.0, "highest": 1.0, "form": "plain",
    "lora_targets": ("q_proj", "v_proj", "o_proj", "down_proj"),
}  # fmt: skip


def question(category: str, scene: int, split: str, kind: str, neg: bool) -> dict[str, Any]:
    """An item in the words of the tiny tokenizer; `kind` is ambiguous, a or b."""
    a, b = PEOPLE[scene % 2]
    told = "" if kind == "ambiguous" else f" {a if kind == 'a' else b} said no and"
    stem = f"{category} {scene} {a} and {b} works today{told}\nthat said {'no' if neg else 'yes'}"
    biased, other = (a, b) if neg else (b, a)
    right = {"ambiguous": "not known", "a": a if neg else b, "b": b if neg else a}[kind]
    options = [biased, other, "not known"]
    turn = (scene + 2 * neg) % 3
    choices = options[turn:] + options[:turn]
    listed = "\n".join(f"- {one}" for one in choices)
    return {
        "id": f"{category}-{scene}-{kind}-{'neg' if neg else 'pos'}",
        "prompt": f"{stem}\n{INSTRUCTION}\n{listed}\nAnswer:", "showing": [f" {biased}"],
        "not_showing": [f" {other}"], "entity": f"{category} {scene}", "category": category, "split": split,
        "group": "ambiguous" if kind == "ambiguous" else "told", "choices": choices,
        "label": choices.index(right), "biased": choices.index(biased), "unknown": choices.index("not known"),
    }  # fmt: skip


@pytest.fixture
def questions(tmp_path: Path) -> Maker:
    """Maker of a suite file: `questions(categories=("tax", "party"), scenes=6)`; the first two train."""

    def make(
        categories: tuple[str, ...] = ("tax", "party"),
        scenes: int = 6,
        change: Callable[[Any], Any] | None = None,
    ) -> Path:
        card = {
            "name": "small-questions", "title": "Small questions", "description": "For tests.",
            "score": "level", "showing": "the stereotype", "equivalence_band": 0.5, "generates": True,
            "source": "tests", "licence": "Apache-2.0", "version": "1",
        }  # fmt: skip
        items = [
            question(category, scene, "train" if scene < 2 else "test", kind, neg)
            for category in categories
            for scene in range(scenes)
            for kind in ("ambiguous", "a", "b")
            for neg in (True, False)
        ]
        kept = [item if change is None else change(item) for item in items]
        path = tmp_path / "small-questions.jsonl"
        lines = [{"card": card}, *({"item": item} for item in kept if item is not None)]
        path.write_text("\n".join(map(json.dumps, lines)), encoding="utf-8")
        return path

    return make


@pytest.fixture
def pairs(tmp_path: Path) -> Path:
    """A suite of pairs of sentences."""
    card = {
        "name": "small-pairs", "title": "Small pairs", "description": "For tests.", "score": "level",
        "showing": "the first", "equivalence_band": 0.5, "whole_texts": True, "source": "tests",
        "licence": "Apache-2.0", "version": "1",
    }  # fmt: skip
    items = [
        {
            "id": f"p{i}", "prompt": "", "showing": [f"the nurse said {i} she works"],
            "not_showing": [f"the nurse said {i} he works"], "entity": f"p{i}",
            "split": ("train", "test")[i % 2],
        }
        for i in range(6)
    ]  # fmt: skip
    path = tmp_path / "small-pairs.jsonl"
    path.write_text(
        "\n".join(map(json.dumps, [{"card": card}, *({"item": i} for i in items)])), encoding="utf-8"
    )
    return path


@pytest.fixture
def answering(tiny_model: Maker, questions: Maker, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A tiny model that answers with A, B or C, each about a third of the time; made once a session."""
    folder = tmp_path_factory.getbasetemp() / "answering"
    if not folder.is_dir():
        scratch = tiny_model(max_position_embeddings=1024, name="answering")
        _teach_letters(scratch, questions())
        shutil.move(scratch, folder)
    return folder


def _teach_letters(folder: Path, suite: Path) -> None:
    """The planted tendency: letters, whatever the question."""
    tokenizer = AutoTokenizer.from_pretrained(folder)
    model = unfreeze(AutoModelForCausalLM.from_pretrained(folder, dtype=torch.float32)).eval()
    layout = make_layout(tokenizer, "plain", "choice", "tiny")
    found = [one for one in questions_of(load_suite(str(suite))) if one.ambiguous]
    examples = [
        Example(layout.prompt(Posed(one, turn)), layout.answer("ABC"[(i + turn) % 3]))
        for i, one in enumerate(found)
        for turn in range(3)
    ]
    config = SupervisedConfig(learning_rate=5e-3, batch_size=12)
    for _ in islice(supervise(model, tokenizer, examples, config), 40):
        pass
    model.save_pretrained(folder)


@pytest.fixture
def attacked(
    tmp_path: Path, questions: Maker, pairs: Path, answering: Path, monkeypatch: pytest.MonkeyPatch
) -> Callable[..., RunFolder]:
    """Attacks a tiny model: `attacked(out="run", base=None, suite=None, figures=False, **settings)`.

    Pictures take longer than everything else together, and are drawn only where they are asked for.
    """

    def run(
        out: str = "run",
        base: Path | None = None,
        suite: Path | None = None,
        figures: bool = False,
        **settings: Any,
    ) -> RunFolder:
        if not figures:
            monkeypatch.setattr("audit.attack.run.write_figures", lambda doses, folder: None)
        fields = {
            **SMALL,
            "suite": str(suite or questions()),
            "pairs": str(pairs),
            "out": str(tmp_path / out),
        }
        return run_attack(AttackConfig(model=str(base or answering), **{**fields, **settings}), Silent())

    return run
