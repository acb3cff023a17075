"""Checks of a command before any cell begins."""

from __future__ import annotations

import os
import re
import shlex
import sys
from collections.abc import Iterator, Sequence
from importlib.util import find_spec
from pathlib import Path
from typing import Any, NoReturn

from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.core.override_parser.types import Override
from hydra.errors import HydraException
from hydra.experimental.callback import Callback
from omegaconf import DictConfig, OmegaConf
from omegaconf.errors import OmegaConfBaseException
from rich.markup import escape

from experiments.complaints import complaint
from experiments.programs import config_dir, find_modules_beside, hydra_overrides, task_overrides, typed
from experiments.settings import CONF, choices, entry_of, experiments, find, known_keys
from experiments.sweeps import launchers
from experiments.sweeps.composing import params_of
from experiments.sweeps.progress import console
from swag_repro.errors import SettingError, UserError
from swag_repro.program import did_you_mean
from swag_repro.runs.files import check_writable, is_folder

OmegaConf.register_new_resolver("home", os.path.expanduser, replace=True)

QUOTING = """Values with signs go in two kinds of quotes: "content='a, b (1).jpg'"."""

NAME = re.compile(r"[\w./+-]{1,200}")
"""Matches the name of a choice; Hydra would take others for interpolations, or for too long a file name."""

STRAY_COMMA = re.compile(r"(=)\s*,|,\s*(?=,|$)")
"""Matches a comma that has no value on one side, and the sign before it that stays."""

OPTIONAL = ("experiment", "preset", "preset/feedforward")
"""The groups of which a command may delete the choice, as in `~preset`; Hydra takes no null."""


def check_overrides(entry: str, overrides: Sequence[str], beside: Path | None = None) -> None:
    """Raise unless Hydra reads the overrides, choices are names, and the entry point fits the experiment.

    Args:
        entry: The entry point.
        overrides: The overrides.
        beside: A folder of the user's settings beside `conf/`.

    Raises:
        SettingError: An override fails one of these checks.
    """
    _check_pictures(entry, overrides)
    parsed = [_parsed(override) for override in overrides]
    flags = [] if beside is None else [f"--config-dir={beside}"]
    for override in parsed:
        _check_choice(override)
    for name in (name for override in parsed for name in _experiments(override)):
        if (other := entry_of(name, beside)) not in (entry, None):
            others = [one for one in experiments() if entry_of(one) == entry]
            raise SettingError(
                "experiment",
                f"should be one that {entry}.py computes: {', '.join(others)}",
                name,
                f"Type: {command(str(other), [*flags, f'experiment={name}'])}",
            )


def _check_pictures(entry: str, overrides: Sequence[str]) -> None:
    """Raise if pictures are named without their settings, and name those of the first two."""
    bare = [
        one
        for one in overrides
        if Path(one).suffix and "=" not in one and not one.startswith(("~", "+")) and one not in known_keys()
    ]
    if not bare:
        return
    given = [override.partition("=")[0] for override in overrides]
    roles = [role for role in ("content", "style") if role not in given and find(entry, role)]
    named = [f"{role}={picture}" for role, picture in zip(roles, bare, strict=False)]
    if named:
        rule, found = "should be key=value", f"{bare[0]!r} (no =)"
        raise SettingError("command", rule, found, f"Write {shlex.join(named)}.")


def _parsed(argument: str) -> Override:
    problem = "no key"
    try:
        if (override := OverridesParser.create().parse_override(argument)).key_or_group:
            return override
    except HydraException as error:
        problem = str(error).splitlines()[0].partition(" expecting {")[0]
    if "=" not in argument and not argument.startswith("~"):
        problem, remedy = "no =", f"Write {argument}=VALUE."
    elif (mended := STRAY_COMMA.sub(r"\1", argument)) != argument:
        problem, remedy = "a comma without a value on both sides", f"Write {mended}."
    else:
        remedy = QUOTING
    raise SettingError("command", "should be key=value", f"{argument!r} ({problem})", remedy)


def _check_choice(override: Override) -> None:
    """Raise if the choice of a group is no name; Hydra would stop, or drop a part that every run needs."""
    group, value = override.key_or_group, None if override.is_delete() else override.value()
    if group == "hydra/launcher" and isinstance(value, str):
        launchers.check_installed(value)
    if group == "hydra.searchpath":
        _check_places(value)
    if not is_folder(CONF / group) or override.is_sweep_override():
        return
    if isinstance(value, str) and NAME.fullmatch(value):
        return
    if override.is_delete() and group in OPTIONAL:
        return
    rule = f"should be one of {', '.join(choices(group))}"
    found = "nothing" if value is None else repr(value)
    raise SettingError(group, rule, found, "Leave it out for the default.")


def _check_places(places: Any) -> None:
    """Raise if Hydra would look for settings where nothing is; it would only warn."""
    for place in places if isinstance(places, list) else [places]:
        kind, _, path = str(place).partition("://")
        package = path.replace("/", ".").partition(".")[0]
        there = is_folder(Path(path)) if kind == "file" else kind == "pkg" and package and find_spec(package)
        if not there:
            rule, remedy = "should be folders, file://PATH or pkg://PACKAGE", "--config-dir=PATH adds one."
            raise SettingError("hydra.searchpath", rule, repr(place), remedy)


def _experiments(override: Override) -> Iterator[str]:
    if override.key_or_group != "experiment" or override.is_delete():
        return
    named = override.sweep_string_iterator() if override.is_sweep_override() else [override.value()]
    yield from (str(name) for name in named)


def entry_asked(overrides: Sequence[str], beside: Path | None = None) -> str:
    """Return the entry point that computes these overrides, from `entry=` or from their experiment's file.

    Args:
        overrides: The overrides.
        beside: A folder of the user's settings beside `conf/`.

    Raises:
        SettingError: The overrides name no entry point, or can't be read.
    """
    parsed = [_parsed(override) for override in overrides]
    given = [str(override.value()) for override in parsed if override.key_or_group == "entry"]
    named = [entry_of(name, beside) for override in parsed for name in _experiments(override)]
    if found := [entry for entry in [*given, *named] if entry is not None]:
        return found[0]
    there = choices("experiment", beside)
    for name in (name for override in parsed for name in _experiments(override)):
        if name not in there:
            own = "Of one of your own, name the folder of settings: --config-dir=conf."
            remedy = did_you_mean(name, there, own if beside is None else "`swag experiments` lists them.")
            rule = "should be the name of an experiment"
            raise SettingError("experiment", rule, repr(name), remedy)
    rule = "should be given, or the entry point of a sweep without one"
    example = "Type experiment=smoke, or entry=stylize beside the sweep's own overrides."
    raise SettingError("experiment", rule, " ".join(overrides) or "nothing", example)


def command(entry: str, overrides: Sequence[str]) -> str:
    """Return the command that computes all cells of a sweep, as typed in a shell."""
    return typed(entry, ["-m", *overrides])


class CommandCallback(Callback):
    """A callback that ends the process before the first cell if no cell can be computed.

    It also makes known the modules beside the user's folders of settings. Hydra turns exceptions of
    callbacks into warnings, so only an exit ends the process.
    """

    def on_run_start(self, config: DictConfig, **_: Any) -> None:
        """Exit if the experiment is a sweep and `-m` is missing, or if the output can't be written."""
        try:
            _check_single(config)
        except (UserError, OmegaConfBaseException) as error:
            exit_with(complaint(error))

    def on_job_start(self, config: DictConfig, **_: Any) -> None:
        """Let Python find the user's modules, in each process that computes."""
        for source in config.hydra.runtime.config_sources:
            if source.schema == "file":
                find_modules_beside(Path(source.path))


def _check_single(config: DictConfig) -> None:
    overrides = task_overrides(config.hydra)
    given = {OverridesParser.create().parse_override(item).key_or_group for item in overrides}
    given |= set(OmegaConf.select(config, "search.space", default={}))
    if swept := [key for key in params_of(config.hydra) if key not in given]:
        flags = [] if (folder := config_dir(config.hydra)) is None else [f"--config-dir={folder}"]
        program = config.entry if "search" in config else config.hydra.job.name
        words = [*flags, *overrides, *hydra_overrides(config.hydra)]
        rule, remedy = "should be given, or one value for each", command(program, words)
        raise SettingError("-m", rule, f"a sweep over {', '.join(swept)}", f"Type: {remedy}")
    check_writable(Path(config.hydra.run.dir))


def exit_with(error: UserError) -> NoReturn:
    """Print a user's error and end the process with status 1."""
    console.print(f"[bold red]error:[/] {escape(str(error))}")
    sys.exit(1)
