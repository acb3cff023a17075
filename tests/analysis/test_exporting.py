"""The bundle of results for reviewers."""

from __future__ import annotations

import hashlib
import json
import platform
from zipfile import ZipFile

import pytest

from analysis.commands import main
from analysis.exporting import CRATE
from tests.analysis.made import Outputs

SWEPT = ("experiment=fig3", "network=vgg19", "smoothing=none", "weights.seed=0")


@pytest.fixture
def place(tmp_path):
    """A folder with runs and their tables, one of which was changed, and a file that nothing is known of."""
    Outputs.of(tmp_path / "outputs", SWEPT, "measure_activations")
    given = ["--output", str(tmp_path / "outputs"), "--results", str(tmp_path / "results")]
    for command in (
        ["collect"],
        ["plot", *SWEPT, "x=layer", "y=maximum", "--format", "svg"],
        ["report", *SWEPT],
    ):
        assert main([*command, *given]) == 0
    (tmp_path / "results/note <b>.txt").write_text("mine")
    with (tmp_path / "results/columns.csv").open("a") as file:
        file.write("changed\n")
    return tmp_path


def export(place):
    return main(["export", "--results", str(place / "results"), "--to", str(place / "results/bundle.zip")])


def test_a_bundle_holds_results_claims_commands_environment_and_checksums(place, capsys):
    assert export(place) == 0
    assert export(place) == 0  # it does not hold itself
    told = capsys.readouterr().out
    assert "1 without a known origin: results/note <b>.txt" in told
    assert "1 changed since they were made: results/columns.csv" in told
    assert "no ledger of claims among them" in told
    with ZipFile(place / "results/bundle.zip") as archive:
        content = {name: archive.read(name) for name in archive.namelist()}
    assert {"results/table.parquet", "claims/C09_swag_cures.yaml", "environment.txt"} <= set(content)
    sums = dict(reversed(line.split("  ", 1)) for line in content["SHA256SUMS"].decode().splitlines())
    assert set(sums) == set(content) - {"SHA256SUMS"}
    assert all(hashlib.sha256(content[name]).hexdigest() == found for name, found in sums.items())
    assert "swag collect" in content["commands.sh"].decode()
    assert f"Python {platform.python_version()}" in content["environment.txt"].decode()
    [run] = (place / "outputs/runs").iterdir()
    assert run.name in content["runs.csv"].decode()


def test_its_metadata_is_a_whole_ro_crate(place):
    """RO-Crate 1.1: a descriptor, a root with what it must have, and an entity for each id."""
    assert export(place) == 0
    with ZipFile(place / "results/bundle.zip") as archive:
        crate, names = json.loads(archive.read(CRATE)), archive.namelist()
    assert crate["@context"] == "https://w3id.org/ro/crate/1.1/context"
    entities = {one["@id"]: one for one in crate["@graph"]}
    assert len(entities) == len(crate["@graph"])
    assert entities[CRATE]["about"] == {"@id": "./"}
    assert entities[CRATE]["conformsTo"] == {"@id": "https://w3id.org/ro/crate/1.1"}
    root = entities["./"]
    assert all(root[name] for name in ("name", "description", "datePublished", "license", "hasPart"))
    assert {part["@id"] for part in root["hasPart"]} == set(names) - {CRATE, "SHA256SUMS"}
    linked = [value for one in crate["@graph"] for value in one.values() if isinstance(value, dict | list)]
    ids = {one["@id"] for value in linked for one in (value if isinstance(value, list) else [value])}
    assert ids - set(entities) == {"https://w3id.org/ro/crate/1.1"}
    assert entities["results/note <b>.txt"]["description"] == "without a known origin"
    action = entities["#action-1"]
    assert action["name"].startswith("swag collect")
    assert {"@id": "results/table.parquet"} in action["result"]


def test_no_results_make_no_bundle(tmp_path, capsys):
    assert main(["export", "--results", str(tmp_path / "none"), "--to", str(tmp_path / "bundle.zip")]) == 1
    assert "should be a folder with results; found none in" in capsys.readouterr().err
    assert not list(tmp_path.iterdir())
