"""One W&B run: started, fed, ended; what W&B can't take ends the mirroring and nothing else."""

from __future__ import annotations

import logging
import os
import shutil
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager, suppress
from http import HTTPStatus
from itertools import pairwise
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, get_args

from swag_repro.errors import SettingError, check_choice
from swag_repro.runs.records import reason_of
from swag_repro.tracking.about import About

if TYPE_CHECKING:
    import numpy as np
    import pandas as pd
    import wandb
    from PIL.Image import Image as Picture

logger = logging.getLogger(__name__)

Mode = Literal["online", "offline", "disabled"]
MODES: tuple[Mode, ...] = get_args(Mode)
"""Where one can't be started, the next takes its place."""

COMPLETE = "complete"
"""A file beside a W&B run's log that was written to its end: `sync` makes anew what has none."""

ANSWER = 5.0
"""Seconds in which a server should answer anything, in the middle of a run."""

AWAY = 300.0
"""For so many seconds after a server did not answer, a process starts its runs offline, without asking."""


class Tracker:
    """One W&B run, or none: then everything sent is dropped.

    The first thing that W&B can't take ends the mirroring with a warning, and nothing else.

    Args:
        run: W&B's.
        first_step: Of W&B's own count of what is logged; None to let it count.
    """

    def __init__(self, run: wandb.Run | None, *, first_step: int | None = None) -> None:
        self._run = run
        self._whole = True
        self._step = first_step

    @property
    def sends(self) -> bool:
        """Whether anything sent still arrives."""
        return self._run is not None and self._whole

    def axis(self, name: str, *curves: str) -> None:
        """Draws curves, such as `loss/*`, over the values that are logged under this name beside them."""

        def define(run: wandb.Run) -> None:
            run.define_metric(name, hidden=True)
            for curve in curves:
                run.define_metric(curve, step_metric=name)

        self._mirror(define)

    def log(self, values: Mapping[str, float]) -> None:
        """One point of each curve."""
        self._mirror(lambda run: self._log(run, dict(values)))

    def table(self, name: str, rows: pd.DataFrame) -> None:
        """A table, row for row."""

        def send(run: wandb.Run) -> None:
            from wandb import Table

            _ask(run)
            self._log(run, {name: Table(dataframe=rows)})

        self._mirror(send)

    def images(self, name: str, images: Iterable[tuple[Picture | np.ndarray, str]]) -> None:
        """Images side by side, each with its caption: PIL's, or arrays of shape (H, W, 3) in [0, 255]."""

        def send(run: wandb.Run) -> None:
            from wandb import Image

            self._log(run, {name: [Image(image, caption=caption) for image, caption in images]})

        self._mirror(send)

    def summary(self, values: Mapping[str, Any]) -> None:
        """What describes the whole run; a later value replaces an earlier one."""
        self._mirror(lambda run: run.summary.update(dict(values)))

    def artifact(
        self,
        name: str,
        kind: str,
        files: Mapping[str, Path],
        added: Mapping[str, str],
        about: Mapping[str, Any],
    ) -> None:
        """Files as one artifact, which other runs can name; of the same content there is one version.

        Args:
            name: Unique in the project, such as `run-0123456789abcdef`.
            kind: W&B's type of it.
            files: By their names in it. They should stay as they are: they are read when they are sent.
            added: The text of further files by their names.
            about: Its metadata.
        """

        def send(run: wandb.Run) -> None:
            from wandb import Artifact

            _ask(run)
            artifact = Artifact(name, kind, metadata=dict(about))
            for file, path in files.items():
                artifact.add_file(str(path), file, policy="immutable", skip_cache=True)
            for file, text in added.items():
                with artifact.new_file(file) as stream:
                    stream.write(text)
            run.log_artifact(artifact)

        self._mirror(send)

    def end(self, reason: str | None) -> None:
        """Ends the W&B run: finished, or failed with a reason, and exit code 1.

        It waits for its upload no longer than the timeout it was started with.
        """
        self.summary({"state": "finished"} if reason is None else {"state": "failed", "reason": reason})
        if self._run is None:
            return
        try:
            self._run.finish(exit_code=0 if reason is None else 1)
        except failures() as error:
            self._lose(
                "W&B could not finish; `python -m swag_repro.tracking sync` sends what is missing", error
            )
        if self._whole:
            self._mark(self._run)

    def _log(self, run: wandb.Run, values: dict[str, Any]) -> None:
        run.log(values, step=self._step)
        self._step = None if self._step is None else self._step + 1

    def _mark(self, run: wandb.Run) -> None:
        """Says of the log that it is whole; of one that was sent, as `wandb sync` says it."""
        log = log_of(Path(run.settings.sync_dir))
        with suppress(OSError):
            log.with_name(COMPLETE).touch()
            if run.settings.mode == "online":
                synced(log).touch()

    def _mirror(self, send: Callable[[wandb.Run], None]) -> None:
        if self._run is None or not self._whole:
            return
        try:
            send(self._run)
        except failures() as error:
            self._lose("W&B mirrors this run no further; its own files are not touched by that", error)

    def _lose(self, consequence: str, error: Exception) -> None:
        self._whole = False
        if self._run is not None and self._run.settings.mode == "online":
            _Server.away()
        _warn(consequence, error)


def _ask(run: wandb.Run) -> None:
    """W&B asks the server of each artifact, and of one that is gone for half a minute."""
    if run.settings.mode == "online":
        probe(run.settings, ANSWER)


def probe(settings: wandb.Settings, timeout: float) -> None:
    """Whether a server answers anything; an `OSError` if not within so many seconds."""
    given = {"http": settings.http_proxy, "https": settings.https_proxy}
    proxies = {scheme: proxy for scheme, proxy in given.items() if proxy}
    opener = urllib.request.build_opener(urllib.request.ProxyHandler(proxies or None))
    try:
        opener.open(f"{settings.base_url}/healthz", timeout=timeout).close()
    except urllib.error.HTTPError as error:
        with error:
            if error.code >= HTTPStatus.INTERNAL_SERVER_ERROR:
                raise


def log_of(directory: Path) -> Path:
    """The log in one of W&B's own directories, such as `wandb/offline-run-20261122_042734-<run id>`."""
    return directory / f"run-{directory.name.rpartition('-')[2]}.wandb"


def synced(log: Path) -> Path:
    """The file by which W&B marks a log as sent."""
    return log.with_name(f"{log.name}.synced")


class _Server:
    """Whether this process has lost the server, so that each of its cells need not find out by waiting."""

    back_at = 0.0

    @classmethod
    def away(cls) -> None:
        cls.back_at = time.monotonic() + AWAY

    @classmethod
    def is_away(cls) -> bool:
        return time.monotonic() < cls.back_at


@contextmanager
def tracked(
    about: About, *, mode: str, directory: Path, config: Mapping[str, Any], timeout: float
) -> Iterator[Tracker]:
    """One W&B run that ends with the block; with exit code 1, and the reason, if that raises.

    Without a server that answers, the run is mirrored offline, and where W&B does not start, not at all; a
    logged warning says so. The server is the one of the user's W&B settings. In all modes the run directory
    gets a file that says what W&B calls the run, so that its mirror can be made later.

    Args:
        about: The run's names. Where the server knows the id, another attempt goes on with it.
        mode: One of `MODES`.
        directory: The run directory; all that W&B writes lies below it.
        config: The resolved config, plain.
        timeout: For how many seconds a server is waited for, at the start and again at the end.

    Raises:
        SettingError: `mode` is unknown, or `timeout` not positive.
        StoreError: The directory can't be written to.
    """
    _check(mode, timeout)
    about.write(directory)
    with opened(about, mode=mode, directory=directory, config=config, timeout=timeout) as run:
        tracker = Tracker(run)
        try:
            yield tracker
        except BaseException as error:
            tracker.end(reason_of(error))
            raise
        tracker.end(None)


@contextmanager
def opened(
    about: About, *, mode: str, directory: Path, config: Mapping[str, Any], timeout: float
) -> Iterator[wandb.Run | None]:
    """A W&B run for a `Tracker`, or none; to be ended within."""
    options = {**about.arguments(config), "dir": directory}
    with quiet_below(directory):
        yield _started(mode, timeout, options)


def _check(mode: str, timeout: float) -> None:
    check_choice("tracking.mode", mode, MODES)
    if not timeout > 0:
        raise SettingError("tracking.timeout", "should be positive", timeout, "Choose some seconds.")


@contextmanager
def quiet_below(directory: Path) -> Iterator[None]:
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
    mode = "offline" if mode == "online" and _Server.is_away() else mode
    for attempt, instead in pairwise(MODES[MODES.index(mode) :]):
        try:
            return _init(attempt, timeout, options)
        except failures() as error:
            _warn(f"W&B can't run {attempt}, so this run goes on with W&B {instead}", error)
            if attempt == "online":
                _Server.away()
        _end_service()  # which holds the refused run's id
        # `wandb sync` would send the empty run that a refused attempt leaves.
        for refused in Path(options["dir"], "wandb").glob("run-*"):
            shutil.rmtree(refused, ignore_errors=True)
    return None


def _end_service() -> None:
    import wandb

    with suppress(*failures()):
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


def failures() -> tuple[type[Exception], ...]:
    """What W&B raises if it can't do what it is asked."""
    import wandb
    from wandb.sdk.lib.service.service_connection import WandbApiFailedError
    from wandb.sdk.lib.service.service_token import WandbServiceConnectionError
    from wandb.sdk.mailbox import HandleAbandonedError, MailboxClosedError
    from wandb.sdk.mailbox.mailbox_handle import ServerResponseError

    of_service = (
        HandleAbandonedError,
        MailboxClosedError,
        ServerResponseError,
        WandbApiFailedError,
        WandbServiceConnectionError,
    )
    # An answer that is none of a W&B server's fails W&B's own validation, which raises a ValueError.
    return wandb.errors.Error, OSError, ValueError, *of_service
