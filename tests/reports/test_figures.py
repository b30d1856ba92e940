"""Figures: what they draw, that names in them are only names, and that they are the same each time."""

from __future__ import annotations

import pandas as pd
import pytest

from reports.figures import bars, doses, features, items, weights
from reports.figures.style import look, short, svg_of
from reports.fonts.subset import CJK_CODECS, _as_ranges, _everyday_cjk


def asked() -> pd.DataFrame:
    rows = [
        {"suite": "s", "item": f"i{n}", "entity": f"e{n % 3}", "split": split, "template": "plain",
         "model": side, "m": float(n - 4) * (1 if side == "base" else -1)}
        for n in range(9) for side in ("base", "tuned") for split in ("test", "train")
    ]  # fmt: skip
    return pd.DataFrame(rows)


def test_items_are_paired_on_held_out_entities_alone() -> None:
    found = items.pairs(asked(), "s", "plain")
    assert len(found) == 9
    assert (found["base"] == -found["tuned"]).all()
    assert len(items.pairs(asked(), "s", "chat")) == 0


def test_an_item_that_only_one_model_was_asked_is_left_out() -> None:
    frame = asked()
    one = frame[~((frame["model"] == "tuned") & (frame["item"] == "i0"))]
    assert len(items.pairs(one, "s", "plain")) == 8


@pytest.mark.parametrize("panels", [1, 3])
def test_names_full_of_markup_are_drawn_as_text_and_alike_each_time(panels: int) -> None:
    found = items.pairs(asked(), "s", "plain")
    shown = [(f"$\\frac{{1}}{{2}}$ <b>{n}</b> \x00漢字", found) for n in range(panels)]
    with look():
        first, second = (svg_of(items.draw(shown)) for _ in range(2))
    assert first == second
    assert "<text" not in first
    assert "frac" not in first
    assert "<!--" not in first


def test_many_items_are_thinned(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(items, "MOST_ITEMS", 4)
    with look():
        assert svg_of(items.draw([("s", items.pairs(asked(), "s", "plain"))])).startswith("<?xml")


def test_the_weights_of_a_block_are_summed_in_squares() -> None:
    frame = pd.DataFrame({
        "kind": ["mlp", "mlp", "norm", "head"], "layer": [0, 0, 1, None], "base_norm": [3.0, 4.0, 0.0, 1.0],
        "change_norm": [0.3, 0.4, 0.0, 1.0],
    })  # fmt: skip
    found = weights.by_layer(frame)
    assert found["relative"].tolist() == pytest.approx([0.1])


def test_interventions_are_ordered_by_what_they_recover() -> None:
    rows = [("a", 0.2, False), ("b", 0.9, False), ("b", 0.1, True), ("c", None, False)]
    frame = pd.DataFrame([
        {"behaviour": "s", "split": "test", "intervention": name, "set": "x", "size": 1, "dose": 1.0,
         "recovered": value, "low": None, "high": None, "is_null": null}
        for name, value, null in rows
    ])  # fmt: skip
    shown = doses.panels(frame, "s")
    assert [name for name, _ in shown] == ["b", "a"]
    with look():
        assert svg_of(doses.draw([*shown, ("d", shown[0][1]), ("e", shown[0][1])]))


def test_a_dictionary_that_never_fires_is_drawn() -> None:
    frame = pd.DataFrame(
        {"hook": "h", "latent": [0], "rate_base": [0.0], "rate_tuned": [0.0], "kind": ["dead"]}
    )
    with look():
        assert svg_of(features.draw(frame, "h"))


def test_bars_without_an_end_are_drawn_to_their_value() -> None:
    with look():
        assert svg_of(bars.draw([bars.Bar("x", 1.0, None, 2.0), bars.Bar("y", 0.0, None, None, True)], "R"))


def test_long_names_lose_their_middle() -> None:
    assert short("x" * 50 + "end", 11) == "xxxxx…xxend"
    assert short("name") == "name"


def test_the_everyday_characters_of_four_standards_are_wanted() -> None:
    wanted = _everyday_cjk()
    assert set(CJK_CODECS) == {"gb2312", "big5", "euc_jp", "euc_kr"}
    assert {ord(c) for c in "的漢語気한글"} <= wanted
    assert 8_000 < len(wanted) < 16_000
    assert _as_ranges([1, 2, 3, 9]) == "0001-0003\n0009-0009\n"
