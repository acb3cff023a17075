"""The process of an entry point: its exit status, its signals, and errors before any cell begins."""

from __future__ import annotations

import os
import signal
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from hydra.errors import HydraException
from omegaconf.errors import OmegaConfBaseException
from rich.markup import escape

from experiments.complaints import complaint
from experiments.signals import handled, interrupt
from experiments.sweeps.launching import summarize
from experiments.sweeps.progress import console
from experiments.sweeps.sweep import Sweep
from swag_repro.errors import UserError
from swag_repro.program import is_lost, standard_streams

FULL_ERROR = "HYDRA_FULL_ERROR"
"""If this variable is set, exceptions of Hydra and its launchers are printed with their tracebacks."""


EXPLAINED = (UserError, HydraException, OmegaConfBaseException)
"""The exceptions that a user can cause and mend."""


def launch(main: Callable[[], None]) -> None:
    """Run an entry point, print a multirun's summary, and end the process.

    The exit status is 1 if a cell failed, and 128 + n after signal n, such as 130 on Ctrl-C.

    Args:
        main: A function of an importable module. The launchers of other processes would pickle a function of
            `__main__` by value, with all that it refers to.
    """
    with standard_streams():
        stopped_by: list[int] = []
        status = _status(main, stopped_by)
        if stopped_by:
            console.print("\nInterrupted. The same command goes on where it stopped.")
            status = 128 + stopped_by[0]
        if Sweep.launched is not None:
            complete = summarize(Sweep.launched)
            status = status or int(not complete)
        sys.exit(status)


def _status(main: Callable[[], None], stopped_by: list[int]) -> int:
    """Run an entry point and return its exit status; `stopped_by` collects the signals that ended it."""

    def ask(number: int) -> None:
        """Ask workers to finish their cells; end at once if there are none, or at a second signal."""
        if Sweep.launched is None or stopped_by:
            interrupt(number)
        else:
            stopped_by.append(number)
            Sweep.launched.stop()

    try:
        with handled(ask), _errors_raised():
            main()
    except KeyboardInterrupt as error:
        stopped_by.append(getattr(error, "number", signal.SIGINT))
    except SystemExit as error:
        return error.code if isinstance(error.code, int) else int(error.code is not None)
    except EXPLAINED as error:
        _explain(error)
        return 1
    except Exception as error:  # a launcher lost a worker, or the disk is full
        if is_lost(error):
            raise
        console.print(f"[bold red]error:[/] {escape(f'{type(error).__name__}: {error}')}")
        return 1
    return 0


@contextmanager
def _errors_raised() -> Iterator[None]:
    """Make Hydra raise its exceptions within the block, instead of printing them and ending the process."""
    before = os.environ.get(FULL_ERROR)
    os.environ[FULL_ERROR] = "1"
    try:
        yield
    except Exception:
        if before is not None:
            console.print_exception()
        raise
    finally:
        del os.environ[FULL_ERROR]
        if before is not None:
            os.environ[FULL_ERROR] = before


@contextmanager
def explained() -> Iterator[None]:
    """Print a user's error within the block and end the process; Hydra would print more."""
    try:
        yield
    except EXPLAINED as error:
        _explain(error)
        sys.exit(1)


def _explain(error: Exception) -> None:
    """Print why nothing is computed."""
    console.print(f"[bold red]error:[/] {escape(str(complaint(error)))}")
