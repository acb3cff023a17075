"""Whether Optuna is there, which only a search needs."""

from __future__ import annotations

from importlib.util import find_spec

from swag_repro.errors import SettingError

NEEDED = ("optuna", "sqlalchemy", "alembic", "colorlog")
"""Optuna, and what it can't be imported without."""


def check_installed() -> None:
    """Whether a search can be begun here.

    Raises:
        SettingError: a package is missing.
    """
    if missing := [package for package in NEEDED if find_spec(package) is None]:
        remedy = "Install it: pip install 'swag-repro[search]'"
        raise SettingError("search", "needs Optuna", f"no package {', '.join(missing)}", remedy)
