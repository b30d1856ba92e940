"""The dashboard as files: whole or not at all, safe to open, links that lead somewhere."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from html.parser import HTMLParser
from pathlib import Path

import pandas as pd
import pyarrow.parquet as pq
import pytest

from audit.errors import OutputError
from audit.evidence.schema import TABLES
from dashboards.export import bundle as bundles
from dashboards.export import plan
from dashboards.export.markdown import Span, spans
from dashboards.launch import export
from dashboards.text import plain

RUNS = Path(__file__).parents[1] / "data" / "runs"
HOSTILE = '</script><script>alert(1)</script>"><img src=x onerror=alert(1)>'
Copy = Callable[[str], Path]


class Reader(HTMLParser):
    """Tags, attributes, links and visible text of a page."""

    def __init__(self) -> None:
        super().__init__()
        self.tags: list[str] = []
        self.attributes: set[str] = set()
        self.links: list[str] = []
        self.sources: list[str] = []
        self.text = ""

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)
        self.attributes |= {name for name, _ in attrs}
        found = dict(attrs)
        self.links += [found["href"] or ""] if tag == "a" else []
        self.sources += [found["src"] or ""] if "src" in found else []

    def handle_data(self, data: str) -> None:
        self.text += "" if self.tags and self.tags[-1] == "script" else data


def read(path: Path) -> Reader:
    reader = Reader()
    reader.feed(path.read_text(encoding="utf-8"))
    return reader


@pytest.fixture
def few_cards(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(plan, "MOST_CARDS", 2)


@pytest.fixture(scope="module")
def bundle(tmp_path_factory: pytest.TempPathFactory) -> Path:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(plan, "MOST_CARDS", 2)
        return export([RUNS / "compare", RUNS / "train"], tmp_path_factory.mktemp("export") / "bundle")


def test_a_bundle_is_whole(bundle: Path) -> None:
    """Every link leads to a file of the bundle, nothing is fetched from outside, every run is there."""
    pages = list(bundle.rglob("*.html"))
    names = {page.relative_to(bundle).as_posix() for page in pages}
    assert {"index.html", "run-1/overview.html", "run-1/diff_map-2.html", "run-2/training.html"} <= names
    assert len([name for name in names if name.startswith("run-1/latent-")]) == 4
    for page in pages:
        found = read(page)
        for target in [*found.links, *found.sources]:
            assert not re.match(r"[a-z]+:|//", target), (page, target)
            assert target.startswith("#") or (page.parent / target).is_file(), (page, target)
        assert "Content-Security-Policy" in page.read_text(encoding="utf-8")


def test_pages_say_what_the_dashboard_says(bundle: Path) -> None:
    overview = read(bundle / "run-1" / "overview.html")
    assert "INCONCLUSIVE" in overview.text
    assert "MINIATURE" in overview.text
    assert "-1.50 [-1.60, -1.40]" in overview.text
    assert "\\" not in overview.text.split("Evidence ladder")[0]
    assert "INCONCLUSIVE" in read(bundle / "index.html").text


def test_tables_lie_beside_their_pages(bundle: Path) -> None:
    found = pd.read_csv(bundle / "run-1" / "data" / "overview-2.csv")
    pd.testing.assert_frame_equal(
        found, pd.read_parquet(bundle / "run-1" / "data" / "overview-2.parquet"), check_dtype=False
    )
    assert "hook" in found


def test_figures_carry_their_words_and_their_data(bundle: Path) -> None:
    text = (bundle / "run-1" / "overview.html").read_text(encoding="utf-8")
    specs = re.findall(r'<script type="application/json">(.*?)</script>', text, re.DOTALL)
    assert len(specs) == 2
    assert all(json.loads(spec)["data"] for spec in specs)
    assert text.count('role="img" aria-label="') == 2
    cards = re.search(r'data-cards="(.*?)"', (bundle / "run-1" / "diff_map.html").read_text(encoding="utf-8"))
    assert cards is not None
    assert "latent-1-" in cards[1]


def test_an_older_bundle_is_replaced_and_a_foreign_folder_is_not(
    tmp_path: Path, few_cards: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = tmp_path / "out"
    export([RUNS / "train"], folder)
    (folder / "stale.html").touch()
    export([RUNS / "train"], folder)
    assert not (folder / "stale.html").exists()
    foreign = tmp_path / "foreign"
    foreign.mkdir()
    (foreign / "mine.txt").write_text("mine")
    with pytest.raises(OutputError, match="not a bundle"):
        export([RUNS / "train"], foreign)
    assert (foreign / "mine.txt").read_text() == "mine"
    with pytest.raises(OutputError, match="a file"):
        export([RUNS / "train"], foreign / "mine.txt")


def test_nothing_is_written_into_a_run(miniature: Copy) -> None:
    run = miniature("train")
    with pytest.raises(OutputError, match="inside a run"):
        export([run], run / "bundle")
    assert not (run / "bundle").exists()


def test_a_failure_leaves_what_was_there(
    tmp_path: Path, few_cards: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = tmp_path / "out"
    export([RUNS / "train"], folder)
    before = sorted(path.relative_to(tmp_path) for path in tmp_path.rglob("*"))

    def broken(*_: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(bundles, "_front", broken)
    with pytest.raises(OutputError, match="cannot be written"):
        export([RUNS / "train"], folder)
    assert sorted(path.relative_to(tmp_path) for path in tmp_path.rglob("*")) == before


def test_hostile_text_stays_text(miniature: Copy, tmp_path: Path, few_cards: None) -> None:
    run = miniature("compare")
    verdict = json.loads((run / "stages/verdict/result.json").read_text())
    verdict["behaviours"][0] |= {"reasons": [HOSTILE]}
    (run / "stages/verdict/result.json").write_text(json.dumps(verdict))
    path = run / "stages/features/examples.parquet"
    frame = pd.read_parquet(path)
    frame["source"], frame["tokens"] = HOSTILE, [[HOSTILE] * 5 for _ in frame.index]
    pq.write_table(TABLES["examples"].to_arrow(frame), path)
    folder = export([run], tmp_path / "out")
    reasons = read(folder / "run-1" / "overview.html")
    assert HOSTILE in reasons.text
    for page in folder.rglob("*.html"):
        found = read(page)
        assert "img" not in found.tags, page
        assert not {name for name in found.attributes if name.startswith("on")}, page
        charts = found.tags.count("figure") - page.read_text(encoding="utf-8").count('class="table"')
        assert found.tags.count("script") == (0 if page.name == "index.html" else 2 + charts), page


def test_cards_are_the_strongest_described(few_cards: None) -> None:
    cards = plan.cards_of(RUNS / "compare", 1)
    features = pd.read_parquet(RUNS / "compare/stages/features/features.parquet")
    examples = pd.read_parquet(RUNS / "compare/stages/features/examples.parquet")
    described = features.merge(examples[["hook", "latent"]].drop_duplicates())
    expected = described.sort_values("score", ascending=False).groupby("hook").head(2)
    found = {(dict(card.address)["hook"], int(dict(card.address)["latent"])) for card in cards}
    assert found == set(zip(expected["hook"], expected["latent"], strict=True))
    assert plan.cards_of(RUNS / "train", 1) == []
    assert plan.cards_of(RUNS, 1) == []


def test_spans_undo_what_plain_did() -> None:
    text = "[x](y) **b** `c` <d> $e$ :red-badge[f] :material/home: a_b"
    assert spans(plain(text)) == [Span(text, "plain")]
    assert spans("**a** :red-badge[MASKED] b") == [
        Span("a", "bold"), Span(" ", "plain"), Span("MASKED", "badge", "red"), Span(" b", "plain"),
    ]  # fmt: skip
