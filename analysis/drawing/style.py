"""How figures look and are written: two printed columns wide, panels above a caption."""

from __future__ import annotations

import io
import math
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Literal, Protocol, TypeAlias

import pandas as pd
import seaborn as sns
from matplotlib import rc_context
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure, SubFigure
from matplotlib.ticker import LogLocator, NullFormatter

from analysis.tables import Tables, provenance
from swag_repro.runs.files import whole_file
from swag_repro.runs.spreadsheets import to_csv

WIDTH = 7.16
"""Width in inches of both columns of a conference paper."""

DPI, PICTURES_DPI = 300, 200
"""Resolution of figures, and least resolution of pictures in figures."""

LINE = 0.112
"""Height of one line of a caption, in inches."""

PAD = 0.04
"""Space around each panel and picture, in inches."""

LOG_FROM = 5.0
"""Ratio of largest to smallest value from which an axis is logarithmic."""

DECADES = 3.5
"""Most decades of a logarithmic axis that has ticks between the decades."""

ALARM = "#D00000"

RC: Any = {
    "font.size": 8,
    "axes.titlesize": 8.5,
    "axes.titlelocation": "left",
    "axes.labelsize": 8,
    "xtick.labelsize": 7.5,
    "ytick.labelsize": 7.5,
    "legend.fontsize": 7.5,
    "legend.frameon": False,
    "legend.handlelength": 3.2,
    "axes.linewidth": 0.7,
    "axes.grid": True,
    "grid.linewidth": 0.4,
    "grid.color": "0.9",
    "text.hinting": "none",  # words are as wide at any dpi
    "figure.constrained_layout.h_pad": PAD,
    "figure.constrained_layout.w_pad": PAD,
    "figure.constrained_layout.hspace": 0,
    "figure.constrained_layout.wspace": 0,
    "pdf.fonttype": 42,  # letters stay letters: text in the PDF can be searched and copied
}


Pages: TypeAlias = Iterable[tuple[str, Figure]]
"""Figures with the ends of their names; each figure is made when it is asked for."""


class FigureData(Protocol):
    """The data that a figure is drawn from."""

    @property
    def tables(self) -> Tables:
        """The tables behind the figure."""

    @property
    def written(self) -> Mapping[str, pd.DataFrame]:
        """The tables that are written beside it, by the ends of the files' names."""


@contextmanager
def figure(
    *heights: float, caption: str, data: FigureData | None = None
) -> Iterator[tuple[Figure, list[SubFigure]]]:
    """Yield a figure over two columns with its caption at the foot; it never opens a window.

    On leaving, the layout is fixed, and a figure with missing cells is marked.

    Args:
        heights: Heights of its parts in inches. The parts stand below each other and are yielded with the
            figure.
        caption: The lines of the caption.
        data: The data that it is drawn from; None if no run is behind it.
    """
    with rc_context(), sns.axes_style("ticks"), rc_context(RC):
        foot = LINE * (caption.count("\n") + 1) + 0.08
        drawn = Figure(figsize=(WIDTH, sum(heights) + foot), dpi=DPI, layout="constrained")
        FigureCanvasAgg(drawn)
        drawn.supxlabel(caption, x=0.01, ha="left", fontsize=6.5, parse_math=False)
        yield drawn, list(drawn.subfigures(len(heights), 1, squeeze=False, height_ratios=heights)[:, 0])
        for axis in drawn.axes:
            axis.tick_params(labelsize=RC["xtick.labelsize"])  # else the file's ticks differ
        drawn.draw_without_rendering()
        drawn.set_layout_engine("none")  # both files show one layout
        _set_whole_pixels(drawn)
        if data is not None:
            _mark_partial(drawn, data.tables)


def _set_whole_pixels(drawn: Figure) -> None:
    """Set dpi so that a picture's pixel is a whole number of printed ones wide: none is resampled."""
    inches = [
        axis.get_window_extent().width / drawn.dpi / axis.get_images()[0].get_size()[1]
        for axis in drawn.axes
        if axis.get_images()
    ]
    if inches:
        pixel = sorted(inches)[len(inches) // 2]  # the width that most pictures have
        drawn.set_dpi(math.ceil(PICTURES_DPI * pixel) / pixel)


def _mark_partial(drawn: Figure, data: Tables) -> None:
    """Write across the figure how many cells are missing, if any."""
    if data.missing:
        drawn.text(
            0.5, 0.55, f"PARTIAL: {data.missing} of {len(data.runs)} cells missing", rotation=25, ha="center",
            va="center", fontsize=26, fontweight="bold", color="#B00020", alpha=0.35, zorder=100,
        )  # fmt: skip


def set_scale(axes: Axes, side: Literal["x", "y"], values: pd.Series) -> None:
    """Make an axis logarithmic if its values are positive and span much; few decades have ticks 1, 2, 5."""
    if len(values) == 0 or not (values.min() > 0 and values.max() >= LOG_FROM * values.min()):
        return
    axes.set(**{f"{side}scale": "log"})
    if values.max() > 10**DECADES * values.min():
        return
    axis = axes.xaxis if side == "x" else axes.yaxis
    axis.set_major_locator(LogLocator(subs=(1, 2, 5)))
    axis.set_major_formatter(lambda value, _: f"{value:g}")
    axis.set_minor_formatter(NullFormatter())


def save(
    drawn: Figure | Mapping[str, Figure] | Pages, data: FigureData, folder: Path, name: str
) -> list[Path]:
    """Write figures (PNG and PDF) and tables (CSV), and a JSON that says where they come from.

    Args:
        drawn: The result of a figure's `make`: one figure, or several by the ends of their names. Pages are
            drawn and written one after the other.
        data: The data that it was made from.
        folder: The folder of the files, which is made if it is missing.
        name: The first part of each file's name.

    Raises:
        StoreError: The files can't be written.
    """
    if isinstance(drawn, Figure):
        drawn = {"": drawn}
    figures = drawn.items() if isinstance(drawn, Mapping) else drawn
    paths = [
        _save(one, folder / f"{name}{end}{suffix}", data.tables)
        for end, one in figures
        for suffix in (".png", ".pdf")
    ]
    for end, table in data.written.items():
        paths.append(folder / f"{name}{end}.csv")
        with whole_file(paths[-1]) as file:
            file.write(to_csv(table).encode())
    return [*paths, provenance.write_provenance(folder / name, data.tables.provenance, paths)]


def _save(drawn: Figure, path: Path, tables: Tables) -> Path:
    described = {
        "Title": path.stem,
        ("Description" if path.suffix == ".png" else "Subject"): tables.description,
    }
    always_the_same = {} if path.suffix == ".png" else {"CreationDate": None}
    return write_figure(drawn, path, described | always_the_same)


def write_figure(drawn: Figure, path: Path, metadata: Mapping[str, Any] | None = None) -> Path:
    """Write a figure whole, in the format of the path's suffix."""
    buffer = io.BytesIO()
    with rc_context(RC):
        drawn.savefig(buffer, format=path.suffix[1:], dpi="figure", metadata=metadata)
    with whole_file(path) as file:
        file.write(buffer.getvalue())
    return path
