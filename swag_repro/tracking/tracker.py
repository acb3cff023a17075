"""One W&B run: it is started, fed and ended. If W&B can't take something, only the mirroring ends.

Of W&B's environment variables, some count, some are ignored, and some say where W&B may write.
"""

from __future__ import annotations

import logging
import os
import shutil
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import replace
from functools import cache
from itertools import pairwise
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, cast, get_args

from PIL import Image

from swag_repro.errors import check_choice, check_number
from swag_repro.runs.records import reason_of
from swag_repro.tracking.about import About

if TYPE_CHECKING:
    import pandas as pd
    import wandb

logger = logging.getLogger(__name__)

COMPLETE = "complete"
"""Name of a file beside a W&B run's log that was written to its end: `sync` makes a log without it anew."""

AWAY = 300.0
"""Seconds after a failure of the server during which a process starts its runs offline, without asking."""

ATTEMPTS: dict[str, Any] = {
    "x_graphql_retry_max": 2,
    "x_graphql_retry_wait_max_seconds": 2.0,
    "x_graphql_timeout_seconds": 5.0,
}
"""W&B's settings for requests that a run waits for: three attempts at most, for less than half a minute."""


class Tracker:
    """One W&B run, or none; without one, everything sent is dropped.

    If W&B can't take something, the mirroring ends with a warning, and nothing else does.

    Args:
        run: The W&B run.
    """

    def __init__(self, run: wandb.Run | None) -> None:
        self._run = run
        self._whole = True

    @property
    def sends(self) -> bool:
        """True if anything that is sent still arrives."""
        return self._run is not None and self._whole

    @property
    def resumed(self) -> bool:
        """True if the server already has what an earlier attempt at the run sent."""
        return self._run is not None and self._run.resumed

    def axis(self, name: str, *curves: str) -> None:
        """Draw curves, such as `loss/*`, over the values that are logged with them under this name."""

        def define(run: wandb.Run) -> None:
            run.define_metric(name, hidden=True)
            for curve in curves:
                run.define_metric(curve, step_metric=name)

        self._mirror(define)

    def log(self, values: Mapping[str, float]) -> None:
        """Send one point of each curve."""
        self._mirror(lambda run: self._log(run, values))

    def table(self, name: str, rows: pd.DataFrame) -> None:
        """Send a table, row for row."""

        def send(run: wandb.Run) -> None:
            import wandb

            self._log(run, {name: wandb.Table(dataframe=rows)})

        self._mirror(send)

    def images(self, name: str, images: Iterable[tuple[Image.Image, str]]) -> None:
        """Send images with captions, padded to one size: W&B shows only images of one size as they are."""
        shown = _of_one_size(list(images)) if self.sends else []

        def send(run: wandb.Run) -> None:
            import wandb

            self._log(run, {name: [wandb.Image(image, caption=caption) for image, caption in shown]})

        self._mirror(send)

    def summary(self, values: Mapping[str, Any]) -> None:
        """Send values that describe the whole run; a later value replaces an earlier one."""
        self._mirror(lambda run: run.summary.update(dict(values)))

    def artifact(
        self,
        name: str,
        kind: str,
        files: Mapping[str, Path],
        added: Mapping[str, str],
        about: Mapping[str, Any],
    ) -> None:
        """Send files as one artifact, which other runs can name; equal content makes no second version.

        Args:
            name: A name that is unique in the project, such as `run-0123456789abcdef`.
            kind: W&B's type of artifact.
            files: Files by their names in the artifact. They are read later, so they should not change.
            added: Text of further files by their names.
            about: Metadata of the artifact.
        """

        def send(run: wandb.Run) -> None:
            from wandb import Artifact

            artifact = Artifact(name, kind, metadata=dict(about))
            for file, path in files.items():
                artifact.add_file(str(path), file, policy="immutable", skip_cache=True)
            for file, text in added.items():
                with artifact.new_file(file) as stream:
                    stream.write(text)
            run.log_artifact(artifact)

        self._mirror(send)

    def end(self, reason: str | None) -> None:
        """End the W&B run: as finished, or as failed, with a reason and exit code 1.

        It waits for the upload no longer than the timeout with which it was started.
        """
        self.summary({"state": "finished"} if reason is None else {"state": "failed", "reason": reason})
        if self._run is None:
            return
        try:
            self._run.finish(exit_code=0 if reason is None else 1)
        except Exception as error:  # W&B passes on errors of any kind from its parts
            self._lose("W&B could not finish; `swag sync` sends what is missing", error)
        if self._whole:
            self._mark(self._run)

    def _log(self, run: wandb.Run, values: Mapping[str, Any]) -> None:
        run.log(dict(values))

    def _mark(self, run: wandb.Run) -> None:
        """Mark the log as whole; mark one that was sent as `wandb sync` marks it."""
        log = Path(run.settings.sync_file)
        with suppress(OSError):
            log.with_name(COMPLETE).touch()
            if run.settings.mode == "online":
                synced(log).touch()

    def _mirror(self, send: Callable[[wandb.Run], None]) -> None:
        if self._run is None or not self._whole:
            return
        try:
            send(self._run)
        except Exception as error:  # W&B passes on errors of any kind from its parts
            self._lose("W&B mirrors this run no further; its own files are not touched by that", error)

    def _lose(self, consequence: str, error: Exception) -> None:
        self._whole = False
        if self._run is not None and self._run.settings.mode == "online":
            _Server.away()
        _warn(consequence, error)


def _of_one_size(images: Sequence[tuple[Image.Image, str]]) -> list[tuple[Image.Image, str]]:
    """Pad images with transparent pixels to the largest width and height."""
    width = max(image.width for image, _ in images)
    height = max(image.height for image, _ in images)

    def padded(image: Image.Image) -> Image.Image:
        if image.size == (width, height):
            return image
        canvas = Image.new("RGBA", (width, height))
        canvas.paste(image, ((width - image.width) // 2, (height - image.height) // 2))
        return canvas

    return [(padded(image), caption) for image, caption in images]


def synced(log: Path) -> Path:
    """Return the file by which W&B marks a log as sent."""
    return log.with_name(f"{log.name}.synced")


class _Server:
    """The server's state for this process: once it is lost, later cells don't wait to find out."""

    back_at = 0.0

    @classmethod
    def away(cls) -> None:
        cls.back_at = time.monotonic() + AWAY

    @classmethod
    def is_away(cls) -> bool:
        return time.monotonic() < cls.back_at


Mode = Literal["online", "offline", "disabled"]
MODES: tuple[Mode, ...] = get_args(Mode)
"""Modes from the loosest to the strictest. If one can't be started, the next takes its place."""

SYNONYMS: dict[str, Mode] = {"run": "online", "shared": "online", "dryrun": "offline"}
"""Other values of WANDB_MODE."""

AGENTS = ("WANDB_SWEEP_ID", "WANDB_RUN_ID")
"""Variables that an agent of `wandb sweep` sets for each trial."""

IGNORED = (
    *AGENTS, "WANDB_NAME", "WANDB_RUN_GROUP", "WANDB_JOB_TYPE", "WANDB_RESUME", "WANDB_RESUME_FROM",
    "WANDB_FORK_FROM", "WANDB_LAUNCH",
)  # fmt: skip
"""Variables that only the run directory may decide: with them, two cells would become one W&B run."""

PARAMETERS = "WANDB_SWEEP_PARAM_PATH"
"""The variable that names the file with a trial's parameters from an agent."""


def strictest(mode: Mode) -> Mode:
    """Return the stricter of a mode and WANDB_MODE; warn, if they differ, which one counts."""
    said = os.environ.get("WANDB_MODE", "")
    asked = SYNONYMS.get(said, said)
    if asked == mode or asked not in MODES:
        return mode
    chosen = max(mode, asked, key=MODES.index)
    _warn_once(f"W&B is {chosen}: the stricter of WANDB_MODE={said} and tracking={mode} counts")
    return chosen


def tags() -> tuple[str, ...]:
    """Return the tags from WANDB_TAGS, which are added to those of a run."""
    return tuple(tag for part in os.environ.get("WANDB_TAGS", "").split(",") if (tag := part.strip()))


def agents_sweep() -> str | None:
    """Return the id of the W&B sweep whose agent started this process; None if no agent did."""
    return os.environ.get(AGENTS[0]) if Path(os.environ.get(PARAMETERS, "")).is_file() else None


def warn_of_ignored() -> None:
    """Warn of variables that are set but have no effect, once in a process."""
    expected = AGENTS if agents_sweep() else ()
    found = [name for name in IGNORED if os.environ.get(name) and name not in expected]
    if found:
        _warn_once(f"{', '.join(found)} ignored: a W&B run has the id and the name of its run directory")


@cache
def _warn_once(text: str) -> None:
    logger.warning(text)


@contextmanager
def environment(directory: Path) -> Iterator[None]:
    """Hide ignored variables from W&B, silence it, and make it write all its files below a directory."""
    own = directory.absolute() / "wandb"
    places = {"WANDB_DATA_DIR": f"{own}/data", "WANDB_CACHE_DIR": f"{own}/cache"}
    hidden = (*IGNORED,) if agents_sweep() else (*IGNORED, PARAMETERS)
    changed = {**dict.fromkeys(hidden), **places, "WANDB_SILENT": "true"}
    before = {name: os.environ.get(name) for name in changed}
    _set(changed)
    try:
        yield
    finally:
        _set(before)


def _set(values: dict[str, str | None]) -> None:
    for name, value in values.items():
        if value is None:
            os.environ.pop(name, None)
        else:
            os.environ[name] = value


@contextmanager
def tracked(
    about: About, *, mode: str, directory: Path, config: Mapping[str, Any], timeout: float
) -> Iterator[Tracker]:
    """Start one W&B run that ends with the block; if the block raises, with exit code 1 and the reason.

    If no server answers, the run is mirrored offline; if W&B does not start, it is not mirrored. A logged
    warning says so. The server is the one of the user's W&B settings. In all modes, a file in the run
    directory holds what W&B calls the run, so that its mirror can be made later.

    Args:
        about: The run's names. If the server knows the id, another attempt goes on with its run.
        mode: One of `MODES`; the environment may ask for a stricter one.
        directory: The run directory; all that W&B writes lies below it.
        config: The resolved config, plain.
        timeout: Seconds to wait for a server, at the start and again at the end.

    Raises:
        SettingError: `mode` is unknown, or `timeout` is not positive.
        StoreError: The directory can't be written to.
    """
    check_settings(mode, timeout)
    about = replace(about, tags=(*about.tags, *tags()))
    about.write(directory)
    warn_of_ignored()
    chosen = strictest(cast("Mode", mode))
    with open_run(about, mode=chosen, directory=directory, config=config, timeout=timeout) as run:
        tracker = Tracker(run)
        try:
            yield tracker
        except BaseException as error:
            tracker.end(reason_of(error))
            raise
        tracker.end(None)


@contextmanager
def open_run(
    about: About, *, mode: Mode, directory: Path, config: Mapping[str, Any], timeout: float
) -> Iterator[wandb.Run | None]:
    """Start a W&B run for a `Tracker`, or none; the caller ends it within the block."""
    options = {**about.arguments(config), "dir": directory}
    settings = {"init_timeout": timeout, "finish_timeout": timeout, "sweep_id": agents_sweep()}
    with environment(directory):
        yield _started(mode, options, settings)


def check_settings(mode: str, timeout: float, every: int = 0) -> None:
    """Raise a `SettingError` unless the mode is known and the numbers are in range.

    Args:
        mode: One of `MODES`.
        timeout: Seconds to wait for a server, above 0.
        every: Steps between pictures, 0 or more.
    """
    check_choice("tracking.mode", mode, MODES)
    check_number("tracking.timeout", timeout, above=0, remedy="Choose some seconds.")
    check_number("tracking.every", every, least=0, whole=True, remedy="0 sends none.")


def _started(mode: Mode, options: Mapping[str, Any], settings: Mapping[str, Any]) -> wandb.Run | None:
    mode = "offline" if mode == "online" and _Server.is_away() else mode
    for attempt, instead in pairwise(MODES[MODES.index(mode) :]):
        try:
            return _init(attempt, options, settings)
        except Exception as error:  # any kind of error: W&B needs a home, a server, a key, a free port
            _warn(f"W&B can't run {attempt}, so this run goes on with W&B {instead}", error)
            if attempt == "online":
                _Server.away()
        _end_service()  # the service holds the refused run's id
        # `wandb sync` would send the empty run that a refused attempt leaves.
        for refused in Path(options["dir"], "wandb").glob("run-*"):
            shutil.rmtree(refused, ignore_errors=True)
    return None


def _end_service() -> None:
    with suppress(Exception):  # there may be no service to end
        import wandb

        wandb.teardown(exit_code=1)
    os.environ.pop("WANDB_SERVICE", None)  # by this variable, the next run would look for the service


def _init(mode: Mode, options: Mapping[str, Any], settings: Mapping[str, Any]) -> wandb.Run:
    import wandb

    if mode == "online":
        log_in()
    # Each cell has its own W&B run, even if one process computes many.
    # An offline run can't know of an earlier attempt. The server takes both for one run, by their id.
    resume: Literal["allow"] | None = "allow" if mode == "online" else None
    chosen = wandb.Settings(console="off", finish_timeout_raises=True, **settings)
    return wandb.init(mode=mode, reinit="create_new", resume=resume, settings=chosen, **options)


def log_in() -> None:
    """Let W&B find the key of the user's account; without a key, `wandb.init` would wait for one to be typed.

    Raises:
        wandb.errors.UsageError: There is no key.
    """
    import wandb

    wandb.setup(settings=wandb.Settings(**ATTEMPTS))
    if not wandb.login(prompt=False, verify=False):
        raise wandb.errors.UsageError("no API key is configured; `wandb login` stores one")


def line_of(error: Exception) -> str:
    """Return an error's type and the first line of its message."""
    return f"{type(error).__name__}: {str(error).partition(chr(10))[0]}"


def _warn(consequence: str, error: Exception) -> None:
    logger.warning("%s: %s", consequence, line_of(error))
