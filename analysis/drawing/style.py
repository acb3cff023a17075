"""How figures look: fit for two printed columns, for colour-blind eyes, and for grey paper."""

from __future__ import annotations

import io
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import pandas as pd
import seaborn as sns
from matplotlib import rc_context
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.ticker import LogLocator, NullFormatter

from analysis.tables import Tables
from swag_repro.runs.files import whole_file

WIDTH = 7.16
"""Inches: both columns of a conference paper."""

DPI = 300

LOG_FROM = 5.0
"""An axis is logarithmic where its largest value is at least so many times the smallest."""

RC: Any = {
    "font.size": 8,
    "axes.titlesize": 8.5,
    "axes.labelsize": 8,
    "xtick.labelsize": 7.5,
    "ytick.labelsize": 7.5,
    "legend.fontsize": 7.5,
    "axes.linewidth": 0.7,
    "axes.grid": True,
    "grid.linewidth": 0.4,
    "grid.color": "0.9",
    "pdf.fonttype": 42,  # letters stay letters: text in the PDF can be searched and copied
}


@dataclass(frozen=True)
class Look:
    """How one network is drawn, in every panel."""

    color: str
    marker: str


# Okabe and Ito's colours: networks with shortcuts warm, those without cold; markers tell them apart in grey.
KNOWN = {
    "resnet50": Look("#D55E00", "o"),
    "pseudo_resvgg": Look("#E69F00", "s"),
    "noresnet50": Look("#0072B2", "^"),
    "pseudo_vgg": Look("#56B4E9", "v"),
    "vgg19": Look("#000000", "D"),
}
OTHERS = (Look("#009E73", "P"), Look("#CC79A7", "X"), Look("#7F7F7F", "p"), Look("#8C6D31", "<"))

DASHES: tuple[Any, ...] = ("-", (0, (4, 2)), (0, (1, 1.2)), (0, (5, 1.5, 1, 1.5)))
"""Solid for no smoothing, then one each."""


def looks(names: Sequence[str]) -> list[Look]:
    """The look of each network, or of what else lines are; the paper's five networks always have the same.

    Args:
        names: Of a network each; the first of one name has its look.
    """
    free = iter([*OTHERS, *(look for name, look in KNOWN.items() if name not in names)] * len(names))
    return [
        KNOWN[name] if name in KNOWN and name not in names[:index] else next(free)
        for index, name in enumerate(names)
    ]


def scale(axes: Axes, side: Literal["x", "y"], values: pd.Series) -> None:
    """Logarithmic where values are positive and span much; ticks at 1, 2 and 5, as few decades are shown."""
    if len(values) == 0 or not (values.min() > 0 and values.max() >= LOG_FROM * values.min()):
        return
    axes.set(**{f"{side}scale": "log"})
    axis = axes.xaxis if side == "x" else axes.yaxis
    axis.set_major_locator(LogLocator(subs=(1, 2, 5)))
    axis.set_major_formatter(lambda value, _: f"{value:g}")
    axis.set_minor_formatter(NullFormatter())


def legend_columns(names: Sequence[str]) -> int:
    """How many names of lines stand side by side in a legend over two printed columns."""
    letter, line = 0.06, 0.65  # inches: of a letter, and of a line with the space around it
    return min(len(names), max(1, int(WIDTH // (line + letter * max(map(len, names), default=0)))))


@contextmanager
def printed() -> Iterator[None]:
    """Figures made within have the style of this project."""
    with rc_context(), sns.axes_style("ticks"), rc_context(RC):
        yield


def figure(*, height: float, width: float = WIDTH) -> Figure:
    """An empty figure over two columns, `height` inches high; no window system is ever asked for."""
    drawn = Figure(figsize=(width, height))
    FigureCanvasAgg(drawn)
    return drawn


def save_table(table: pd.DataFrame, path: Path) -> Path:
    """Writes the numbers behind a figure as CSV.

    Raises:
        StoreError: The file can't be written.
    """
    with whole_file(path) as file:
        table.to_csv(file, index=False, lineterminator="\n")
    return path


def mark_partial(drawn: Figure, data: Tables) -> None:
    """Writes across the figure how many cells are missing, if any."""
    if not data.missing:
        return
    drawn.text(
        0.5,
        0.55,
        f"PARTIAL: {data.missing} of {len(data.runs)} cells missing",
        rotation=25,
        ha="center",
        va="center",
        fontsize=26,
        fontweight="bold",
        color="#B00020",
        alpha=0.35,
        zorder=100,
    )


def save(drawn: Figure, stem: Path, *, title: str, description: str, dpi: float | None = None) -> list[Path]:
    """Writes `stem`.png and `stem`.pdf, with the title and the description as metadata.

    Args:
        drawn: The figure.
        stem: Path of the files, without their endings.
        title: Of both files.
        description: Of both files: where the figure comes from.
        dpi: Of the PNG, and of what is drawn as pixels in the PDF; `DPI` where None.

    Raises:
        StoreError: They can't be written.
    """
    metadata: Mapping[str, dict[str, Any]] = {
        ".png": {"Title": title, "Description": description},
        ".pdf": {"Title": title, "Subject": description, "CreationDate": None},  # same numbers, same bytes
    }
    paths = []
    for suffix, texts in metadata.items():
        buffer = io.BytesIO()
        with rc_context(RC):
            drawn.savefig(buffer, format=suffix[1:], dpi=dpi or DPI, metadata=texts)
        with whole_file(path := stem.with_suffix(suffix)) as file:
            file.write(buffer.getvalue())
        paths.append(path)
    return paths
