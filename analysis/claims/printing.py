"""The ledger for people and for machines: a table in the terminal, Markdown, CSV, JSON and a figure."""

from __future__ import annotations

import json
from collections.abc import Hashable, Iterator, Mapping
from pathlib import Path
from typing import Any

import pandas as pd
from rich.table import Table

from analysis.claims import drawing
from analysis.claims.ledger import ANSWER_STATES, Entry, Ledger, p_of
from analysis.drawing import style
from analysis.tables import provenance
from swag_repro.runs.files import write_text
from swag_repro.runs.schema import to_csv

VERDICT_COLORS = {"reproduced": "green", "not reproduced": "red", "open": "cyan"}


def table(ledger: Ledger) -> Table:
    """Return a table with one row for each claim; counts are of its secondary questions."""
    shown = Table(box=None, pad_edge=False)
    for column in ("claim", "verdict", "scale"):
        shown.add_column(column, no_wrap=True)
    for column in ANSWER_STATES:
        shown.add_column(column, justify="right")
    shown.add_column("statement")
    for row in ledger.verdicts.to_dict("records"):
        verdict = f"[{VERDICT_COLORS.get(row['verdict'], 'dim')}]{row['verdict']}[/]"
        counts = [str(row[column] or "") for column in ANSWER_STATES]
        shown.add_row(row["claim"], verdict, row["scale"], *counts, row["text"])
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
    yield f"  {row['role']}, {row['state']}: {entry.asked.name}"
    asked = {column: ", ".join(map(str, values)) for column, values in entry.asked.where.items()}
    yield "    of " + "; ".join(f"{column} {values}" for column, values in asked.items())
    if row["state"] == "missing":
        yield f"    {entry.why}. Compute it by"
    else:
        yield f"    {effect(row)}"
        counts = ", ".join(f"{row[name]:.0f} {name}" for name in ("pairs", "seeds", "runs"))
        yield f"    {counts}; {', '.join(filter(None, [entry.setting, entry.scale]))}; computed by"
    yield from (f"      {command}" for command in entry.commands)
    if entry.figure is not None:
        yield f"    look at: swag figure {entry.figure}"


def effect(row: Mapping[Hashable, Any]) -> str:
    """Return the answer in words: `1.26 [0.80, 1.76], expected more than 0.1; p 0.004`.

    Holm's correction is in the p of primary questions.
    """
    numbers = f"{row['mean']:.3g} [{row['low']:.3g}, {row['high']:.3g}]"
    needed = row["pairs_needed"]
    settled = f"; {needed:.0f} pairs would settle it" if row["state"] == "open" and pd.notna(needed) else ""
    return f"{numbers}, expected {row['expected']} {row['threshold']:g}; p {p_of(row):.2g}{settled}"


def save_ledger(ledger: Ledger, folder: Path, name: str) -> list[Path]:
    """Write `<name>.md`, `.csv`, `.json` and, where there are answers, the figure.

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
        f"{name}.md": markdown(ledger),
        f"{name}.json": json.dumps(plain, indent=1, ensure_ascii=False),
        f"{name}.csv": to_csv(questions),
    }
    for file, text in texts.items():
        write_text(folder / file, text)
    paths = [folder / file for file in texts]
    if ledger.tables and ledger.answered:
        paths += style.save(drawing.draw_ledger(ledger), drawing.Drawn(ledger), folder, name)
    return list(dict.fromkeys(paths))


def markdown(ledger: Ledger) -> str:
    """Return the ledger as a page: verdicts with their primary answers, then every other question."""
    questions = ledger.questions
    primary = {row["claim"]: row for row in questions[questions["role"] == "primary"].to_dict("records")}
    verdicts = [
        _line_of_claim(row, primary.get(str(row["claim"]))) for row in ledger.verdicts.to_dict("records")
    ]
    others = [_line_of_question(row) for row in questions[questions["role"] != "primary"].to_dict("records")]
    return "\n".join([*HEADS[0], *verdicts, "", *HEADS[1], *others, ""])


HEADS = (
    (
        "# Which statements hold",
        "",
        "The primary question of a claim gives its verdict. Its p has Holm's correction over all primary",
        "questions with an answer; what a toy refutes stays open. Intervals hold 95 %, by Student",
        "over contents, styles and seeds.",
        "",
        "| claim | verdict | scale | statement | primary answer | pairs × seeds | source |",
        "|---|---|---|---|---|---|---|",
    ),
    (
        "Secondary questions say how far a verdict reaches; their p are not corrected. Identities hold by",
        "construction.",
        "",
        "| claim | question | | effect | pairs × seeds | scale |",
        "|---|---|---|---|---|---|",
    ),
)


def _line_of_claim(row: Mapping[Hashable, Any], primary: Mapping[Hashable, Any] | None) -> str:
    statement = f"{row['text']} {row['notes']}".strip()
    found, units = ("", "") if primary is None else _found(primary)
    question = f"{primary['question']}: {found}" if primary is not None else ""
    return (
        f"| {row['claim']} | **{row['verdict']}** | {row['scale']} | {statement} | {question} | {units} "
        f"| {row['paper']}, {row['source']} |"
    )


def _line_of_question(row: Mapping[Hashable, Any]) -> str:
    found, units = _found(row)
    state = f"identity, {row['state']}" if row["role"] == "identity" else row["state"]
    return f"| {row['claim']} | {row['question']} | {state} | {found} | {units} | {row['scale']} |"


def _found(row: Mapping[Hashable, Any]) -> tuple[str, str]:
    """Return the answer, or why there is none, and the units behind it with their setting."""
    if row["state"] == "missing":
        return str(row["why"]), ""
    units = f"{row['pairs']:.0f} × {row['seeds']:.0f}"
    return effect(row), ", ".join(filter(None, [units, row["setting"]]))
