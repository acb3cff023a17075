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

from experiments.signals import handled, interrupt
from experiments.sweeps.launching import CompositionError, summarize
from experiments.sweeps.progress import console
from experiments.sweeps.sweep import Sweep
from swag_repro.errors import UserError

FLAGS = {
    "--retry-failed": "sweep=retry_failed",
    "--only-missing": "sweep=only_missing",
    "--dry-run": "sweep=dry_run",
}
"""Of ours, which stand for a choice of `conf/sweep`."""

FULL_ERROR = "HYDRA_FULL_ERROR"
"""Where a user sets it, exceptions of Hydra and its launchers are printed whole."""


EXPLAINED = (UserError, CompositionError, HydraException, OmegaConfBaseException)
"""What is the user's to mend."""


def launch(main: Callable[[], None]) -> None:
    """Runs an entry point; prints a multirun's summary.

    Exit status 1 if a cell failed, 128 + n after signal n: 130 on Ctrl-C.

    Args:
        main: of an importable module: other processes' launchers pickle what is in `__main__` by value, and
            all that it refers to.
    """
    sys.argv[1:] = [FLAGS.get(argument, argument) for argument in sys.argv[1:]]
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
    """Of an entry point, as for a shell; `stopped_by` takes signals that ended it."""

    def ask(number: int) -> None:
        """Cells in other processes finish what is under way; a second signal waits for nothing."""
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
    except Exception as error:  # of a launcher: it lost a worker, or the disk is full
        console.print(f"[bold red]error:[/] {escape(f'{type(error).__name__}: {error}')}")
        return 1
    return 0


@contextmanager
def _errors_raised() -> Iterator[None]:
    """Within, Hydra raises what it would print, mostly with a traceback, before it ends the process."""
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
    """Within an entry point's main, such an exception ends the process at once; Hydra would say more."""
    try:
        yield
    except EXPLAINED as error:
        _explain(error)
        sys.exit(1)


def _explain(error: Exception) -> None:
    """Says why nothing is computed; of a config that does not compose in a sweep, also of which cell."""
    cell = error.cell if isinstance(error, CompositionError) else None
    error = error.__cause__ if isinstance(error, CompositionError) else error  # type: ignore[assignment]
    causes = [error, *([error.__cause__] if isinstance(error.__cause__, OmegaConfBaseException) else [])]
    console.print("[bold red]error:[/] " + escape("\n".join(_shortened(str(cause)) for cause in causes)))
    if cell is not None:
        console.print(escape(f"The first such cell is {cell}. Nothing was computed."))


def _shortened(message: str) -> str:
    """Hydra's message with the choices of a group in one line, and without where it looked for them."""
    text, _, _ = message.partition("\nConfig search path:")
    before, found, choices = text.partition("\n\nAvailable options in ")
    group, _, listed = choices.partition(":\n")
    return f"{before}. {group} should be one of {', '.join(listed.split())}" if found else text
