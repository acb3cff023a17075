"""The command line of an entry point: its flags, its help, and the checks of its overrides."""

from __future__ import annotations

import inspect
import sys
from argparse import Namespace
from collections.abc import Callable, Sequence
from functools import wraps
from itertools import pairwise
from pathlib import Path

import hydra
from omegaconf import DictConfig

from experiments import help as helping
from experiments.command import check_overrides, exit_with
from experiments.settings import CONF, known_keys
from swag_repro.errors import SettingError, UserError
from swag_repro.program import Parser, UsageError, check_flags
from swag_repro.runs.files import is_folder

SWEEP_FLAGS = {
    "--retry-failed": "sweep=retry_failed",
    "--only-missing": "sweep=only_missing",
    "--dry-run": "sweep=dry_run",
}
"""This project's flags, each of which stands for a choice of `conf/sweep`."""

PASSED_ON = ("config_dir", "cfg", "package", "info")
"""The flags of Hydra that take a value."""


def entry_point(
    reads: str, *, shows: str, computes: str | None = None
) -> Callable[[Callable[[DictConfig], None]], Callable[[], None]]:
    """Make a function of a config an entry point of Hydra that prints its help and checks its command.

    An invalid command ends with status 1 and one message.

    Args:
        reads: The name of the config that the entry point takes.
        shows: The settings that its short help explains, separated by spaces.
        computes: The entry point of the cells that a search computes; None for an entry point that computes
            its own cells. A search can't be swept.
    """

    def decorate(main: Callable[[DictConfig], None]) -> Callable[[], None]:
        start = hydra.main(version_base="1.3", config_path=str(CONF), config_name=reads)(main)

        @wraps(main)
        def checked_main() -> None:
            try:
                given = parsed_flags(sys.argv[1:])
                if given.help is not None:
                    print(_help(main, reads, shows.split(), given.help))
                    return
                if computes is not None and given.multirun:
                    rule, remedy = "should be left out", "Several processes share it: give it several times."
                    raise SettingError("-m", rule, f"a sweep over {reads}.py", remedy)
                check_overrides(computes or reads, given.overrides, given.config_dir)
            except UserError as error:
                exit_with(error)
            sys.argv[1:] = _for_hydra(given)
            start()

        return checked_main

    return decorate


def _help(main: Callable[[DictConfig], None], reads: str, shown: Sequence[str], asked: str) -> str:
    about = inspect.getdoc(sys.modules[main.__module__]) or ""
    return helping.of_key(reads, asked) if asked else helping.of_entry(reads, about, shown)


def flags(prog: str | None = None) -> Parser:
    """Return the parser of an entry point's flags: those of Hydra that are documented, and `--help KEY`."""
    parser = Parser(prog=prog, add_help=False)
    parser.add_argument("overrides", nargs="*")
    parser.add_argument("-h", "--help", nargs="?", const="", metavar="KEY")
    parser.add_argument("-cd", "--config-dir", metavar="DIR", type=Path)
    parser.add_argument("-p", "--package")
    parser.add_argument("--resolve", action="store_true")
    form = parser.add_mutually_exclusive_group()
    form.add_argument("-m", "--multirun", action="store_true")
    form.add_argument("-c", "--cfg", choices=("job", "hydra", "all"))
    form.add_argument("-i", "--info", nargs="?", const="all", choices=helping.INFORMATION)
    return parser


def parsed_flags(arguments: Sequence[str]) -> Namespace:
    """Return the flags and overrides of a command, which may come in any order.

    Raises:
        UserError: A flag is unknown, or its value is none that it takes.
    """
    parser = flags()
    given, others = parser.parse_known_intermixed_args([SWEEP_FLAGS.get(item, item) for item in arguments])
    for flag, value in pairwise([*arguments, "VALUE"]):
        if flag in others and (key := flag.lstrip("-")) in known_keys():
            value = "VALUE" if "=" in value or value.startswith("-") else value
            raise UsageError(f"unknown argument: {flag}", f"Write {key}={value}, without hyphens.")
    check_flags(others, {*helping.FLAGS_IN_WORDS, *SWEEP_FLAGS}, parser.prog)
    if given.resolve and given.cfg is None:
        raise SettingError("--resolve", "should stand beside --cfg", "it alone", "Type: --cfg job --resolve")
    if given.config_dir is not None and not is_folder(given.config_dir):
        raise SettingError(
            "--config-dir", "should be a folder", given.config_dir, "It has groups as folders."
        )
    return given


def _for_hydra(given: Namespace) -> list[str]:
    """Return the arguments that Hydra reads."""
    valued = {f"--{name.replace('_', '-')}": getattr(given, name) for name in PASSED_ON}
    set_ = {"--multirun": given.multirun, "--resolve": given.resolve}
    passed = [part for flag, value in valued.items() if value is not None for part in (flag, str(value))]
    return [*passed, *(flag for flag, is_set in set_.items() if is_set), *given.overrides]
