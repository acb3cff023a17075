"""Collected tables, as tests compare them."""

from __future__ import annotations

from pathlib import Path


def measured(path: Path) -> bytes:
    """Return all of a `table.csv`."""
    return path.read_bytes()
