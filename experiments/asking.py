"""The cells of a command or of a sweep, and the key by which the tables find the run of each cell.

A figure takes the same overrides as the experiment's command. Hydra composes the figure's cells as it
composes those of the experiment. A run belongs to a cell only if all settings that decide its result are the
same, so a figure can't mix image sets, sizes or temperatures.
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

from experiments.command import check_overrides, entry_asked
from experiments.complaints import complaint
from experiments.config import checked
from experiments.programs import find_modules_beside, words
from experiments.science import scientific, settings_of_judge
from experiments.settings import CONF
from experiments.sweeps.composing import Composer, Grid, as_typed, common, grid_of
from experiments.sweeps.sweep import Sweep, find, is_handle
from swag_repro.errors import SettingError, UserError
from swag_repro.runs.files import is_folder
from swag_repro.runs.identity import content_key, leaves
from swag_repro.runs.schema import holds_tables

JUDGE = "measures"
"""The setting that names the judge of the pictures."""

OUTPUT = Path("outputs")
"""The folder that experiments write to by default, see `conf/`."""


class UsersSettings(SearchPathPlugin):
    """A folder of the user's settings beside `conf/`, which the experiments get by `--config-dir`."""

    folder: ClassVar[Path | None] = None

    @classmethod
    def use(cls, folder: Path | None) -> None:
        """Add the folder that a command names, and let Python find the modules beside it; None adds none.

        Raises:
            SettingError: It is no folder.
        """
        if folder is None:
            return
        if not is_folder(folder):
            raise SettingError("--config-dir", "should be a folder of settings", folder, "Check the path.")
        cls.folder = folder.absolute()
        find_modules_beside(folder)

    def manipulate_search_path(self, search_path: ConfigSearchPath) -> None:
        """Add the folder to Hydra's search path."""
        if self.folder is not None:
            search_path.append("user", f"file://{self.folder}")


Plugins.instance().register(UsersSettings)


class CellsError(UserError):
    """Runs that a figure needs are missing, ambiguous, or don't belong together."""


@dataclass(frozen=True)
class Cell:
    """One job of a sweep.

    Attributes:
        overrides: The overrides that Hydra gives to the job, such as `network=vgg19`.
        config: The resolved config of the job, plain.
        entry: The entry point that computes the cell, such as `stylize`.
        common: The overrides that all cells of the sweep share.
        interpolated: Dotted keys of the settings that follow from others, such as `${images.size}`.
        runs: The ids of its runs, as far as a sweep's folder tells them.
    """

    overrides: tuple[str, ...]
    config: dict[str, Any]
    entry: str
    common: frozenset[str] = frozenset()
    interpolated: frozenset[str] = field(default=frozenset(), compare=False, repr=False)
    runs: frozenset[str] = field(default=frozenset(), compare=False, repr=False)

    @property
    def key(self) -> str:
        """The `config_key` of the runs that belong to this cell."""
        return content_key([self.entry, scientific(self.config, self.entry)])

    def key_of_judge(self, run_id: str) -> str:
        """Return the `config_key` of the run in which this cell's judge measures the pictures of a run."""
        return content_key(["judge", {JUDGE: settings_of_judge(self.config), "stylization": run_id}])

    @property
    def figure_key(self) -> str:
        """The key that cells of one figure share: it covers the result and the judge."""
        return self.key + (content_key(settings_of_judge(self.config)) if JUDGE in self.config else "")

    @property
    def own(self) -> tuple[str, ...]:
        """The overrides, as typed, that tell this cell from the others; all overrides of a single cell."""
        telling = [item for item in self.overrides if item not in self.common]
        others = [item for item in self.overrides if not item.startswith("experiment=")]
        return tuple(map(as_typed, telling or others))

    def __str__(self) -> str:
        return " ".join(self.own)


@dataclass(frozen=True)
class Wanted:
    """The cells that a command of the analysis reads.

    Attributes:
        overrides: The overrides of the experiment's command.
        entry: The entry point that computes the cells.
        output: The folder of their run directories.
        cells: The cells.
    """

    overrides: tuple[str, ...]
    entry: str
    output: Path
    cells: tuple[Cell, ...]

    @property
    def command(self) -> list[str]:
        """The command that computes them, in words."""
        return computing(self.overrides, self.output, self.entry)

    @classmethod
    def of(cls, arguments: Sequence[str], output: Path) -> Wanted:
        """Return the cells of a command's overrides, or of the one sweep that the arguments name.

        Args:
            arguments: Hydra overrides, or a handle of a sweep; see `experiments.sweeps.sweep.find`.
            output: The folder of run directories.

        Raises:
            CellsError, SettingError: The cells can't be composed, or there is no such sweep.
            StoreError: The sweep's plan can't be read.
        """
        sweep = sweep_of(arguments, output)
        if sweep is None:
            entry = entry_asked(arguments, UsersSettings.folder)
            return cls(tuple(arguments), entry, output, tuple(compose_cells(arguments, entry)))
        overrides = tuple(item for item in sweep.command if not item.startswith("output="))
        return cls(overrides, sweep.entry, sweep.output, tuple(cells_of(sweep)))


def sweep_of(arguments: Sequence[str], output: Path) -> Sweep | None:
    """Return the sweep that the arguments name; None if they are overrides.

    Raises:
        SettingError: There is no such sweep, or other arguments stand beside it.
        StoreError: Its plan can't be read.
    """
    if not any(map(is_handle, arguments)):
        return None
    if len(arguments) > 1:
        rule, remedy = "should stand alone, or else only overrides", "Leave out the one or the others."
        raise SettingError("sweep", rule, " ".join(arguments), remedy)
    return find(arguments[0], output)


def cells_of(sweep: Sweep) -> list[Cell]:
    """Return the cells of a sweep, as its plan lists them.

    Raises:
        CellsError: Hydra can't compose them any more.
        SettingError: A setting is unknown or of the wrong type.
    """
    if UsersSettings.folder is None and sweep.config_dir is not None:
        UsersSettings.folder = Path(sweep.config_dir)
    jobs = [sweep.grid[number] for number in range(len(sweep.grid))]
    always, shared = [item for item in sweep.command if item.startswith("hydra.searchpath=")], common(jobs)
    with initialized():
        composer = Composer(sweep.entry, always)
        cells = [_cell(job, composer, sweep.entry, shared) for job in jobs]
    return [replace(cell, runs=sweep.run_ids(number)) for number, cell in enumerate(cells)]


def compose_cells(overrides: Sequence[str], entry: str) -> list[Cell]:
    """Return the cells that `<entry>.py -m <overrides>` computes.

    Args:
        overrides: Overrides in Hydra's grammar, such as `experiment=fig3` and `images.size=128`.
        entry: The entry point, which has the name of its config.

    Raises:
        SettingError: Hydra can't compose the cells: a key is unknown, a value of the wrong type, or a
            mandatory one missing.
    """
    with _composing(overrides, entry) as (jobs, composer):
        shared = common(jobs)
        return [_cell(job, composer, entry, shared) for job in jobs]


def judged_again(cells: Sequence[Cell], overrides: Sequence[str], entry: str) -> list[Cell]:
    """Return what `compose_cells` returns for overrides that name another judge, composing only one cell.

    All cells of a sweep usually have the same judge, and the judge changes no other setting. Where this does
    not hold, all cells are composed.

    Args:
        cells: The cells of the same overrides with another `measures=`.
        overrides: The same as for `compose_cells`.
        entry: The same as for `compose_cells`.

    Raises:
        SettingError: The same as for `compose_cells`.
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
    """Yield the jobs of a sweep and the composer of their configs, which works within the block."""
    check_overrides(entry, overrides)
    with initialized():
        grid = _grid(overrides, entry)
        yield [grid[number] for number in range(len(grid))], Composer(entry)


@contextmanager
def initialized() -> Iterator[None]:
    """Initialise Hydra within the block, and raise its errors as a user's."""
    try:
        with initialize_config_dir(str(CONF.resolve()), version_base="1.3"):
            yield
    except (HydraException, OmegaConfBaseException) as error:
        raise complaint(error) from error


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
    config = checked(composed, entry).plain
    return Cell(tuple(overrides), config, entry, common, _interpolated(composed))


def _interpolated(composed: DictConfig) -> frozenset[str]:
    plain: Any = OmegaConf.to_container(composed, resolve=False)
    return frozenset(name for name, value in leaves(plain, ".").items() if "${" in str(value))


def computing(overrides: Sequence[str], runs: Path, entry: str) -> list[str]:
    """Return the command that computes the cells of these overrides.

    It writes into the output folder `runs`, or into the default one if that folder holds tables alone.
    """
    flags = [] if UsersSettings.folder is None else [f"--config-dir={UsersSettings.folder}"]
    output = [] if runs == OUTPUT or holds_tables(runs) else [f"output={runs}"]
    return words(entry, ["-m", *flags, *overrides, *output])


def judging(entry: str) -> str:
    """Return the entry point that measures finished pictures by another judge and skips finished runs."""
    return "judge" if entry == "stylize" else entry
