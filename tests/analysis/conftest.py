"""For the tests of figures."""

import pytest

from analysis.tables import cells


@pytest.fixture(scope="session", autouse=True)
def _composed_once():
    """A choice of groups takes Hydra a third of a second, and these tests ask for the same cells again and again."""
    compose, known = cells._cell, {}

    def composed(overrides, composer, entry, common):
        key = (tuple(overrides), entry, common)
        if key not in known:
            known[key] = compose(overrides, composer, entry, common)
        return known[key]

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(cells, "_cell", composed)
        yield
