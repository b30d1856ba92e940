"""Tables that leave the dashboard, and events that come back."""

from __future__ import annotations

import csv
import io

import pandas as pd
import pytest

from dashboards.widgets import (
    cell,
    csv_bytes,
    estimate,
    file_name,
    number,
    parquet_bytes,
    screen,
    selected_points,
    selected_rows,
)

FORMULAS = ["=1+1", "+1", "-1", "@SUM(A1)", "\tx", "\r=x"]


@pytest.mark.parametrize("text", FORMULAS)
def test_no_text_cell_of_a_csv_is_a_formula(text: str) -> None:
    rows = list(csv.reader(io.StringIO(csv_bytes(pd.DataFrame({"t": [text]})).decode(), newline="")))
    assert rows == [["t"], [f"'{text}"]]


def test_a_carriage_return_begins_no_row() -> None:
    rows = list(csv.reader(io.StringIO(csv_bytes(pd.DataFrame({"t": ["a\r=x"]})).decode(), newline="")))
    assert rows == [["t"], ["a\r=x"]]


def test_numbers_stay_numbers_and_headers_are_safe_too() -> None:
    found = csv_bytes(pd.DataFrame({"=x": [-1.5], "n": [None]})).decode()
    assert found == '"\'=x","n"\n-1.5,""\n'


def test_lists_are_written_as_json() -> None:
    text = csv_bytes(pd.DataFrame({"tokens": [[" a", "=b"]]})).decode()
    assert '"["" a"", ""=b""]"' in text


def test_parquet_keeps_values() -> None:
    frame = pd.DataFrame({"t": ["=1+1"], "n": [2.5]})
    pd.testing.assert_frame_equal(pd.read_parquet(io.BytesIO(parquet_bytes(frame))), frame, check_dtype=False)


def test_the_screen_cuts_and_spells_out() -> None:
    shown = screen(pd.DataFrame({"t": ["a\u202eb", None], "l": [["x", "y"], []], "n": [1.0, 2.0]}))
    assert shown["t"].tolist()[0] == "a<U+202E>b"
    assert pd.isna(shown["t"].iloc[1])
    assert shown["l"].tolist() == ["x y", ""]
    assert len(str(cell("x" * 5000))) < 400


def test_selections_are_read_as_mappings() -> None:
    assert selected_rows({"selection": {"rows": [3], "columns": []}}) == [3]
    assert selected_points({"selection": {"point_indices": [1, 2]}}) == [1, 2]
    assert selected_rows(None) == []
    assert selected_points({"selection": {}}) == []


def test_file_names_are_harmless() -> None:
    assert file_name("../../etc/passwd<b>") == "-..-etc-passwd-b-"


def test_nothing_measured_prints_as_that() -> None:
    assert estimate(None) == "not measured"
    assert number(None) == "not measured"
    assert number(float("nan")) == "not measured"
    assert number(0.123456) == "0.123"
