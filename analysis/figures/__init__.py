"""The figures: one module each, with three verbs (load, make, save)."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from importlib import import_module
from pathlib import Path
from typing import Any


@dataclass(frozen=True)
class Source:
    """Where a figure comes from.

    Attributes:
        module: What draws it.
        experiment: Whose runs it shows; the module knows which entry point computes them.
    """

    module: str
    experiment: str


FIGURES = {
    "fig1": Source("grid", "fig1"),
    "fig2": Source("grid", "fig2"),
    "fig3": Source("fig3", "fig3"),
    "fig3_pretrained": Source("fig3", "fig3_pretrained"),
    "fig6": Source("grid", "fig6"),
    "curve": Source("curve", "style_content_curve"),
}


def draw(
    name: str, overrides: Sequence[str], runs: Path, out: Path, *, partial: bool = False, **options: Any
) -> list[Path]:
    """Draws one figure, and returns the files it wrote.

    Args:
        name: One of `FIGURES`.
        overrides: Hydra's, the same as given to the experiment.
        runs: The output folder of the experiments.
        out: The folder of results; the files come into a folder of the figure's name in it.
        partial: Whether to draw, with a mark, a figure some of whose cells are missing.
        options: What else this figure's `make` takes, such as `pairs`.

    Raises:
        CellsError: Runs are missing, ambiguous, or don't belong together.
        StoreError: A run can't be read, or the files can't be written.
    """
    source = FIGURES[name]
    module = import_module(f"{__name__}.{source.module}")  # here, for a quick start of the other commands
    data = module.load([f"experiment={source.experiment}", *overrides], runs, partial=partial)
    paths: list[Path] = module.save(module.make(data, **options), data, out / name, name)
    return paths
