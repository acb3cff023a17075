"""Seconds until a picture is as near to its style as the authors' settings bring it."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from itertools import product
from math import isnan
from pathlib import Path
from typing import Any

import pandas as pd
import torch
from omegaconf import OmegaConf
from rich.table import Table

from experiments.benchmarks.engine import Setup, Textbook
from experiments.benchmarks.racing import CONTENT_SIZE, FIRST, GROWTH, Contender, Judge, Pace, race
from experiments.benchmarks.reaching import AUTHORS, TEXTBOOK, reached, with_textbook
from experiments.benchmarks.timing import composed
from experiments.building import build
from experiments.command import CONF
from experiments.config import checked
from experiments.stylization.pairs import Pair
from experiments.stylization.stylization import Stylization
from swag_repro.errors import SettingError, check_choice
from swag_repro.images import to_pil
from swag_repro.measures import HeldOut, WeightedNetwork
from swag_repro.runs.files import whole_file
from swag_repro.runs.provenance import commit

BATCH = "coarse to fine, pairs side by side"

OBJECTIVES = ("authors", "ours")
"""What variants minimise: what the authors' settings do, or conf/objective/gram.yaml."""

VERSION = 1
"""Raised when the same options come to give other numbers."""


@dataclass(frozen=True, kw_only=True)
class Question:
    """What is optimised, and who judges it.

    Attributes:
        settings: Hydra overrides of all variants: network, weights, images, judge.
        size: pixels of both sides.
        closures: of the authors' settings, and of each that stays at one scale.
        pairs: how many; the first ones of the images.
        objective: of all other variants, one of `OBJECTIVES`.
    """

    settings: tuple[str, ...]
    size: int
    closures: int
    pairs: int
    objective: str

    def cell(self, variant: str) -> Stylization:
        """The stylisation of a variant."""
        asked = {"images.size": self.size, "steps": self.closures, "evaluations": self.closures}
        given = [*self.settings, *(f"{name}={value}" for name, value in asked.items())]
        settings = ["measures=default", "preset=equation", *given, *self._of(variant)]
        return Stylization.build(checked(composed("stylize", *settings), "stylize"))

    def _of(self, variant: str) -> list[str]:
        """What tells a variant from others."""
        if variant == AUTHORS:
            return ["preset=release"]
        changed = list(VARIANTS[variant](self.closures))
        if self.objective == "ours":
            return ["images.resize=squash", "images.interpolation=bilinear", *changed]
        optimizer = "adam" if ADAM in changed else "lbfgs"
        # As conf/ has it without a preset: relative constants, pixels, the picture of least loss.
        ours = ["canvas=pixels", "result=best", *_stated(f"optimizer/{optimizer}.yaml", "optimizer.")]
        return ["preset=release", *ours, *changed, *(OF_LBFGS if ADAM in changed else ())]


def _stated(file: str, below: str = "") -> Iterator[str]:
    """What a file of `conf/` says, as overrides."""
    stated: Any = OmegaConf.to_container(OmegaConf.load(CONF / file))
    for name, value in stated.items():
        if not name.startswith("_") and name != "defaults":
            yield f"{below}{name}={_value(value)}"


def _value(value: Any) -> str:
    """As Hydra's command line has it."""
    if isinstance(value, Mapping):
        return "{" + ",".join(f"{key}:{_value(item)}" for key, item in value.items()) + "}"
    if isinstance(value, list):
        return "[" + ",".join(map(_value, value)) + "]"
    return "null" if value is None else str(value)


def _one_scale(*settings: str) -> Any:
    return lambda _: settings


def _coarse(*settings: str, scales: Sequence[float], shares: Sequence[float]) -> Any:
    """Coarse to fine, with these shares of the closures."""

    def overrides(closures: int) -> list[str]:
        shared = [max(1, round(share * closures)) for share in shares]
        given = {"scales": list(scales), "steps": shared, "evaluations": shared}
        return [*(f"{name}={value}" for name, value in given.items()), *settings]

    return overrides


ADAM = "optimizer=adam"

OF_LBFGS = ("~optimizer.line_search", "~optimizer.tolerance_grad", "~optimizer.tolerance_change")
"""What the release says of it."""

THREE = {"scales": (0.25, 0.5, 1.0), "shares": (0.4, 0.2, 0.1)}

HELD = ("objective.content_weight=16.0", "objective.content_decay=0.25")
"""The release's weight of the content, 1, at the last of three scales, and more before: 16, 4, 1."""

VARIANTS: Mapping[str, Any] = {
    AUTHORS: _one_scale(),
    "one scale": _one_scale(),
    "one scale, strong Wolfe": _one_scale("optimizer.line_search=strong_wolfe"),
    "one scale, history 10": _one_scale("optimizer.history=10"),
    "one scale, Adam": _one_scale(ADAM),
    "coarse to fine": _coarse(**THREE),
    "coarse to fine, content held": _coarse(*HELD, **THREE),
    "coarse to fine, few steps": _coarse(scales=(0.25, 0.5, 1.0), shares=(0.1, 0.1, 0.1)),
    "coarse to fine, more at the end": _coarse(scales=(0.25, 0.5, 1.0), shares=(0.3, 0.2, 0.3)),
    "coarse to fine, two scales": _coarse(scales=(0.5, 1.0), shares=(0.4, 0.2)),
    "coarse to fine, history 10": _coarse("optimizer.history=10", **THREE),
    "coarse to fine, bfloat16 first": _coarse("levers.autocast=[bfloat16,bfloat16,null]", **THREE),
    "coarse to fine, Adam": _coarse(ADAM, **THREE),
    BATCH: _coarse(**THREE),
    "preset=fast": lambda _: [
        *_stated("preset/fast.yaml"),
        "scales=[0.5,1.0]",
        "coarsest=128",
        "evaluations=null",
    ],
    "preset=fast, three scales": lambda _: [
        "scales=[0.25,0.5,1.0]",
        "coarsest=128",
        "steps=[150,100,75]",
        "evaluations=[200,150,100]",
    ],
}
"""By name: closures of the authors' settings → what is changed beside `ours`."""


class Quality:
    """Curves of variants on pairs, in a folder that holds each of them whole or not at all.

    Args:
        question: what is optimised.
        variants: names in `VARIANTS`; the authors' settings, which set the target, are always among them.
        folder: of the results.

    Raises:
        UserError: a setting that its part of the science objects to.
    """

    def __init__(self, question: Question, variants: Sequence[str], folder: Path) -> None:
        for name in variants:
            check_choice("--variants", name, VARIANTS)
        self.question, self.folder = question, folder
        self.cells = {name: question.cell(name) for name in dict.fromkeys([AUTHORS, *variants])}
        found = self.cells[AUTHORS].pairs
        if len(found) < question.pairs:
            rule, remedy = f"should have at least {question.pairs} pairs", "Ask for fewer with --pairs."
            raise SettingError("images", rule, len(found), remedy)
        self.pairs = found[: question.pairs]
        self.chosen = build(self.cells[AUTHORS].config.measures).choose(self._optimised)

    @property
    def _optimised(self) -> WeightedNetwork:
        cell = self.cells[AUTHORS]
        return WeightedNetwork(cell.architecture, cell.weights)

    @cached_property
    def held_out(self) -> HeldOut:
        """The judge."""
        cell = self.cells[AUTHORS]
        return build(cell.config.measures).build(self.chosen, cell.device)  # type: ignore[no-any-return]

    @property
    def label(self) -> str:
        """Of the question, for people."""
        q = self.question
        objective = {"authors": "authors' objective", "ours": "our objective"}[q.objective]
        about = f"{self._optimised}, {objective}, {q.size} px, {q.closures} closures, {q.pairs} pairs"
        return f"{about}, judge {self.chosen}, {torch.get_num_threads()} threads"

    def compute(self, *, chunk: int) -> Iterator[str]:
        """Computes what is missing, pair by pair; a line for each curve that is there."""
        alone = [name for name in self.cells if name != BATCH]
        for pair in self.pairs:
            yield from self._race(
                [name for name in alone if not self._file(name, pair).exists()], [pair], chunk
            )
        if BATCH in self.cells and not all(self._file(BATCH, pair).exists() for pair in self.pairs):
            yield from self._race([BATCH], self.pairs, chunk)

    def _race(self, names: Sequence[str], pairs: Sequence[Pair], chunk: int) -> Iterator[str]:
        if not names:
            return
        batch = self.cells[AUTHORS].batch(pairs)
        judge = Judge(self.held_out, batch)
        contenders = {
            name: Contender(self.cells[name], self.cells[name].network(), batch, judge) for name in names
        }
        textbook = self._textbook(batch.contents[:1], batch.styles[0][0].image[None])
        for name, pace in race(contenders, textbook, chunk=chunk):
            self._write(name, pairs, contenders.pop(name), pace)
            yield f"{name}: {', '.join(pair.name for pair in pairs)}"

    def _textbook(self, content: torch.Tensor, style: torch.Tensor) -> Any:
        """Hooks, the whole network, torch's L-BFGS with its defaults: what the authors' code does."""
        cell, size = self.cells[AUTHORS], self.question.size
        setup = Setup(architecture=cell.architecture, size=size, batch=1, closures=1, device=content.device)
        return Textbook(setup, frozen=True).descent(content, style)

    # --- Files --------------------------------------------------------------------------------------------

    def _file(self, name: str, pair: Pair) -> Path:
        """Of a curve: by all that decides it, so that other options are other files."""
        cell, pairs = self.cells[name], self.pairs if name == BATCH else [pair]
        parts = [cell.settings, [pair.sha256 for pair in pairs], cell.weights_digest, self.chosen.digest]
        text = repr([VERSION, FIRST, GROWTH, CONTENT_SIZE, str(self.chosen), *parts])
        return self.folder / name / f"{pair.name}-{hashlib.sha256(text.encode()).hexdigest()[:12]}.parquet"

    def _write(self, name: str, pairs: Sequence[Pair], contender: Contender, pace: Pace) -> None:
        for index, pair in enumerate(pairs):
            file = self._file(name, pair)
            style = file.with_suffix("") / "style.jpg"
            style.parent.mkdir(parents=True, exist_ok=True)
            _save((contender.batch.styles[index][0].image * 255).round().to(torch.uint8).cpu(), style)
            rows = list(_rows(contender, index, style.parent, self.folder))
            about = {"variant": name, "pair": pair.name, "style_image": str(style.relative_to(self.folder))}
            paces = {"loop_seconds": pace.seconds, "loop_cpu_seconds": pace.cpu_seconds}
            origin = {"threads": torch.get_num_threads(), "commit": commit()}
            with whole_file(file) as opened:
                pd.DataFrame(rows).assign(**about, **paces, **origin).to_parquet(opened)

    def curves(self) -> pd.DataFrame:
        """All that is there of what was asked for: a row for each point of each curve."""
        files = [self._file(name, pair) for name, pair in product(self.cells, self.pairs)]
        return pd.concat([pd.read_parquet(file) for file in files if file.exists()], ignore_index=True)

    def write(self, clock: str) -> Iterator[str]:
        """Writes `curves.csv` and `reached.csv`; how to draw them."""
        curves = self.curves()
        for name, frame in (("curves", with_textbook(curves)), ("reached", reached(curves, clock))):
            with whole_file(self.folder / f"{name}.csv") as file:
                file.write(frame.to_csv(index=False).encode())
        yield f"python -m analysis quality {self.folder}"

    def table(self, clock: str) -> Table:
        """Medians over pairs, by one of `CLOCKS`."""
        curves = self.curves()
        found = reached(curves, clock)
        targets = found[found["variant"] == AUTHORS][["style", "content"]].median()
        where = f"(style {targets['style']:.3g}, content {targets['content']:.3g})"
        medians = f"medians over pairs of {CLOCKS[clock]}"
        table = Table(title=f"{self.label}\n{medians}; targets: where the authors' settings end {where}")
        for column in COLUMNS:
            table.add_column(column, justify="left" if column == "variant" else "right")
        for name in [TEXTBOOK, *self.cells]:
            rows = found[found["variant"] == name]
            if len(rows):
                table.add_row(name, *_cells(rows))
        return table


CLOCKS = {"seconds": "seconds", "cpu_seconds": "seconds of processors"}
"""By which variants are compared: on a machine that others use too, the second says more."""

COLUMNS = (
    "variant", "style: s", "× authors' loop", "× all of it", "× authors' settings", "pairs", "content then",
    "both: s", "× authors' loop ", "pairs ", "end: style", "content", "s", "CPU s",
)  # fmt: skip


def _cells(rows: pd.DataFrame) -> list[str]:
    """A row of the table: seconds to the style's target and to both, then the end."""
    middle, count = rows.select_dtypes("number").median(), len(rows)
    return [
        _seconds(middle["seconds_style"]),
        f"{middle['times_loop_style']:.2f}",
        f"{middle['times_whole_style']:.2f}",
        f"{middle['times_settings_style']:.2f}",
        f"{rows['seconds_style'].lt(float('inf')).sum()} of {count}",
        "–" if isnan(middle["content_then"]) else f"{middle['content_then']:.0%}",
        _seconds(middle["seconds_both"]),
        f"{middle['times_loop_both']:.2f}",
        f"{rows['seconds_both'].lt(float('inf')).sum()} of {count}",
        f"{middle['style']:.3g}",
        f"{middle['content']:.3g}",
        f"{middle['seconds']:.1f}",
        f"{middle['cpu_seconds']:.1f}",
    ]


def _seconds(value: float) -> str:
    return "–" if value == float("inf") else f"{value:.1f}"


def _rows(contender: Contender, index: int, folder: Path, root: Path) -> Iterator[dict[str, Any]]:
    """A pair's curve; its pictures go beside it."""
    for number, point in enumerate(contender.points):
        image = folder / f"{number:02}.jpg"
        _save(point.images[index], image)
        yield {
            "scale": point.scale,
            "closures": point.closures,
            "work": point.work,
            "seconds": point.seconds,
            "cpu_seconds": point.cpu_seconds,
            "style": point.distances[index].style,
            "content": point.distances[index].content,
            "image": str(image.relative_to(root)),
        }


def _save(image: torch.Tensor, path: Path) -> None:
    """A picture to be looked at: numbers are of what it was before it was compressed."""
    to_pil(image / 255).save(path, quality=95)
