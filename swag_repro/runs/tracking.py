"""Weights & Biases as a mirror of a run directory; a run's own result never depends on it."""

from __future__ import annotations

import logging
import os
import shutil
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from itertools import pairwise
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, get_args

from swag_repro.errors import SettingError, check_choice
from swag_repro.runs.identity import leaves
from swag_repro.runs.records import reason_of

if TYPE_CHECKING:
    import numpy as np
    import pandas as pd
    import wandb
    from PIL.Image import Image as Picture

logger = logging.getLogger(__name__)

Mode = Literal["online", "offline", "disabled"]
MODES: tuple[Mode, ...] = get_args(Mode)
"""Where one can't be started, the next takes its place."""


class Tracker:
    """One W&B run, or none: then everything sent is dropped.

    The first thing that W&B can't take ends the mirroring with a warning, and nothing else.
    """

    def __init__(self, run: wandb.Run | None) -> None:
        self._run = run
        self._broken = False

    def axis(self, name: str, *curves: str) -> None:
        """Draws curves, such as `loss/*`, over the values that are logged under this name beside them."""

        def define(run: wandb.Run) -> None:
            run.define_metric(name, hidden=True)
            for curve in curves:
                run.define_metric(curve, step_metric=name)

        self._mirror(define)

    def log(self, values: Mapping[str, float]) -> None:
        """One point of each curve."""
        self._mirror(lambda run: run.log(dict(values)))

    def table(self, name: str, rows: pd.DataFrame) -> None:
        """A table, row for row."""

        def send(run: wandb.Run) -> None:
            from wandb import Table

            run.log({name: Table(dataframe=rows)})

        self._mirror(send)

    def images(self, name: str, images: Iterable[tuple[Picture | np.ndarray, str]]) -> None:
        """Images side by side, each with its caption: PIL's, or arrays of shape (H, W, 3) in [0, 255]."""

        def send(run: wandb.Run) -> None:
            from wandb import Image

            run.log({name: [Image(image, caption=caption) for image, caption in images]})

        self._mirror(send)

    def summary(self, values: Mapping[str, Any]) -> None:
        """What describes the whole run; a later value replaces an earlier one."""
        self._mirror(lambda run: run.summary.update(dict(values)))

    def finish(self, *, exit_code: int) -> None:
        """Ends the W&B run; waits for its upload no longer than the timeout it was started with."""
        if self._run is not None:
            try:
                self._run.finish(exit_code=exit_code)
            except _failures() as error:
                _warn("W&B could not finish; `wandb sync` sends what it has", error)

    def _mirror(self, send: Callable[[wandb.Run], None]) -> None:
        if self._run is None or self._broken:
            return
        try:
            send(self._run)
        except _failures() as error:
            self._broken = True
            _warn("W&B mirrors this run no further; its own files are not touched by that", error)


@contextmanager
def tracked(
    *,
    run_id: str,
    mode: str,
    project: str,
    directory: Path,
    name: str,
    group: str,
    job_type: str,
    config: Mapping[str, Any],
    timeout: float,
    tags: Sequence[str] = (),
    entity: str | None = None,
) -> Iterator[Tracker]:
    """One W&B run that ends with the block; with exit code 1, and the reason, if that raises.

    It has the id of its run directory: another attempt goes on with it, where the server knows it.

    Without a server that answers, the run is mirrored offline, and where W&B does not start, not at all; a
    logged warning says so. The server is the one of the user's W&B settings.

    Args:
        run_id: Of the run directory.
        mode: One of `MODES`.
        project: W&B's project.
        directory: The run directory; all that W&B writes lies below it.
        name: The run's name.
        group: Of the runs shown together, such as `fig3`.
        job_type: Such as the experiment's name.
        config: The resolved config, plain; W&B gets it flat, as `network/name`, to filter and group by.
        timeout: For how many seconds a server is waited for, at the start and again at the end.
        tags: To find it by.
        entity: W&B's team or user; the user's default if None.

    Raises:
        SettingError: `mode` is unknown, or `timeout` not positive.
    """
    _check(mode, timeout)
    names = {"project": project, "entity": entity, "name": name, "group": group, "job_type": job_type}
    settings = {**leaves(config, "/"), "run_id": run_id}
    options = {**names, "id": run_id, "dir": directory, "tags": list(tags), "config": settings}
    with _quiet_below(directory):
        tracker = Tracker(_started(mode, timeout, options))
        try:
            yield tracker
        except BaseException as error:
            tracker.summary({"state": "failed", "reason": reason_of(error)})
            tracker.finish(exit_code=1)
            raise
        tracker.summary({"state": "finished"})
        tracker.finish(exit_code=0)


def _check(mode: str, timeout: float) -> None:
    check_choice("tracking.mode", mode, MODES)
    if not timeout > 0:
        raise SettingError("tracking.timeout", "should be positive", timeout, "Choose some seconds.")


@contextmanager
def _quiet_below(directory: Path) -> Iterator[None]:
    """Has W&B print nothing, and stage and cache its files below this directory, not in the user's home."""
    own = directory.absolute() / "wandb"
    settings = {"WANDB_DATA_DIR": f"{own}/data", "WANDB_CACHE_DIR": f"{own}/cache", "WANDB_SILENT": "true"}
    before = {name: os.environ.get(name) for name in settings}
    os.environ.update(settings)
    try:
        yield
    finally:
        for name, value in before.items():
            del os.environ[name]
            if value is not None:
                os.environ[name] = value


def _started(mode: str, timeout: float, options: Mapping[str, Any]) -> wandb.Run | None:
    for attempt, instead in pairwise(MODES[MODES.index(mode) :]):
        try:
            return _init(attempt, timeout, options)
        except _failures() as error:
            _warn(f"W&B can't run {attempt}, so this run goes on with W&B {instead}", error)
        _end_service()  # which holds the refused run's id
        # `wandb sync` would send the empty run that a refused attempt leaves.
        for refused in Path(options["dir"], "wandb").glob("run-*"):
            shutil.rmtree(refused, ignore_errors=True)
    return None


def _end_service() -> None:
    import wandb

    with suppress(*_failures()):
        wandb.teardown(exit_code=1)
    os.environ.pop("WANDB_SERVICE", None)  # by which the next run would look for it


def _init(mode: Mode, timeout: float, options: Mapping[str, Any]) -> wandb.Run:
    import wandb

    # `init` would ask for a missing key where there is a terminal, and wait for the answer.
    if mode == "online" and not wandb.login(prompt=False, verify=False):
        raise wandb.errors.UsageError("no API key is configured; `wandb login` stores one")
    settings = wandb.Settings(
        console="off", init_timeout=timeout, finish_timeout=timeout, finish_timeout_raises=True
    )
    # One W&B run a cell, also where one process computes many.
    # Offline it could not know of an earlier attempt; the server takes both for one run by their id.
    resume: Literal["allow"] | None = "allow" if mode == "online" else None
    return wandb.init(mode=mode, reinit="create_new", resume=resume, settings=settings, **options)


def _warn(consequence: str, error: Exception) -> None:
    first_line = str(error).partition("\n")[0]
    logger.warning("%s: %s: %s", consequence, type(error).__name__, first_line)


def _failures() -> tuple[type[Exception], ...]:
    import wandb
    from wandb.sdk.lib.service.service_token import WandbServiceConnectionError
    from wandb.sdk.mailbox import HandleAbandonedError, MailboxClosedError
    from wandb.sdk.mailbox.mailbox_handle import ServerResponseError

    of_service = (HandleAbandonedError, MailboxClosedError, ServerResponseError, WandbServiceConnectionError)
    return wandb.errors.Error, OSError, *of_service
