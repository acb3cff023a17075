"""Which cells a command has, and by which key the run of each is found in the tables.

A figure takes the same overrides as the experiment's command, and its cells are composed by Hydra as the
experiment composes them; a run belongs to a cell only where all that decides its result is the same. So a
figure can't mix image sets, sizes or temperatures.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, ClassVar

from hydra import initialize_config_dir
from hydra.core.config_search_path import ConfigSearchPath
from hydra.core.global_hydra import GlobalHydra
from hydra.core.plugins import Plugins
from hydra.errors import HydraException
from hydra.plugins.search_path_plugin import SearchPathPlugin
from hydra.types import RunMode
from omegaconf import DictConfig, OmegaConf
from omegaconf.errors import OmegaConfBaseException

from experiments.command import CONF, check
from experiments.config import checked
from experiments.science import scientific, settings_of_judge
from experiments.sweeps.composing import Composer, grid_of
from experiments.sweeps.grid import Grid, as_typed, common
from swag_repro.errors import UserError
from swag_repro.runs.identity import key, leaves

JUDGE = "measures"
"""The setting of who judges pictures."""

OUTPUT = Path("outputs")
"""Where experiments write if nothing else is said, see `conf/`."""


class UsersSettings(SearchPathPlugin):
    """A folder of settings of the user's own, beside `conf/`: what `--config-dir` is to the experiments."""

    folder: ClassVar[Path | None] = None

    def manipulate_search_path(self, search_path: ConfigSearchPath) -> None:
        """Add it."""
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
        interpolated: Settings, by dotted key, that follow from others: `${images.size}`.
    """

    overrides: tuple[str, ...]
    config: dict[str, Any]
    entry: str
    common: frozenset[str] = frozenset()
    interpolated: frozenset[str] = field(default=frozenset(), compare=False, repr=False)

    @property
    def key(self) -> str:
        """The `config_key` of the runs that can answer it."""
        return key([self.entry, scientific(self.config, self.entry)])

    def key_of_judge(self, run_id: str) -> str:
        """Return the `config_key` of the run that judges the pictures of this run as the cell says."""
        return key(["judge", {JUDGE: settings_of_judge(self.config), "stylization": run_id}])

    @property
    def figure_key(self) -> str:
        """What cells have in common that are one in a figure: the result, and who judges it."""
        return self.key + (key(settings_of_judge(self.config)) if JUDGE in self.config else "")

    @property
    def own(self) -> tuple[str, ...]:
        """What tells it from the other cells, as it was typed; all, where there is one cell."""
        telling = [item for item in self.overrides if item not in self.common]
        others = [item for item in self.overrides if not item.startswith("experiment=")]
        return tuple(map(as_typed, telling or others))

    def __str__(self) -> str:
        return " ".join(self.own)


def compose_cells(overrides: Sequence[str], entry: str) -> list[Cell]:
    """Return the cells that `<entry>.py -m <overrides>` computes.

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
    """Return what `compose_cells` gives for overrides that name another judge; only one cell is composed.

    A judge is the same for all cells of a sweep, and changes nothing else; where that is not so, all are
    composed.

    Args:
        cells: Of the same overrides, but for `measures=`.
        overrides: As for `compose_cells`.
        entry: As for `compose_cells`.

    Raises:
        CellsError, SettingError: As `compose_cells`.
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
    """Give the jobs of a sweep, and what composes them within."""
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
    composed = composer(overrides)
    config: Any = OmegaConf.to_container(checked(composed, entry))
    return Cell(tuple(overrides), config, entry, common, _interpolated(composed))


def _interpolated(composed: DictConfig) -> frozenset[str]:
    plain: Any = OmegaConf.to_container(composed, resolve=False)
    return frozenset(name for name, value in leaves(plain, ".").items() if "${" in str(value))


def computing(overrides: Sequence[str], runs: Path, entry: str) -> list[str]:
    """Return the command that computes the cells of these overrides, into this output folder."""
    output = [] if runs == OUTPUT else [f"output={runs}"]
    return ["python", f"experiments/{entry}.py", "-m", *overrides, *output]


def judging(entry: str) -> str:
    """Return the entry point by which another judge measures finished pictures; it skips what is finished."""
    return "judge" if entry == "stylize" else entry
