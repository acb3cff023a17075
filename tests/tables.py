"""Collected tables, as tests compare them."""

from __future__ import annotations

from pathlib import Path

import pandas as pd

from analysis.tables.provenance import COLUMN


def measured(path: Path) -> bytes:
    """All of a `table.csv` but the command that made it, which names its folders."""
    return pd.read_csv(path, dtype=str).drop(columns=COLUMN).to_csv(index=False).encode()
