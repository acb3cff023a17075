"""For the tests of the analysis."""

from __future__ import annotations

import functools
from collections.abc import Iterator

import pytest

import analysis.tables
from analysis.tables import cells
from tests.analysis import made


@pytest.fixture(autouse=True, scope="session")
def _composed_once() -> Iterator[None]:
    """Hydra takes its time to compose a cell: of the same overrides it does so once."""
    composed = functools.cache(lambda overrides, entry: cells.compose_cells(overrides, entry))

    def compose_cells(overrides: list[str], entry: str = "measure_activations") -> list[cells.Cell]:
        return list(composed(tuple(overrides), entry))

    with pytest.MonkeyPatch.context() as patch:
        for module in (analysis.tables, made):
            patch.setattr(module, "compose_cells", compose_cells)
        yield
