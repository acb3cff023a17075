"""The ledger for people and for machines: a table in the terminal, Markdown, CSV, JSON and a figure."""

from __future__ import annotations

import json
from collections.abc import Hashable, Iterator, Mapping
from pathlib import Path
from typing import Any

import pandas as pd
from rich.table import Table

from analysis.claims import drawing
from analysis.claims.ledger import ANSWER_STATES, Entry, Ledger
from analysis.drawing import style
from analysis.tables import provenance
from swag_repro.runs.files import write_text
from swag_repro.runs.schema import to_csv

VERDICT_COLORS = {"reproduced": "green", "partly": "yellow", "not reproduced": "red", "open": "cyan"}


def table(ledger: Ledger) -> Table:
    """Return a table with one row for each claim."""
    shown = Table(box=None, pad_edge=False)
    for column in ("claim", "verdict"):
        shown.add_column(column, no_wrap=True)
    for column in ANSWER_STATES:
        shown.add_column(column, justify="right")
    shown.add_column("statement")
    for row in ledger.verdicts.to_dict("records"):
        verdict = f"[{VERDICT_COLORS.get(row['verdict'], 'dim')}]{row['verdict']}[/]"
        counts = [str(row[column] or "") for column in ANSWER_STATES]
        shown.add_row(row["claim"], verdict, *counts, row["text"])
    return shown


def ledger_details(ledger: Ledger) -> Iterator[str]:
    """Yield lines with everything behind each verdict."""
    verdicts = dict(zip(ledger.claims, ledger.verdicts["verdict"], strict=True))
    rows = ledger.questions.to_dict("records")
    for name, claim in ledger.claims.items():
        yield from ("", f"{name}: {verdicts[name]}", f"  {claim.text}", f"  ({claim.paper}, {claim.source})")
        yield f"  Refuted by: {claim.refuted_by}"
        yield from (f"  Note: {note}" for note in [*claim.notes, *filter(None, [claim.untestable])])
        for entry, row in zip(ledger.entries, rows, strict=True):
            if entry.asked.claim == name:
                yield from _explained(entry, row)


def _explained(entry: Entry, row: Mapping[Hashable, Any]) -> Iterator[str]:
    yield f"  {row['state']}: {entry.asked.name}"
    asked = {column: ", ".join(map(str, values)) for column, values in entry.asked.where.items()}
    yield "    of " + "; ".join(f"{column} {values}" for column, values in asked.items())
    if row["state"] == "missing":
        yield f"    {entry.why}. Compute it by"
    else:
        yield f"    {effect(row)}"
        of = f" of an earlier ledger, commit {row['kept_from']}" if entry.answer is None else ""
        counts = ", ".join(f"{row[name]:.0f} {name}" for name in ("pairs", "seeds", "runs"))
        yield f"    {counts}{of}; computed by"
    yield from (f"      {command}" for command in entry.commands)
    if entry.figure is not None:
        yield f"    look at: swag figure {entry.figure}"


def effect(row: Mapping[Hashable, Any]) -> str:
    """Return the answer in words: `1.26 [0.80, 1.76], expected more than 0.1; p 0.004`."""
    numbers = f"{row['mean']:.3g} [{row['low']:.3g}, {row['high']:.3g}]"
    needed = row["pairs_needed"]
    settled = f"; {needed:.0f} pairs would settle it" if row["state"] == "open" and pd.notna(needed) else ""
    return f"{numbers}, expected {row['expected']} {row['threshold']:g}; p {row['p_holm']:.2g}{settled}"


def save_ledger(ledger: Ledger, folder: Path) -> list[Path]:
    """Write `claims.md`, `.csv`, `.json` and, where there are answers, the figure.

    Raises:
        StoreError: The files can't be written.
    """
    questions, verdicts = ledger.questions, ledger.verdicts
    plain = {
        "claims": json.loads(verdicts.to_json(orient="records")),
        "questions": json.loads(questions.to_json(orient="records")),
        "commit": provenance.Origin.here().commit,
    }
    texts = {
        "claims.md": markdown(ledger),
        "claims.json": json.dumps(plain, indent=1, ensure_ascii=False),
        "claims.csv": to_csv(questions),
    }
    for name, text in texts.items():
        write_text(folder / name, text)
    paths = [folder / name for name in texts]
    if ledger.tables and ledger.answered:
        paths += style.save(drawing.draw_ledger(ledger), drawing.Drawn(ledger), folder, "claims")
    return list(dict.fromkeys(paths))


def markdown(ledger: Ledger) -> str:
    """Return the ledger as a page: verdicts, then every question with its effect."""
    verdicts = [_line_of_claim(row) for row in ledger.verdicts.to_dict("records")]
    questions = [_line_of_question(row) for row in ledger.questions.to_dict("records")]
    heads = "| claim | verdict | statement | source |", "| claim | question | | effect | pairs × seeds |"
    lines = ["# Which statements hold", "", heads[0], "|---|---|---|---|", *verdicts]
    return "\n".join([*lines, "", heads[1], "|---|---|---|---|---|", *questions, ""])


def _line_of_claim(row: Mapping[Hashable, Any]) -> str:
    statement = f"{row['text']} {row['notes']}".strip()
    return f"| {row['claim']} | **{row['verdict']}** | {statement} | {row['paper']}, {row['source']} |"


def _line_of_question(row: Mapping[Hashable, Any]) -> str:
    known = row["state"] != "missing"
    found, size = (effect(row), f"{row['pairs']:.0f} × {row['seeds']:.0f}") if known else (row["why"], "")
    return f"| {row['claim']} | {row['question']} | {row['state']} | {found} | {size} |"
