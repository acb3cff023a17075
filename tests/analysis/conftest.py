"""Fixtures for the tests of figures."""

import pytest

from analysis.claims import definitions
from experiments import asking
from tests.composing import Known


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


@pytest.fixture(scope="session", autouse=True)
def _read_once():
    """To check the types of all claims takes OmegaConf two seconds."""
    load, known = definitions._load_as, Known()
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(
            definitions,
            "_load_as",
            lambda path, kind: known(
                lambda: load(path, kind), path, path.is_file() and path.stat().st_mtime_ns, kind
            ),
        )
        yield
