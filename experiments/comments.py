"""The comments in `conf/` that describe its keys; they stand behind or above them."""

from __future__ import annotations

from collections.abc import Iterator
from functools import cache

import yaml

from experiments.command import CONF

GLOBAL = "# @package _global_"
"""The first line of files that only choose settings of others."""


@cache
def comments() -> dict[str, str]:
    """Return the comment of each setting that has one, by its dotted key, such as `smoothing.temperature`."""
    found: dict[str, str] = {}
    for path in sorted(CONF.glob("*.yaml")) + sorted(CONF.glob("[!h]*/*.yaml")):
        text = path.read_text(encoding="utf-8")
        if not text.startswith(GLOBAL) and path.parent.name not in ("claims", "experiment"):
            above = "" if path.parent == CONF else f"{path.parent.name}."
            for key, comment in _of_file(text, above):
                found.setdefault(key, comment)
    return found


def comment_of(setting: str) -> str:
    """Return the comment of a setting, else that of the same key in its group's files; else name the group.

    Args:
        setting: A dotted key, such as `measures.network.shortcut`.
    """
    parts = setting.split(".")
    names = (".".join(parts[start:]) for start in range(len(parts)))
    known = (comments().get(name) for name in names)
    groups = (f"see conf/{part}" for part in reversed(parts) if (CONF / part).is_dir())
    return next((text for text in (*known, *groups) if text), "")


def _of_file(text: str, above: str) -> Iterator[tuple[str, str]]:
    node = yaml.compose(text, yaml.SafeLoader)
    if isinstance(node, yaml.MappingNode):
        yield from _of_mapping(node, text.splitlines(), above)


def _of_mapping(node: yaml.MappingNode, lines: list[str], above: str) -> Iterator[tuple[str, str]]:
    for key, value in node.value:
        name = f"{above}{key.value}"
        last = value if isinstance(value, yaml.ScalarNode) or value.flow_style else key
        behind = lines[last.end_mark.line][last.end_mark.column :].partition("# ")[2]
        if comment := behind or _above(lines, key.start_mark.line):
            yield name, comment
        if isinstance(value, yaml.MappingNode):
            yield from _of_mapping(value, lines, f"{name}.")


def _above(lines: list[str], line: int) -> str:
    """Return the comment directly above a line; a comment at the top describes the whole file."""
    start = line
    while start > 0 and lines[start - 1].lstrip().startswith("#"):
        start -= 1
    return " ".join(text.lstrip("# ") for text in lines[start:line]) if start > 0 else ""
