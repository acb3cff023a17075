"""The process of an entry point: its exit status, its signals, and errors before any cell begins."""

from __future__ import annotations

import os
import signal
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from hydra import compose, initialize_config_dir
from hydra.errors import HydraException
from omegaconf.errors import OmegaConfBaseException
from rich.markup import escape

from experiments import command
from experiments.signals import handled, interrupt
from experiments.sweeps.plan import SweepCallback, summarize
from experiments.sweeps.progress import console

CONF = str(command.CONF)
"""As Hydra takes it."""

FULL_ERROR = "HYDRA_FULL_ERROR"
"""Where a user sets it, exceptions of Hydra and its launchers are printed whole."""


def launch(main: Callable[[], None]) -> None:
    """Runs an entry point; prints a multirun's summary.

    Exit status 1 if a cell failed, 128 + n after signal n: 130 on Ctrl-C.

    Args:
        main: of an importable module: other processes' launchers pickle what is in `__main__` by value, and
            all that it refers to.
    """
    stopped_by: list[int] = []
    status = _status(main, stopped_by)
    if stopped_by:
        console.print("\nInterrupted. The same command goes on where it stopped.")
        status = 128 + stopped_by[0]
    if SweepCallback.started is not None:
        complete = summarize(SweepCallback.started, interrupted=bool(stopped_by))
        status = status or int(not complete)
    sys.exit(status)


def _status(main: Callable[[], None], stopped_by: list[int]) -> int:
    """Of an entry point, as for a shell; `stopped_by` takes signals that ended it."""

    def ask(number: int) -> None:
        """Cells in other processes finish what is under way; a second signal waits for nothing."""
        if SweepCallback.started is None or stopped_by:
            interrupt(number)
        else:
            stopped_by.append(number)
            SweepCallback.started.stop()

    try:
        with handled(ask), _errors_raised():
            main()
    except KeyboardInterrupt as error:
        stopped_by.append(getattr(error, "number", signal.SIGINT))
    except SystemExit as error:
        return error.code if isinstance(error.code, int) else int(error.code is not None)
    except (HydraException, OmegaConfBaseException) as error:
        _explain(error)
        sys.exit(1)  # nothing is begun before all cells compose
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


def _explain(error: Exception) -> None:
    """Says why a config does not compose; in a sweep, of which cell."""
    causes = [error, *([error.__cause__] if isinstance(error.__cause__, OmegaConfBaseException) else [])]
    console.print("[bold red]error:[/] " + escape("\n".join(_shortened(str(cause)) for cause in causes)))
    if (sweep := SweepCallback.started) is not None:
        refused = next((job for job in SweepCallback.jobs if not _composes(job)), [])
        console.print(f"The first such cell is {escape(' '.join(sweep.own(refused)))}. Nothing was computed.")


def _shortened(message: str) -> str:
    """Hydra's message with the choices of a group in one line, and without where it looked for them."""
    text, _, _ = message.partition("\nConfig search path:")
    before, found, choices = text.partition("\n\nAvailable options in ")
    group, _, listed = choices.partition(":\n")
    return f"{before}. {group} should be one of {', '.join(listed.split())}" if found else text


def _composes(overrides: list[str]) -> bool:
    try:
        with initialize_config_dir(CONF, version_base="1.3"):
            compose(SweepCallback.entry, overrides)
    except (HydraException, OmegaConfBaseException):
        return False
    return True
