"""The style of figures, and their files: two printed columns wide, panels above a caption."""

from __future__ import annotations

import io
import math
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from textwrap import fill
from typing import Any, Literal, Protocol, TypeAlias

import numpy as np
import pandas as pd
import seaborn as sns
from matplotlib import rc_context, rc_params_from_file, rcParams, rcParamsDefault
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure, SubFigure
from matplotlib.ticker import LogLocator, NullFormatter

from analysis.tables import Tables, provenance
from swag_repro.errors import SettingError
from swag_repro.runs.files import whole_file
from swag_repro.runs.schema import to_csv

OF_WINDOWS = ("backend", "interactive", "toolbar", "timezone")
"""Settings of matplotlib that are for windows, not for figures in files."""

WIDTH = 7.16
"""Width in inches of both columns of a conference paper."""

DPI, PICTURES_DPI = 300, 200
"""Resolution of figures, and least resolution of pictures in figures."""

CAPTION_LETTERS = 145
"""Letters in one line of a caption."""

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
    "axes.formatter.useoffset": False,  # ticks are read as they stand
    "grid.linewidth": 0.4,
    "grid.color": "0.9",
    "text.hinting": "none",  # words are as wide at any dpi
    "figure.constrained_layout.h_pad": PAD,
    "figure.constrained_layout.w_pad": PAD,
    "figure.constrained_layout.hspace": 0,
    "figure.constrained_layout.wspace": 0,
    "svg.hashsalt": "swag",  # names within the file stay the same
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


@dataclass(frozen=True)
class Layout:
    """The choices of a user about a figure.

    Attributes:
        width: The width in inches.
        formats: The suffixes of its files, without dots.
        caption: Whether its caption stands at its foot.
        rc: Settings of matplotlib that win over those of this project.
    """

    width: float = WIDTH
    formats: tuple[str, ...] = ("png", "pdf")
    caption: bool = True
    rc: Any = field(default_factory=dict)

    @classmethod
    def styled(cls, file: Path | None, **chosen: Any) -> Layout:
        """Return a layout with the settings of a file in the format of `matplotlibrc`.

        Raises:
            SettingError: The file can't be read, or is no such file.
        """
        if file is None:
            return cls(**chosen)
        try:
            rc = rc_params_from_file(file, use_default_template=False)
        except (OSError, ValueError) as error:
            rule, remedy = "should be a style of matplotlib", "See matplotlib.org, Customizing Matplotlib."
            raise SettingError("--style", rule, f"{file}: {error}", remedy) from error
        return cls(**chosen, rc={name: value for name, value in rc.items() if name not in OF_WINDOWS})


PAPER = Layout()


@contextmanager
def _matplotlib_settings(layout: Layout) -> Iterator[None]:
    """Set matplotlib within the block: seaborn's ticks, the user's matplotlibrc, `RC`, the layout's."""
    own = {name for name in rcParams if name not in OF_WINDOWS and rcParams[name] != rcParamsDefault[name]}
    ticks = {name: value for name, value in sns.axes_style("ticks").items() if name not in own}
    with rc_context({**ticks, **RC, **layout.rc}):
        yield


@contextmanager
def _same_jitter() -> Iterator[None]:
    """Seed the generator from which seaborn draws its jitter: the same data give the same figure."""
    state = np.random.get_state()  # noqa: NPY002  (seaborn's own)
    np.random.seed(0)  # noqa: NPY002
    try:
        yield
    finally:
        np.random.set_state(state)  # noqa: NPY002


@contextmanager
def figure(
    *heights: float, caption: str, data: FigureData | None = None, layout: Layout = PAPER
) -> Iterator[tuple[Figure, list[SubFigure]]]:
    """Yield a figure over two columns with its caption at the foot; it never opens a window.

    On leaving, the layout is fixed, and a figure with missing cells is marked.

    Args:
        heights: Heights of its parts in inches. The parts stand below each other and are yielded with the
            figure.
        caption: The lines of the caption.
        data: The data that it is drawn from; None if no run is behind it.
        layout: What the user chooses.
    """
    with _matplotlib_settings(layout), _same_jitter():
        foot = LINE * (caption.count("\n") + 1) + 0.08 if layout.caption else 0.0
        drawn = Figure(figsize=(layout.width, sum(heights) + foot), dpi=DPI, layout="constrained")
        FigureCanvasAgg(drawn)
        if layout.caption:
            drawn.supxlabel(caption, x=0.01, ha="left", fontsize=6.5, parse_math=False)
        yield drawn, list(drawn.subfigures(len(heights), 1, squeeze=False, height_ratios=heights)[:, 0])
        for axis in drawn.axes:
            axis.tick_params(labelsize=rcParams["xtick.labelsize"])  # else the file's ticks differ
        drawn.draw_without_rendering()
        drawn.set_layout_engine("none")  # both files show one layout
        _set_whole_pixels(drawn)
        if data is not None:
            _mark_partial(drawn, data.tables)


def caption_lines(*said: str, width: float = WIDTH) -> str:
    """Return the parts of a caption, each on lines of its own, for a figure of this width in inches."""
    return "\n".join(fill(text, max(1, int(CAPTION_LETTERS * width / WIDTH))) for text in said)


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
    drawn: Figure | Mapping[str, Figure] | Pages,
    data: FigureData,
    folder: Path,
    name: str,
    layout: Layout = PAPER,
) -> list[Path]:
    """Write figures and tables (CSV), and a JSON that says where they come from.

    Args:
        drawn: The result of a figure's `make`: one figure, or several by the ends of their names. Pages are
            drawn and written one after the other.
        data: The data that it was made from.
        folder: The folder of the files, which is made if it is missing.
        name: The first part of each file's name.
        layout: What the user chooses.

    Raises:
        StoreError: The files can't be written.
    """
    if isinstance(drawn, Figure):
        drawn = {"": drawn}
    figures = drawn.items() if isinstance(drawn, Mapping) else drawn
    paths = [
        _save(one, folder / f"{name}{end}.{suffix}", data.tables, layout)
        for end, one in figures
        for suffix in layout.formats
    ]
    for end, table in data.written.items():
        paths.append(folder / f"{name}{end}.csv")
        with whole_file(paths[-1]) as file:
            file.write(to_csv(table).encode())
    return [*paths, provenance.write_provenance(folder / name, data.tables.provenance, paths)]


DATES = {".png": {}, ".pdf": {"CreationDate": None}, ".svg": {"Date": None}}
"""Metadata without which a figure's files are always the same, by their suffix."""


def _save(drawn: Figure, path: Path, tables: Tables, layout: Layout) -> Path:
    description = "Subject" if path.suffix == ".pdf" else "Description"
    described = {"Title": path.stem, description: tables.description}
    return write_figure(drawn, path, described | DATES[path.suffix], layout)


def write_figure(
    drawn: Figure, path: Path, metadata: Mapping[str, Any] | None = None, layout: Layout = PAPER
) -> Path:
    """Write a figure whole, in the format of the path's suffix."""
    buffer = io.BytesIO()
    with rc_context({**RC, **layout.rc}):
        drawn.savefig(buffer, format=path.suffix[1:], dpi="figure", metadata=metadata)
    with whole_file(path) as file:
        file.write(buffer.getvalue())
    return path
