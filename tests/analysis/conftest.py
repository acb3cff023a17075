"""For the tests of figures."""

import pytest

from analysis.tables import cells


@pytest.fixture(scope="session", autouse=True)
def _composed_once():
    """A choice of groups takes Hydra a third of a second, and so does the grid of a sweep.

    These tests ask for the same ones again and again.
    """
    compose, known = cells._cell, {}
    span, grids = cells._grid, {}

    def composed(overrides, composer, entry, common):
        key = (tuple(overrides), entry, common)
        if key not in known:
            known[key] = compose(overrides, composer, entry, common)
        return known[key]

    def spanned(overrides, entry):
        key = (tuple(overrides), entry, cells.UsersSettings.folder)
        if key not in grids:
            grids[key] = span(overrides, entry)
        return grids[key]

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(cells, "_cell", composed)
        patch.setattr(cells, "_grid", spanned)
        yield
