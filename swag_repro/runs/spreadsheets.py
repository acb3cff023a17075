"""CSV files for spreadsheets: no cell is a formula, and none holds control characters."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

import pyarrow as pa
import pyarrow.compute as pc

from swag_repro.names import printable

if TYPE_CHECKING:
    import pandas as pd

ODD = r"^[=+\-@]|[\x00-\x1f\x7f]"
"""Pattern of text that a spreadsheet might take for more than text (OWASP, CSV injection)."""

_ODD = re.compile(ODD)


def neutral(text: str) -> str:
    """Return text as a cell that is no formula: a quote goes before it. Numbers stay as they are."""
    if not _ODD.search(text) or _is_number(text):
        return text
    lines = "\n".join(printable(line) for line in text.splitlines())
    return f"'{lines}" if lines[:1] in set("=+-@") else lines


def _is_number(text: str) -> bool:
    try:
        float(text)
    except ValueError:
        return False
    return True


def to_csv(table: pd.DataFrame) -> str:
    """Return a table as CSV whose cells are `neutral`."""
    cells = table.map(lambda value: neutral(value) if isinstance(value, str) else value)
    header = [neutral(str(name)) for name in table.columns]
    return str(cells.to_csv(index=False, header=header, lineterminator="\n"))


def neutral_table(table: pa.Table) -> pa.Table:
    """Return a table whose text cells are `neutral`."""
    for index, field in enumerate(table.schema):
        coded = pa.types.is_dictionary(field.type)
        if not pa.types.is_string(field.type.value_type if coded else field.type):
            continue
        text = table[index].cast(pa.string())
        if pc.any(pc.match_substring_regex(text, ODD)).as_py():
            cells = pa.array(
                [None if cell is None else neutral(cell) for cell in text.to_pylist()], pa.string()
            )
            coded_cells = cells.dictionary_encode().cast(field.type) if coded else cells
            table = table.set_column(index, field, coded_cells)
    return table
