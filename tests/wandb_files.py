"""Offline runs of W&B, read back by its own tool."""

import json
import subprocess
import sys
from pathlib import Path


def read_offline(directory: Path) -> dict[str, list[dict]]:
    """What the only W&B run below a run directory has recorded, by type of record."""
    (file,) = directory.glob("wandb/*run-*/*.wandb")
    command = [Path(sys.executable).parent / "wandb", "leet", "inspect", "--json", file]
    lines = subprocess.run(command, check=True, capture_output=True, text=True).stdout.splitlines()
    found: dict[str, list[dict]] = {}
    for record in map(json.loads, lines):
        found.setdefault(record["type"], []).append(record[record["type"]])
    return found
