"""For the tests of figures."""

import functools

import pytest

from analysis.tables import cells


@pytest.fixture(scope="session", autouse=True)
def _composed_once():
    """Hydra takes a third of a second for a cell, and these tests ask for the same ones again and again."""
    compose = cells._cell
    known = functools.cache(lambda overrides, entry, common: compose(list(overrides), entry, common))
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(cells, "_cell", lambda overrides, entry, common: known(tuple(overrides), entry, common))
        yield
