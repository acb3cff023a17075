"""Checks of a command, before anything runs."""

from __future__ import annotations

import shlex
import sys
from collections.abc import Callable, Iterator, Sequence
from functools import wraps
from pathlib import Path
from typing import Any

from hydra import compose, initialize_config_dir
from hydra._internal.utils import get_args_parser  # Hydra's flags stand nowhere else
from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.core.override_parser.types import Override
from hydra.errors import HydraException
from hydra.experimental.callback import Callback
from omegaconf import DictConfig, OmegaConf
from rich.markup import escape

import conf
from experiments.sweeps import launchers
from experiments.sweeps.progress import console
from swag_repro.errors import SettingError, StoreError, UserError
from swag_repro.runs.files import check_writable, parse_yaml

CONF = Path(conf.__file__).parent

QUOTING = """Values with signs go in two kinds of quotes: "content='a, b (1).jpg'"."""

NOTES = f"-m computes a sweep. {QUOTING} --hydra-help: Hydra's own flags."

OPTIONAL = ("experiment", "preset", "preset/feedforward")
"""Groups of which nothing may be chosen."""


def checked_command(
    reads: str, *, computes: str | None = None
) -> Callable[[Callable[[], None]], Callable[[], None]]:
    """Makes an entry point refuse a command that can't be meant, with status 1 and one message.

    Args:
        reads: The name of the config that the entry point takes.
        computes: The entry point whose cells it computes, of one that is no cell itself; then there is no
            sweep over it.
    """

    def decorate(main: Callable[[], None]) -> Callable[[], None]:
        @wraps(main)
        def checked_main() -> None:
            given = get_args_parser().parse_known_args()[0]
            try:
                if computes is not None and given.multirun:
                    rule, remedy = "should be left out", "Several processes share it: give it several times."
                    raise SettingError("-m", rule, f"a sweep over {reads}.py", remedy)
                check(computes or reads, given.overrides)
            except UserError as error:
                _refuse(error)
            if given.help:
                print(_help(reads, given.overrides, computes or reads))
            else:
                main()

        return checked_main

    return decorate


def check(entry: str, overrides: Sequence[str]) -> None:
    """Whether Hydra can read the overrides, choices are names, and the experiment is the entry point's.

    Raises:
        SettingError: No.
    """
    parsed = [_parsed(override) for override in overrides]
    for override in parsed:
        _check_choice(override)
    for name in (name for override in parsed for name in _experiments(override)):
        if (other := entry_of(name)) not in (entry, None):
            others = [one for one in experiments() if entry_of(one) == entry]
            raise SettingError(
                "experiment",
                f"should be one that {entry}.py computes: {', '.join(others)}",
                name,
                f"Type: {command(str(other), [f'experiment={name}'])}",
            )


def _help(entry: str, overrides: Sequence[str], computes: str) -> str:
    """What Hydra's own help takes three seconds for, as it lists all groups with all their files twice."""
    with initialize_config_dir(str(CONF), version_base="1.3"):
        config = OmegaConf.to_yaml(compose(entry, list(overrides)))
    sweeps = "[-m] " if computes == entry else ""
    usage = f"python experiments/{entry}.py {sweeps}[experiment=...] [group=choice ...] [key=value ...]"
    return f"{usage}\n\n== Groups ==\n{_groups(computes)}\n\n== Config ==\n{config}\n{NOTES}"


def _parsed(argument: str) -> Override:
    problem = "no key"
    try:
        if (override := OverridesParser.create().parse_override(argument)).key_or_group:
            return override
    except HydraException as error:
        problem = str(error).splitlines()[0]
    raise SettingError("command", "should be key=value", f"{argument!r} ({problem})", QUOTING)


def _check_choice(override: Override) -> None:
    """Of a group: what is no name makes Hydra give up, or leaves a part out without which nothing runs."""
    group, value = override.key_or_group, None if override.is_delete() else override.value()
    if group == "hydra/launcher" and isinstance(value, str):
        launchers.check_installed(value)
    if not (CONF / group).is_dir() or override.is_sweep_override() or isinstance(value, str):
        return
    if value is None and group in OPTIONAL:
        return
    rule = f"should be one of {', '.join(_choices(group))}"
    found = "nothing" if value is None else repr(value)
    raise SettingError(group, rule, found, "Leave it out for the default.")


def _choices(group: str) -> list[str]:
    return sorted(path.stem for path in (CONF / group).glob("*.yaml"))


def _experiments(override: Override) -> Iterator[str]:
    if override.key_or_group != "experiment" or override.is_delete():
        return
    named = override.sweep_string_iterator() if override.is_sweep_override() else [override.value()]
    yield from (str(name) for name in named)


def experiments() -> list[str]:
    """Names of all files of `conf/experiment`."""
    return _choices("experiment")


def entry_asked(overrides: Sequence[str]) -> str:
    """The entry point that computes what these overrides name: by `entry=`, or by their experiment's file.

    Raises:
        SettingError: They name none, or can't be read.
    """
    parsed = [_parsed(override) for override in overrides]
    given = [str(override.value()) for override in parsed if override.key_or_group == "entry"]
    named = [entry_of(name) for override in parsed for name in _experiments(override)]
    if found := [entry for entry in [*given, *named] if entry is not None]:
        return found[0]
    rule = "should be given, or the entry point of a sweep without one"
    example = "Type experiment=smoke, or entry=stylize beside the sweep's own overrides."
    raise SettingError("experiment", rule, " ".join(overrides) or "nothing", example)


def entry_of(experiment: str) -> str | None:
    """The entry point that an experiment's file says it is for; None without a file, or if it doesn't say."""
    path = CONF / "experiment" / f"{experiment}.yaml"
    if not path.is_file():
        return None
    entry: str | None = parse_yaml(path.read_text()).get("entry")
    return entry


def command(entry: str, overrides: Sequence[str]) -> str:
    """What computes all cells of a sweep."""
    return shlex.join(["python", f"experiments/{entry}.py", "-m", *overrides])


def _groups(entry: str) -> str:
    """The choices of each group of `conf/`; of experiments, those of an entry point."""
    choices = {
        folder.name: _choices(folder.name)
        for folder in sorted(CONF.iterdir())
        if folder.name != "hydra" and any(folder.glob("*.yaml"))
    }
    choices["experiment"] = [name for name in experiments() if entry_of(name) in (entry, None)]
    return "\n".join(f"{group}: {', '.join(names)}" for group, names in choices.items())


class CommandCallback(Callback):
    """Ends the process before a single cell is computed, where none can be.

    Hydra makes warnings of exceptions here, so that only an exit does it.
    """

    def on_run_start(self, config: DictConfig, **_: Any) -> None:
        """Where an experiment's sweep is asked for without `-m`, or the output folder can't be written to."""
        # As they were typed: an interpolation is the job's to resolve.
        overrides: Any = OmegaConf.to_container(config.hydra.overrides.task, resolve=False)
        given = {OverridesParser.create().parse_override(item).key_or_group for item in overrides}
        given |= set(OmegaConf.select(config, "search.space", default={}))
        swept = [key for key in config.hydra.sweeper.params or {} if key not in given]
        if swept:
            rule, remedy = "should be given, or one value for each", command(config.entry, overrides)
            _refuse(SettingError("-m", rule, f"a sweep over {', '.join(swept)}", f"Type: {remedy}"))
        try:
            check_writable(Path(config.output))
        except StoreError as error:
            _refuse(error)


def _refuse(error: UserError) -> None:
    console.print(f"[bold red]error:[/] {escape(str(error))}")
    sys.exit(1)
