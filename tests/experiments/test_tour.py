"""`docs/tour.ipynb`: as it is committed, and executed in an empty folder."""

import os
import sys
from pathlib import Path

import nbformat
import pytest

ROOT = Path(__file__).parents[2]
TOUR = ROOT / "docs" / "tour.ipynb"


def read():
    """Return the notebook and its cells of code."""
    notebook = nbformat.read(TOUR, as_version=4)
    nbformat.validate(notebook)
    return notebook, [cell for cell in notebook.cells if cell.cell_type == "code"]


def kinds(cell):
    """Return what kinds of outputs a cell has, in order: `text/html`, `image/png`, `stdout`, ..."""
    return [sorted(output.data) if "data" in output else output.get("name") for output in cell.outputs]


def test_it_is_committed_as_it_ran():
    _, cells = read()
    assert len(cells) == 10
    assert [cell.execution_count for cell in cells] == list(range(1, 11))
    text = TOUR.read_text(encoding="utf-8")
    assert len(text) < 420_000
    assert all(mark not in text for mark in ("/home/", "/tmp/", "/root/", "/Users/", str(ROOT)))
    shown = [kind for cell in cells for kind in kinds(cell)]
    assert sum("image/png" in kind for kind in shown) == 4
    assert "stderr" not in shown


@pytest.mark.slow
@pytest.mark.timeout(1200)
@pytest.mark.filterwarnings("ignore")  # of Jupyter's own
def test_all_cells_run(tmp_path, monkeypatch):
    from nbclient import NotebookClient

    monkeypatch.setenv("PATH", os.pathsep.join([str(Path(sys.executable).parent), os.environ["PATH"]]))
    monkeypatch.delenv("MPLBACKEND", raising=False)  # other tests draw without a screen
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join([str(ROOT), str(ROOT / "experiments" / "plugins")]))
    notebook, cells = read()
    before = [kinds(cell) for cell in cells]
    NotebookClient(notebook, timeout=1200, resources={"metadata": {"path": tmp_path}}).execute()
    assert [kinds(cell) for cell in cells] == before
    assert len(list((tmp_path / "outputs" / "runs").iterdir())) == 6  # three cells, and their judgements
