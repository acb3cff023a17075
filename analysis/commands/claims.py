"""`python -m analysis claims [C6 ...]`: which statements of the papers hold, and the size of the effects."""

from __future__ import annotations

import argparse
from collections.abc import Iterator, Sequence

from analysis.commands import Commands, add, add_results, render_lines


def register(commands: Commands) -> None:
    """Add the parser of the command."""
    parser = add(
        commands,
        "claims",
        run,
        overrides=True,
        about="which statements of the papers hold, and by how much",
        usage="[--explain] [--commands] [--judge NAME ...] [--results RESULTS] [claim|override ...]",
    )
    parser.add_argument("--explain", action="store_true", help="all behind each verdict")
    parser.add_argument("--commands", action="store_true", help="only what computes all they rest on")
    parser.add_argument(
        "--judge",
        action="append",
        default=[],
        metavar="NAME",
        help="a choice of measures=, instead of those of conf/claims/evidence.yaml; may be given again",
    )
    add_results(parser)


def run(options: argparse.Namespace, arguments: Sequence[str]) -> Iterator[str]:
    """Yield the ledger's lines; write its files unless claims are named or no question is answered."""
    from dataclasses import replace

    from analysis.claims import ledger, printing
    from analysis.claims.definitions import read_claims, read_evidence
    from experiments.settings import choices
    from swag_repro.errors import check_choice

    overrides = [argument for argument in arguments if "=" in argument]
    names = [argument for argument in arguments if "=" not in argument]
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
    elif not names:
        yield from map(str, printing.save_ledger(found, options.results / "claims"))
