"""The commands of `swag` from runs to results. Heavy packages are imported when a command runs."""

from __future__ import annotations

import argparse
import json
import os
import re
import sys
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from analysis.figures import FIGURES, draw_figure, source_of
from swag_repro.errors import check_choice
from swag_repro.program import Parser, UsageError, check_flags, ended
from swag_repro.runs.files import is_folder, path_of

if TYPE_CHECKING:
    from analysis.progress import GridProgress
    from analysis.study.design import Study
    from experiments.asking import Wanted

INTERVAL_NAMES = ("se", "sd", "ci", "range")

RUN_STATES = ("finished", "failed", "running", "damaged", "other version")

WORDS = {
    "AXIS": "AXIS is x, y, hue, col or row.",
    "FILTER": "FILTER is layer, position, depth, quantity, definition or iteration.",
    "SIDE": "SIDE is row or col.",
    "STUDY": "STUDY is the folder that build writes, or its name; build itself takes a sweep or overrides.",
    "SWEEP": "SWEEP is `last` for the newest, a sweep's folder, or the name of its runs.",
    "override": "Overrides are Hydra's, the same as given to the experiment.",
}
"""The words of `Command.takes` and their meanings in help texts."""

EVERY = 2.0
"""Seconds between two updates of `status --watch`."""


@dataclass(frozen=True)
class Command:
    """A command.

    Attributes:
        run: A function of the parsed arguments that runs it and returns the lines to print.
        takes: The arguments that it takes beside its options, in words; empty if it takes none. They may be
            the handle of a sweep if these words say so.
        options: Names of its options and arguments, and what `argparse` should know of each.
    """

    run: Callable[[argparse.Namespace], Iterable[str]]
    takes: str
    options: dict[str, dict[str, Any]]


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one command; a user's mistake prints its message, and returns an exit status that is not 0."""
    os.environ["MPLBACKEND"] = "agg"  # a notebook's backend is inherited, and may not be installed here
    return ended(partial(_run, sys.argv[1:] if arguments is None else arguments))


def _run(given: Sequence[str]) -> int:
    name, *rest = given
    command = ANALYSIS_COMMANDS[name]
    options, unknown = parser(name).parse_known_intermixed_args(rest)
    check_flags(unknown, flags_of(name), f"swag {name}")
    if command.takes and options.config_dir is not None:
        from experiments.asking import UsersSettings  # here: it imports Hydra, which few commands need

        UsersSettings.use(options.config_dir)
    folders = _folders(options.arguments, options.output) if "SWEEP" in command.takes else {}
    if folders:
        options.arguments = [folders.get(item, item) for item in options.arguments]
    from analysis.tables.provenance import made_by  # here: help needs none of what it imports

    with made_by([name, *(folders.get(item, item) for item in rest)]):
        for line in command.run(options):
            print(line)
    return 0


def parser(name: str) -> Parser:
    """Return the parser of a command."""
    command = ANALYSIS_COMMANDS[name]
    made = Parser(prog=f"swag {name}")
    options = {**OUTPUT, **(CONFIG_DIR if command.takes else {}), **command.options}
    for option, about in options.items():
        made.add_argument(option, **about)
    if command.takes:
        meanings = " ".join(meaning for word, meaning in WORDS.items() if word in command.takes)
        made.add_argument("arguments", nargs="*", default=[], metavar=command.takes, help=meanings)
    return made


def flags_of(name: str) -> list[str]:
    """Return the flags of a command, as its help names them."""
    return re.findall(r"--[a-z-]+", parser(name).format_help())


def _folders(arguments: Sequence[str], output: Path) -> dict[str, str]:
    """Return the folders of the sweeps that arguments mean: tomorrow, `last` will be another one."""
    from experiments.sweeps.sweep import find, is_handle

    handles = [argument for argument in arguments if is_handle(argument) and argument != "all"]
    return {handle: os.path.relpath(find(handle, output).directory) for handle in handles}


def render_lines(renderable: object, *, soft_wrap: bool = False) -> Iterator[str]:
    """Yield the lines that rich draws: as wide as the terminal; elsewhere as wide as needed, uncoloured."""
    from rich.console import Console

    on_terminal = sys.stdout.isatty()
    console = Console(width=None if on_terminal else 400, force_terminal=on_terminal)
    with console.capture() as capture:
        console.print(renderable, soft_wrap=soft_wrap)
    yield from (line.rstrip() for line in capture.get().splitlines())


# --- Types of arguments -----------------------------------------------------------------------------------


def _positive(text: str) -> int:
    if not text.isdecimal() or int(text) < 1:
        raise argparse.ArgumentTypeError(f"should be a whole number from 1; found {text!r}")
    return int(text)


def _inches(text: str) -> float:
    if not 1 <= (number := float(text)) <= 100:
        raise ValueError
    return number


# --- The commands -----------------------------------------------------------------------------------------


def _wanted(options: argparse.Namespace, arguments: Sequence[str]) -> Wanted:
    from experiments.asking import Wanted

    return Wanted.of(arguments, options.output)


def _status(options: argparse.Namespace) -> Iterator[str]:
    from analysis.progress import of_command, of_sweep
    from experiments.asking import sweep_of

    arguments = options.arguments or ["last"]
    sweep = sweep_of(arguments, options.output)
    read = partial(of_command, arguments, options.output) if sweep is None else partial(of_sweep, sweep)
    if options.json:
        yield json.dumps(read().to_plain(), indent=1)
    elif options.watch and sys.stdout.isatty():
        _watch(read)
    else:
        yield from render_lines(read().shown(), soft_wrap=True)


def _watch(read: Callable[[], GridProgress]) -> None:
    from rich.live import Live

    with Live(auto_refresh=False) as live:
        while not (progress := read()).complete:
            live.update(progress.shown(), refresh=True)
            time.sleep(EVERY)
        live.update(progress.shown(), refresh=True)


def _collect(options: argparse.Namespace) -> Iterator[str]:
    from analysis.tables.collect import collect

    done = collect(options.output, options.results)
    yield f"{done.finished} finished runs, {done.rows} rows: {', '.join(map(str, done.files))}"
    for reason, count in done.failed.items():
        yield f"{count} failed: {reason}"
    if done.others:
        yield f"{len(done.others)} of another version of the store, left alone: {', '.join(done.others)}"
    if done.unfinished:
        yield f"{done.unfinished} running or killed"


def _figure(options: argparse.Namespace) -> Iterable[str]:
    if options.pairs is not None and not source_of(options.name).pictures:
        problem = f"--pairs is for figures of pictures; {options.name} shows means over all pairs"
        raise UsageError(problem, "Leave it out.")
    pairs = {} if options.pairs is None else {"pairs": options.pairs}
    paths = draw_figure(
        options.name,
        options.arguments,
        options.output,
        options.results,
        partial=options.allow_partial,
        **pairs,
    )
    return map(str, paths)


def _plot(options: argparse.Namespace) -> Iterable[str]:
    from analysis.drawing.style import Layout
    from analysis.figures import plot
    from analysis.observations import PlotRequest
    from swag_repro.names import file_stem

    formats = tuple(options.format or ("png", "pdf"))
    layout = Layout.styled(
        options.style, width=options.width, formats=formats, caption=not options.no_caption
    )
    asked, overrides = PlotRequest.split(options.arguments)
    data = plot.load(asked, _wanted(options, overrides), partial=options.allow_partial)
    drawn = plot.make(data, interval=options.interval, layout=layout)
    name = file_stem(replace(asked, x=data.asked.x, y=data.asked.y).name)
    return map(str, plot.save(drawn, data, options.results / "plot" / data.group, name, layout))


def _sheet(options: argparse.Namespace) -> Iterable[str]:
    from analysis.figures import sheet
    from analysis.observations import split
    from swag_repro.names import file_stem

    sides, overrides = split(options.arguments, ("row", "col"))
    data = sheet.load(_wanted(options, overrides), partial=options.allow_partial)
    pages = sheet.make(data, pairs=options.pairs, **sides)
    name = file_stem(data.arms[0].config["name"])
    return map(str, sheet.save(pages, data, options.results / "sheet", name))


def _report(options: argparse.Namespace) -> Iterator[str]:
    if options.reference:
        from analysis.report.reference import write_reference

        if options.arguments or options.pairs is not None:
            raise UsageError("--reference is a report of the whole project", "Leave the other arguments out.")
        yield str(write_reference(options.results))
        return
    from analysis.report.sweep import write_report

    wanted = _wanted(options, options.arguments or ["last"])
    page, notices = write_report(wanted, options.results, pairs=options.pairs)
    yield str(page)
    yield from notices


def _runs(options: argparse.Namespace) -> Iterator[str]:
    from analysis.listing import load_listing

    every = options.arguments in ([], ["all"])
    wanted = None if every else _wanted(options, options.arguments)
    listing = load_listing(options.output if wanted is None else wanted.output, wanted, options.state)
    if options.form == "json":
        yield listing.to_json()
    elif options.form == "csv":
        yield listing.to_csv().rstrip("\n")
    else:
        yield from render_lines(listing.to_table())


def _explain(options: argparse.Namespace) -> Iterator[str]:
    from analysis.explaining import explain

    known = explain(options.file, options.output)
    if options.json:
        yield json.dumps(known.to_plain(), indent=2)
    else:
        yield from known.lines(every_run=options.all)


def _claims(options: argparse.Namespace) -> Iterator[str]:
    from analysis.claims import ledger, printing
    from analysis.claims.definitions import read_claims, read_evidence
    from experiments.settings import choices

    overrides = [argument for argument in options.arguments if "=" in argument]
    names = [argument for argument in options.arguments if "=" not in argument]
    evidence = read_evidence()
    for judge in options.judge:
        check_choice("--judge", judge, choices("measures", options.config_dir))
    evidence = replace(evidence, judges=options.judge or evidence.judges)
    claims = ledger.choose_claims(read_claims(evidence.sweeps), names)
    if options.commands:
        yield from ledger.evidence_commands(claims, evidence, overrides, options.output)
        return
    found = ledger.load_ledger(claims, evidence, overrides, options.output)
    yield from render_lines(printing.table(found))
    if options.explain:
        yield from printing.ledger_details(found)
    if not found.answered:
        yield "Nothing was written: these runs answer no question. --commands prints what computes them."
    else:
        name = "_".join(claims) if names else "claims"
        yield from map(str, printing.save_ledger(found, options.results / "claims", name))


def _study(options: argparse.Namespace) -> Iterator[str]:
    if options.action == "build":
        yield from _build_study(options)
        return
    from analysis.study.design import STUDIES, read_study

    [named] = options.arguments if len(options.arguments) == 1 else [""]
    folder = Path(named) if named and is_folder(Path(named)) else options.output / STUDIES / (named or "?")
    study = read_study(folder)
    yield from (_serve_study if options.action == "serve" else _analyse_study)(options, study, folder)


def _build_study(options: argparse.Namespace) -> Iterator[str]:
    from analysis.figures import sheet
    from analysis.observations import split
    from analysis.questionnaire import building
    from analysis.study import simulated
    from analysis.study.design import STUDIES
    from swag_repro.names import file_stem

    sides, overrides = split(options.arguments, ("compare",))
    data = sheet.load(_wanted(options, overrides), partial=options.allow_partial)
    chosen = {
        name: getattr(options, name) for name in ("raters", "trials", "seed", "ties", "question", "consent")
    }
    given = {name: value for name, value in chosen.items() if value is not None}
    plan = building.Plan(compare=sides.get("compare"), **given)
    study, pictures = building.design(data, plan)
    yield from map(
        str, building.write_study(study, pictures, options.output / STUDIES / file_stem(study.name))
    )
    yield from building.summary(study, data)
    yield from simulated.summary(study)


def _serve_study(options: argparse.Namespace, study: Study, folder: Path) -> Iterator[str]:
    from analysis.questionnaire.building import check_site
    from analysis.questionnaire.serving import server

    check_site(study, folder)
    with server(study, folder, port=options.port, lan=options.lan) as serving:
        host = "0.0.0.0" if options.lan else "localhost"
        yield f"http://{host}:{serving.server_port}/?rater=CODE; Ctrl-C ends it"
        yield f"codes: {folder / 'raters.csv'}"
        sys.stdout.flush()
        with suppress(KeyboardInterrupt):
            serving.serve_forever()


def _analyse_study(options: argparse.Namespace, study: Study, folder: Path) -> Iterator[str]:
    from analysis.study import analysing, answers
    from swag_repro.names import file_stem

    given = answers.read_answers(study, folder / answers.ANSWERS)
    found = analysing.analyse(given)
    yield from analysing.sentences(found, given)
    results = options.results / "study"
    yield from map(str, analysing.save(found, study, options.output, results, file_stem(study.name)))


def _calibrate(options: argparse.Namespace) -> Iterator[str]:
    from analysis.study import calibrating
    from analysis.study.design import STUDIES, read_study
    from swag_repro.names import file_stem

    source: Path = options.source
    if source.is_file():
        ratings = calibrating.read_ratings(source, options.score)
    else:
        folder = source if is_folder(source) else options.output / STUDIES / source
        ratings = calibrating.ratings_of(read_study(folder), folder, options.output)
    found = calibrating.calibrate(ratings)
    yield from calibrating.sentences(found)
    yield str(calibrating.save(found, options.results / "calibration" / f"{file_stem(source.stem)}.csv"))


def _export(options: argparse.Namespace) -> Iterator[str]:
    from analysis.exporting import bundle, write_bundle

    made = bundle(options.results, options.to)
    write_bundle(made, options.to)
    yield str(options.to)
    yield from made.notes


def _dashboard(options: argparse.Namespace) -> Iterable[str]:
    from analysis import dashboard

    return dashboard.write_dashboard(options, options.arguments)


# --- Their options ----------------------------------------------------------------------------------------


def _option(about: str, **how: Any) -> dict[str, Any]:
    return {"help": about, **how}


_switch = partial(_option, action="store_true")
_path = partial(_option, type=path_of)
_several = partial(_option, action="append")

OUTPUT = {"--output": _path("output folder of the experiments", default=Path("outputs"))}
CONFIG_DIR = {"--config-dir": _path("a folder of settings beside conf/", metavar="DIR")}
RESULTS = {"--results": _path("folder for tables and figures (results)", default=Path("results"))}
PARTIAL = {"--allow-partial": _switch("draw what is there, with a mark")}
JSON = {"--json": _switch("for machines")}

SWEEP = "SWEEP | override"
"""The arguments of commands that read one sweep."""

PLOT = {
    "--interval": _option(
        "around means: standard error (se), standard deviation, bootstrap interval, lowest to highest",
        choices=INTERVAL_NAMES,
        default="se",
    ),
    "--style": _path("settings of matplotlib, as in matplotlibrc", metavar="FILE"),
    "--width": _option("of the figure (7.16)", type=_inches, default=7.16, metavar="INCHES"),
    "--format": _several("may be given again (png and pdf)", choices=("png", "pdf", "svg")),
    "--no-caption": _switch("leave the words at the foot out"),
}

CLAIMS = {
    "--explain": _switch("all behind each verdict"),
    "--commands": _switch("only what computes all they rest on"),
    "--judge": _several(
        "a choice of measures=, instead of those of conf/claims/evidence.yaml; may be given again",
        default=[],
        metavar="NAME",
    ),
}

DASHBOARD = {
    "--save": _switch("put both into the W&B project, too"),
    "--entity": _option("W&B's team or user; needed to save", default=""),
    "--project": _option("W&B's project", default="swag-repro"),
}

EXPLAIN = {
    "file": _path("of results, or of a run; also a run's directory"),
    "--output": _path("output folder of the runs, where it is not the one that the file names"),
    "--all": _switch("list all runs behind it"),
}

FIGURE = {
    "name": _option(f"{', '.join(FIGURES)}; or a module with load, make and save"),
    "--pairs": _option(
        "pairs shown in a figure of pictures (4; where rows are losses 1)", type=_positive, metavar="N"
    ),
}

RUNS = {
    "--state": _several("only these", choices=RUN_STATES, default=[]),
    "--json": _option("for machines", dest="form", action="store_const", const="json"),
    "--csv": _option("for machines", dest="form", action="store_const", const="csv"),
}

SHEET = {"--pairs": _option("at most so many pairs (all)", type=_positive, metavar="N")}

CALIBRATE = {
    "source": _path("a study, or a table of rated pictures (CSV, Parquet)"),
    "--score": _option("the column of scores (score)", default="score", metavar="NAME"),
}

EXPORT = {"--to": _path("the ZIP file (bundle.zip)", default=Path("bundle.zip"), metavar="FILE")}

STUDY = {
    "action": _option("what to do", choices=("build", "serve", "analyse")),
    "--raters": _option("build: number of raters (20)", type=_positive, default=20, metavar="N"),
    "--trials": _option("build: comparisons for each rater (all)", type=_positive, metavar="N"),
    "--seed": _option("build: of orders, sides and codes (0)", type=int, default=0, metavar="N"),
    "--ties": _switch("build: offer “I can't tell”"),
    "--question": _option("build: the question that people answer", metavar="TEXT"),
    "--consent": _option("build: the text that people agree to", metavar="TEXT"),
    "--port": _option("serve: the port (8000; 0 for any free one)", type=int, default=8000, metavar="N"),
    "--lan": _switch("serve: other machines of the network may take part, too"),
}

REPORT = {"--reference": _switch("of this project's findings, claims and figures, instead of a sweep")}

ANALYSIS_COMMANDS = {
    "status": Command(_status, SWEEP, {"--watch": _switch("until all is done"), **JSON}),
    "collect": Command(_collect, "", RESULTS),
    "figure": Command(_figure, SWEEP, {**FIGURE, **RESULTS, **PARTIAL}),
    "plot": Command(_plot, f"AXIS=SETTING | FILTER=VALUE | {SWEEP}", {**PLOT, **RESULTS, **PARTIAL}),
    "sheet": Command(_sheet, f"SIDE=SETTINGS | {SWEEP}", {**SHEET, **RESULTS, **PARTIAL}),
    "report": Command(_report, SWEEP, {**SHEET, **REPORT, **RESULTS}),
    "runs": Command(_runs, f"all | {SWEEP}", RUNS),
    "explain": Command(_explain, "", {**EXPLAIN, **JSON}),
    "claims": Command(_claims, "claim | override", {**CLAIMS, **RESULTS}),
    "study": Command(_study, "compare=SETTINGS | STUDY | override", {**STUDY, **RESULTS, **PARTIAL}),
    "calibrate": Command(_calibrate, "", {**CALIBRATE, **RESULTS}),
    "export": Command(_export, "", {**EXPORT, **RESULTS}),
    "dashboard": Command(_dashboard, "experiment=NAME", {**DASHBOARD, **RESULTS}),
}

if __name__ == "__main__":
    sys.exit(main())
