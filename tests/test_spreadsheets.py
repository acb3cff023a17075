"""CSV files for spreadsheets: text stays text, numbers stay numbers."""

import io

import pandas as pd
import pyarrow as pa
import pytest

from swag_repro.runs.schema import neutral, neutral_table, to_csv

FORMULAS = ["=1+1", "=cmd|' /C calc'!A0", "+SUM(A1)", "-1-2", "-", "@SUM(A1)", "=", "+1 and more"]
PLAIN = ["text", "-1.5", "+3e-4", "-inf", "nan", "", "a=b", "layer1.0", "λ=½", "'quoted", "1-2", "two\nlines"]


@pytest.mark.parametrize("text", FORMULAS)
def test_a_formula_becomes_text(text):
    assert neutral(text) == f"'{text}"


@pytest.mark.parametrize("text", PLAIN)
def test_what_is_no_formula_stays(text):
    assert neutral(text) == text


@pytest.mark.parametrize(("text", "shown"), [("\t=1", "�=1"), ("a\x1b[31m", "a�[31m"), ("\r=1", "\n=1")])
def test_control_characters_are_shown_as_such(text, shown):
    assert neutral(text) == shown


def test_tables_keep_their_numbers():
    table = pd.DataFrame({"=name": [*FORMULAS, "plain"], "value": [-0.125, *range(8)], "empty": [None] * 9})
    read = pd.read_csv(io.StringIO(to_csv(table)))
    assert list(read) == ["'=name", "value", "empty"]
    assert read["'=name"].tolist() == [f"'{text}" for text in FORMULAS] + ["plain"]
    assert read["value"].tolist() == table["value"].tolist()
    untouched = pd.DataFrame({"name": ["a", None], "value": [-1, 2], "flag": [True, False]})
    assert to_csv(untouched) == untouched.to_csv(index=False, lineterminator="\n")


def test_tables_of_arrow():
    table = pa.table(
        {"name": ["=1", None, "-2"], "kind": pa.array(["a", "@b", "a"]).dictionary_encode(), "n": [-1, 2, 3]}
    )
    found = neutral_table(table)
    assert found["name"].to_pylist() == ["'=1", None, "-2"]
    assert found["kind"].to_pylist() == ["a", "'@b", "a"]
    assert found["n"].to_pylist() == [-1, 2, 3]
