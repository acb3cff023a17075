"""The numbers of README's findings stand in the tables that it links."""

import re
from functools import cache
from pathlib import Path

import pandas as pd
import pytest

from analysis.commands import main

ROOT = Path(__file__).parents[1]

NUMBER = r"[−-]?\d+(?:\.\d+)?"
INTERVAL = re.compile(rf"({NUMBER}) \[({NUMBER}), ({NUMBER})\]")
SETTINGS = re.compile(
    r"\b(?:T = peak/2|T = 1|eq\. 2|VGG-16|ResNet-50|ResNet-18|EfficientNet-Lite0|Figure 3|relu4_1|Student's 95 %|log₂|\d+ (?:seeds|pairs|images|px|steps|networks|families))"
)


def section():
    """Return README's findings, and what stands below them about their runs and tables."""
    readme = (ROOT / "README.md").read_text(encoding="utf-8")
    [(sentences, below)] = re.findall(r"## What we found\n(.*?)\n(1 and 2:.*?)\n## ", readme, flags=re.S)
    return sentences, below


def findings():
    """Return README's findings, without the counts and names that hold digits."""
    return SETTINGS.sub("", re.sub(r"^\d\. ", "", section()[0], flags=re.M))


@cache
def tables():
    """Return the tables that the findings link, by name."""
    paths = re.findall(r"\((analysis/reference/\S+\.csv)\)", "".join(section()))
    return {path: pd.read_csv(ROOT / path) for path in paths}


def rounds_to(value, written):
    """Return whether a value, rounded as the written number is, is that number."""
    written = written.replace("−", "-")
    decimals = len(written.partition(".")[2])
    return f"{value:.{decimals}f}" == written


def test_findings_have_numbers_and_tables():
    assert len(INTERVAL.findall(findings())) >= 3
    assert len(tables()) >= 3


@pytest.mark.parametrize("interval", INTERVAL.findall(findings()))
def test_an_interval_is_a_row_of_a_table(interval):
    effects = [table for table in tables().values() if {"mean", "low", "high", "measure"} <= set(table)]
    rows = pd.concat(effects)
    rows = rows[rows["measure"].isin(["luminance_wasserstein", "growth"])]  # the primary ones
    found = rows[["mean", "low", "high"]].apply(lambda row: all(map(rounds_to, row, interval)), axis=1)
    mirrored = (-rows[["mean", "high", "low"]]).apply(lambda row: all(map(rounds_to, row, interval)), axis=1)
    assert (found | mirrored).any()


@pytest.mark.parametrize("number", re.findall(NUMBER + "(?: %)?", INTERVAL.sub("", findings())))
def test_a_number_stands_in_a_table(number):
    written, _, percent = number.partition(" ")
    columns = [
        table[name]
        for table in tables().values()
        for name in ("mean", "share", "correlation")
        if name in table
    ]
    values = pd.concat(columns) * (100 if percent else 1)
    assert any(rounds_to(value, written) for value in values)


# --- From the tables of the runs ------------------------------------------------------------------------

REFERENCE = ROOT / "analysis" / "reference"
RUNS = REFERENCE / "tables"
SIX = (
    "content=[astronaut,coffee,rocket,camera,hubble_deep_field,brick]",
    "style=[starry_night,great_wave,composition_vii,shipwreck,the_scream,woman_with_hat]",
)


@pytest.mark.slow
def test_the_ledger_is_what_its_runs_say(tmp_path):
    assert main(["claims", "--output", str(RUNS), "--results", str(tmp_path)]) == 0
    for name in ("claims.md", "claims.csv"):
        assert (tmp_path / "claims" / name).read_text() == (REFERENCE / name).read_text()


@pytest.mark.slow
@pytest.mark.parametrize(
    ("named", "overrides"),
    [
        ("mechanism_pretrained", ()),
        ("mechanism_pretrained_512", (*SIX, "images.size=512")),
    ],
)
def test_a_table_is_what_its_runs_say(named, overrides, tmp_path):
    """Its committed means, gains and effects are those that the figure writes."""
    arms = ",".join(
        pd.read_csv(REFERENCE / f"{named}_means.csv")["arm.name"].iloc[1:]
    )  # below the photograph
    asked = ["figure", "mechanism_pretrained", f"arm={arms}", *overrides]
    assert main([*asked, "--output", str(RUNS), "--results", str(tmp_path)]) == 0
    for kind in ("means", "gains", "effects"):
        made = tmp_path / "mechanism_pretrained" / f"mechanism_pretrained_{kind}.csv"
        assert made.read_text() == (REFERENCE / f"{named}_{kind}.csv").read_text()
