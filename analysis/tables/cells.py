"""Which cells an experiment has, and which finished run answers each of them.

A figure takes the same overrides as the experiment's command, and its cells are composed by Hydra as the
experiment composes them; a run belongs to a cell only where all that decides its result is the same. So a
figure can't mix image sets, sizes or temperatures.
"""

from __future__ import annotations

import shlex
from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, ClassVar

from hydra import initialize_config_dir
from hydra.core.config_search_path import ConfigSearchPath
from hydra.core.global_hydra import GlobalHydra
from hydra.core.plugins import Plugins
from hydra.errors import HydraException
from hydra.plugins.search_path_plugin import SearchPathPlugin
from hydra.types import RunMode
from omegaconf import OmegaConf
from omegaconf.errors import OmegaConfBaseException

from analysis.tables.index import Index
from analysis.tables.runs import cell_key, key
from experiments.command import CONF, check
from experiments.config import checked
from experiments.science import scientific, settings_of_judge
from experiments.sweeps.composing import Composer, grid_of
from experiments.sweeps.grid import Grid, as_typed, common
from swag_repro.errors import UserError
from swag_repro.runs.identity import Identity
from swag_repro.runs.records import RunRecord

FILES = ("images", "weights", "content", "style", "run")
"""Settings that name files; `content` and `style` are those of a stylisation, `run` a trained network's."""

NETWORK = ("network", "weights", "run")
"""Settings that name a network; a network that stylises in one pass is that of a `run`."""

LOOK = "look"
"""Of an identity's images: by which some trainings prepare their contents, and others of a figure don't."""

JUDGE = "measures"
"""The setting of who judges pictures."""

OUTPUT = Path("outputs")
"""Where experiments write if nothing else is said, see `conf/`."""

SHOWN = 10
"""At most so many cells or runs are listed in a message."""


class UsersSettings(SearchPathPlugin):
    """A folder of settings of the user's own, beside `conf/`: what `--config-dir` is to the experiments."""

    folder: ClassVar[Path | None] = None

    def manipulate_search_path(self, search_path: ConfigSearchPath) -> None:
        """Adds it."""
        if self.folder is not None:
            search_path.append("user", f"file://{self.folder}")


Plugins.instance().register(UsersSettings)


class CellsError(UserError):
    """Runs that a figure needs are missing, ambiguous, or don't belong together."""


@dataclass(frozen=True)
class Cell:
    """One job of a sweep.

    Attributes:
        overrides: What Hydra gives to the job, such as `network=vgg19`.
        config: The resolved config of the job, plain.
        entry: The entry point that computes it, such as `stylize`.
        common: Those overrides that all cells of the sweep have.
    """

    overrides: tuple[str, ...]
    config: dict[str, Any]
    entry: str
    common: frozenset[str] = frozenset()

    @property
    def key(self) -> str:
        """What cells of the same result have in common, and no others."""
        return cell_key(self.entry, scientific(self.config, self.entry))

    @property
    def figure_key(self) -> str:
        """What cells have in common that are one in a figure: the result, and who judges it."""
        judged = JUDGE in self.config
        return self.key + (key(settings_of_judge(self.config)) if judged else "")

    @property
    def own(self) -> tuple[str, ...]:
        """What tells it from the other cells, as it was typed; all, where there is one cell."""
        told = [item for item in self.overrides if item not in self.common]
        others = [item for item in self.overrides if not item.startswith("experiment=")]
        return tuple(map(as_typed, told or others))

    def __str__(self) -> str:
        return " ".join(self.own)


@dataclass(frozen=True)
class Answer:
    """The cells of an experiment and their runs.

    Attributes:
        runs: All cells in the order of the sweep, each with its finished run or None.
        missing: Cells without a finished run, and why their run failed, where it did.
    """

    runs: list[tuple[Cell, RunRecord | None]]
    missing: list[tuple[Cell, str | None]]

    @property
    def found(self) -> list[tuple[Cell, RunRecord]]:
        """Cells and their finished runs."""
        return [(cell, record) for cell, record in self.runs if record is not None]


def compose_cells(overrides: Sequence[str], entry: str) -> list[Cell]:
    """The cells that `<entry>.py -m <overrides>` computes.

    Args:
        overrides: In Hydra's grammar, such as `experiment=fig3` and `images.size=128`.
        entry: The entry point, which has the name of its config.

    Raises:
        CellsError: Hydra can't compose them.
        SettingError: A key is unknown, a value of the wrong type, or a mandatory one missing.
    """
    with _composing(overrides, entry) as (jobs, composer):
        shared = common(jobs)
        return [_cell(job, composer, entry, shared) for job in jobs]


def judged_again(cells: Sequence[Cell], overrides: Sequence[str], entry: str) -> list[Cell]:
    """What `compose_cells` gives for overrides that name another judge; quick, as only one is composed.

    A judge is the same for all cells of a sweep, and changes nothing else; where that is not so, all are
    composed.

    Args:
        cells: Of the same overrides, but for `measures=`.
        overrides: As for `compose_cells`.
        entry: Likewise.

    Raises:
        As `compose_cells`.
    """
    with _composing(overrides, entry) as (jobs, composer):
        shared = common(jobs)
        first = _cell(jobs[0], composer, entry, shared)
        again = [
            replace(
                cell, overrides=tuple(job), config=cell.config | {JUDGE: first.config[JUDGE]}, common=shared
            )
            for cell, job in zip(cells, jobs, strict=False)
        ]
        alike = all(cell.config[JUDGE] == cells[0].config[JUDGE] for cell in cells)
        if alike and len(again) == len(jobs) == len(cells) and again[0].config == first.config:
            return again
        return [first, *(_cell(job, composer, entry, shared) for job in jobs[1:])]


@contextmanager
def _composing(overrides: Sequence[str], entry: str) -> Iterator[tuple[list[list[str]], Composer]]:
    """The jobs of a sweep, and what composes them within."""
    check(entry, overrides)
    try:
        with initialize_config_dir(str(CONF.resolve()), version_base="1.3"):
            grid = _grid(overrides, entry)
            yield [grid[number] for number in range(len(grid))], Composer(entry)
    except (HydraException, OmegaConfBaseException) as error:
        raise CellsError(
            "overrides",
            "should be what the experiment's command takes",
            f"{' '.join(overrides)!r}: {' '.join(str(error).split())}",
            "Give the same overrides as to the experiment.",
        ) from error


def _grid(overrides: Sequence[str], entry: str) -> Grid:
    hydra = GlobalHydra.instance().hydra
    if hydra is None:
        raise RuntimeError("Hydra should be initialised first")
    sweep = hydra.compose_config(
        entry, list(overrides), run_mode=RunMode.MULTIRUN, with_log_configuration=False
    )
    return grid_of(sweep.hydra)


def _cell(overrides: list[str], composer: Composer, entry: str, common: frozenset[str]) -> Cell:
    config = OmegaConf.to_container(checked(composer(overrides), entry))
    return Cell(tuple(overrides), config, entry, common)  # type: ignore[arg-type]


def match(cells: Iterable[Cell], index: Index) -> Answer:
    """The run of each cell.

    Args:
        cells: From `compose_cells`.
        index: Of all runs, whatever their state.

    Raises:
        CellsError: Several runs fit one cell, or the runs don't belong together.
        StoreError: The identity of a finished run of these cells' experiments can't be read.
    """
    cells = list(cells)
    by_key = index.by_cell({cell.entry for cell in cells}, {cell.key for cell in cells})
    runs: list[tuple[Cell, RunRecord | None]] = []
    missing = []
    for cell in cells:
        fitting = by_key.get(cell.key, [])
        finished = [record for record in fitting if record.status.state == "finished"]
        runs.append((cell, _choose(cell, finished) if finished else None))
        if not finished:
            missing.append((cell, next((record.status.reason for record in fitting), None)))
    answer = Answer(runs, missing)
    _check_together(answer.found)
    return answer


def _choose(cell: Cell, records: list[RunRecord]) -> RunRecord:
    newest = max(record.identity.version for record in records)
    records = [record for record in records if record.identity.version == newest]
    for same in (_same_judge, _same_files):  # other judges or files: those the cell names decide
        if len(records) > 1:
            records = [record for record in records if same(cell, record)] or records
    if len(records) > 1:
        raise CellsError(
            f"runs of {cell}",
            "should be one",
            f"{len(records)}, of different images or weight files",
            "Move away those you don't want, or name the files of those you want by images.* and weights.*:"
            + _listed(record.path for record in records),
        )
    return records[0]


def _same_files(cell: Cell, record: RunRecord) -> bool:
    return all(cell.config.get(group) == record.config.get(group) for group in FILES)


def _same_judge(cell: Cell, record: RunRecord) -> bool:
    """Whether a run of before schema 3, which measured its own pictures, did as the cell says."""
    own = record.identity.config.get("measures")
    return own is None or key(own) == key(settings_of_judge(cell.config))


def _check_together(found: list[tuple[Cell, RunRecord]]) -> None:
    """One figure means one set of images, one version, and of each network's weights one file."""
    records = [record for _, record in found]
    _check_alike(records, lambda who: [who.version, {**who.images, LOOK: None}])
    looks = (record for record in records if LOOK in record.identity.images)
    _check_alike(looks, lambda who: who.images[LOOK])
    by_weights: dict[str, list[RunRecord]] = defaultdict(list)
    for cell, record in found:
        by_weights[key([cell.config.get(name) for name in NETWORK])].append(record)
    for records in by_weights.values():
        _check_alike(records, _weights)


def _weights(who: Identity) -> str | None:
    """Of the optimised network: before schema 3 those of the judge stood behind them."""
    own = (who.weights or "None").partition(", measured by ")[0]
    return None if own == "None" else own


def _check_alike(records: Iterable[RunRecord], part: Callable[[Identity], object]) -> None:
    kinds: dict[str, list[Path]] = defaultdict(list)
    for record in records:
        kinds[key(part(record.identity))].append(record.path)
    if len(kinds) > 1:
        raise CellsError(
            "runs",
            "of one figure should have the same images, weight files and version of the experiment",
            f"{len(kinds)} kinds",
            "Delete the old ones, and run the experiment again:"
            + _listed(f"{len(paths)} like {paths[0]}" for paths in kinds.values()),
        )


def answered(cells: Iterable[Cell], index: Index, command: Sequence[str], *, partial: bool) -> Answer:
    """The run of each cell, where all have one; or some, where only some are asked for.

    Args:
        cells: From `compose_cells`.
        index: Of all runs, whatever their state.
        command: From `computing`: what computes missing ones.
        partial: Whether cells may be missing; not all of them.

    Raises:
        CellsError: As `match`, or a cell is missing.
        StoreError: As `match`.
    """
    answer = match(cells, index)
    if not partial or not answer.found:
        check_complete(answer, command)
    return answer


def computing(overrides: Sequence[str], runs: Path, entry: str) -> list[str]:
    """The command that computes the cells of these overrides, into this output folder."""
    output = [] if runs == OUTPUT else [f"output={runs}"]
    return ["python", f"experiments/{entry}.py", "-m", *overrides, *output]


def judging(entry: str) -> str:
    """The entry point by which another judge measures finished pictures; it skips what is finished."""
    return "judge" if entry == "stylize" else entry


def check_complete(answer: Answer, command: Sequence[str]) -> None:
    """Raises an error that lists the cells without a finished run, and the command that computes them.

    Raises:
        CellsError: A cell is missing.
    """
    if not answer.missing:
        return
    described = (f"{cell}{f' (failed: {reason})' if reason else ''}" for cell, reason in answer.missing)
    raise CellsError(
        "runs",
        "should hold every cell of the figure",
        f"{len(answer.missing)} of {len(answer.runs)} cells missing",
        f"The missing ones are:{_listed(described)}\nCompute them by\n  {shlex.join(command)}\n"
        "or draw what is there, marked as partial, by --allow-partial.",
    )


def _listed(items: Iterable[object]) -> str:
    lines = [f"\n  {item}" for item in items]
    more = [f"\n  ... and {len(lines) - SHOWN} more"] if len(lines) > SHOWN else []
    return "".join(lines[:SHOWN] + more)
