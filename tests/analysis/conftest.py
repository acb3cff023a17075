"""Fixtures for the tests of figures."""

import pytest

from experiments import asking


@pytest.fixture(scope="session", autouse=True)
def _composed_once():
    """A choice of groups takes Hydra a third of a second, and so does the grid of a sweep.

    These tests ask for the same ones again and again.
    """
    compose, known = asking._cell, {}
    span, grids = asking._grid, {}

    def composed(overrides, composer, entry, common):
        key = (tuple(overrides), entry, common)
        if key not in known:
            known[key] = compose(overrides, composer, entry, common)
        return known[key]

    def spanned(overrides, entry):
        key = (tuple(overrides), entry, asking.UsersSettings.folder)
        if key not in grids:
            grids[key] = span(overrides, entry)
        return grids[key]

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(asking, "_cell", composed)
        patch.setattr(asking, "_grid", spanned)
        yield
