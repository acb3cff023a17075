"""What an installation refuses, and the stages of CI."""

import shutil
import subprocess
from pathlib import Path

import pytest
import yaml

ROOT = Path(__file__).parents[1]


@pytest.mark.parametrize("version", [(2, 7), (3, 10), (3, 15)])
def test_make_refuses_a_python_without_wheels_before_it_makes_anything(tmp_path, version):
    for name in ("Makefile", "pyproject.toml", "requirements.lock"):
        shutil.copyfile(ROOT / name, tmp_path / name)
    python = tmp_path / "python"
    python.write_text(f'#!/bin/sh\nexec python3 -c "import sys; sys.version_info = {version}; $2"\n')
    python.chmod(0o755)
    done = subprocess.run(
        ["make", ".venv/ready", f"PYTHON={python}"], cwd=tmp_path, capture_output=True, text=True, check=False
    )
    assert done.returncode == 2
    error = done.stderr.splitlines()[0]
    assert error.startswith("error: `PYTHON` should be Python 3.11 to 3.14")
    assert f"found {version[0]}.{version[1]}. Name another" in error
    assert not (tmp_path / ".venv").exists()


def test_the_workflow_has_all_stages_and_no_other():
    done = subprocess.run([ROOT / ".ci/run", "all"], capture_output=True, text=True, check=False)
    assert done.returncode == 2
    named = done.stderr.partition("It has ")[2].rstrip(".\n").replace(" and ", ", ")
    workflow = yaml.safe_load((ROOT / ".github/workflows/ci.yml").read_text())
    matrix = workflow["jobs"]["stage"]["strategy"]["matrix"]
    assert sorted(named.split(", ")) == sorted(matrix["stage"])
    assert {one["stage"] for one in matrix["include"]} <= {*matrix["stage"]}
