"""The figures: one module each, with three verbs (load, make, save)."""

from __future__ import annotations

from collections.abc import Sequence
from importlib import import_module
from pathlib import Path

FIGURES = {"fig3": "fig3", "fig3_pretrained": "fig3"}
"""The module that draws each figure. A figure has the name of the experiment it is drawn from."""


def draw(name: str, overrides: Sequence[str], runs: Path, out: Path, *, partial: bool = False) -> list[Path]:
    """Draws one figure, and returns the files it wrote.

    Args:
        name: One of `FIGURES`.
        overrides: Hydra's, the same as given to the experiment.
        runs: The output folder of the experiments.
        out: The folder of results; the files come into a folder of the figure's name in it.
        partial: Whether to draw, with a mark, a figure some of whose cells are missing.

    Raises:
        CellsError: Runs are missing, ambiguous, or don't belong together.
        StoreError: A run can't be read, or the files can't be written.
    """
    module = import_module(f"{__name__}.{FIGURES[name]}")  # here, for a quick start of the other commands
    data = module.load([f"experiment={name}", *overrides], runs, partial=partial)
    paths: list[Path] = module.save(module.make(data), data, out / name, name)
    return paths
