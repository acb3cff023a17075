"""`swag sync` and `swag rebuild`: they send run directories to W&B, or make them ready for it."""

from __future__ import annotations

import argparse
import logging
import sys
from collections import Counter
from collections.abc import Sequence
from contextlib import suppress
from functools import partial
from pathlib import Path

from swag_repro.errors import StoreError, UserError
from swag_repro.program import Parser, ended
from swag_repro.runs.files import is_folder, path_of
from swag_repro.runs.records import RunRecord, all_runs, no_output, read_status
from swag_repro.runs.store import Store
from swag_repro.tracking.sync import rebuild, sync

STATE_WORDS = {
    "sent": "sent",
    "there": "sent before",
    "unmirrored": "without W&B (`rebuild` makes what can be sent)",
    "busy": "not finished",
    "failed": "failed",
}


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one command; return 1 if a run could not be sent or rebuilt, or if the user made a mistake."""
    return ended(partial(_run, arguments))


def _run(arguments: Sequence[str] | None) -> int:
    options = _parser().parse_args(arguments)
    logging.basicConfig(format="%(message)s")
    if not is_folder(options.output):
        raise no_output(options.output)
    return _sync(options) if options.command == "sync" else _rebuild(options)


def _parser() -> argparse.ArgumentParser:
    folder = Parser(add_help=False)
    folder.add_argument(
        "--output", type=path_of, default=Path("outputs"), help="output folder of the experiments"
    )
    parser = Parser(prog="swag", description="Runs in W&B.")
    commands = parser.add_subparsers(dest="command", required=True)
    sending = commands.add_parser(
        "sync", parents=[folder], help="send what W&B has not got yet; may be repeated and interrupted"
    )
    sending.add_argument(
        "--timeout", type=_positive, default=120.0, metavar="SECONDS", help="to wait for a server (120)"
    )
    making = commands.add_parser(
        "rebuild", parents=[folder], help="make W&B's offline run anew from a run directory; `sync` sends it"
    )
    making.add_argument("run", nargs="*", help="run ids, or run directories")
    making.add_argument("--all", action="store_true", help="all runs that have ended")
    return parser


def _positive(text: str) -> float:
    with suppress(ValueError):
        if (number := float(text)) > 0:
            return number
    raise argparse.ArgumentTypeError(f"should be a number above 0; found {text!r}")


def _sync(options: argparse.Namespace) -> int:
    counts: Counter[str] = Counter()
    for sent in sync(all_runs(options.output), options.output, timeout=options.timeout):
        counts[sent.state] += 1
        if sent.state in ("sent", "failed"):
            _say(f"{sent.run_id} {sent.state}{sent.reason and ': '}{sent.reason}")
    counted = [f"{counts[state]} {label}" for state, label in STATE_WORDS.items() if counts[state]]
    _say(", ".join(counted) or "no runs")
    return 1 if counts["failed"] else 0


def _rebuild(options: argparse.Namespace) -> int:
    if options.all == bool(options.run):
        found = "both" if options.all else "neither"
        raise StoreError("run", "should be named, or else --all given", found, "Name run ids, or give --all.")
    records = (
        list(all_runs(options.output))
        if options.all
        else [_record(options.output, run) for run in options.run]
    )
    failed = 0
    for record in records:
        try:
            state = _rebuilt(record, Store(options.output))
        except UserError as error:
            state, failed = f"failed: {error}", failed + 1
        _say(f"{record.path.name} {state}")
    return 1 if failed else 0


def _record(root: Path, run: str) -> RunRecord:
    directory = Store(root).directory(Path(run).name)
    return RunRecord(directory, read_status(directory))


def _rebuilt(record: RunRecord, store: Store) -> str:
    with store.at_rest(record.path.name) as rests:
        if not rests or record.status.state == "running":
            return "left: not finished"
        rebuild(record)
        return "rebuilt"


def _say(text: str) -> None:
    sys.stdout.write(f"{text}\n")
    sys.stdout.flush()


if __name__ == "__main__":
    sys.exit(main())
