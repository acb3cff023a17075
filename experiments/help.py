"""Help by the comments of `conf/`: the short help of an entry point, a setting's own, and the page of all.

python -m experiments.help > docs/settings.md
"""

from __future__ import annotations

import shutil
import textwrap
from collections.abc import Iterable, Iterator, Sequence
from functools import reduce
from pathlib import Path
from typing import Any

from experiments.config import OWNED, in_words, types_of
from experiments.settings import (
    Setting,
    about,
    choices,
    comment_of,
    entries,
    experiments_of,
    find,
    groups,
    known_keys,
    settings_of,
)
from swag_repro.errors import SettingError
from swag_repro.program import did_you_mean

INFORMATION = ("all", "config", "defaults", "defaults-tree", "plugins", "searchpath")
"""What Hydra's `--info` prints."""

FLAGS_IN_WORDS = {
    "--multirun": "-m: compute a sweep, such as network=vgg16,resnet50 or experiment=fig3",
    "--dry-run": "with -m: list the cells, and compute none",
    "--only-missing": "with -m: leave out failed runs",
    "--retry-failed": "with -m: compute all failed runs again",
    "--config-dir": "DIR: a folder of groups of your own, beside conf/",
    "--cfg": "job: print all settings with their values; --resolve, --package KEY",
    "--info": "print what Hydra composes the settings of",
    "--help": "KEY: explain a setting or a group",
}
"""The flags of entry points, in words."""

PAGE = "docs/settings.md"

CHOOSING = ("arm", "experiment", "preset", "preset/feedforward")
"""The groups whose files set the settings of others."""

MOST_LISTED = 4
"""The most values of a setting, over all files of its group, that the page lists."""


def of_entry(entry: str, documented: str, shown: Sequence[str]) -> str:
    """Return the short help of an entry point.

    Args:
        entry: The name of its config.
        documented: The docstring of its module: a sentence, then examples, one in each line.
        shown: The keys of the settings to explain.
    """
    first, *others = documented.splitlines()
    examples = [line for line in others if line.startswith(("swag ", "torchrun "))]
    rows = [(key, _default(entry, key), _comment(entry, key)) for key in shown]
    return "\n".join(
        [
            first,
            "\nSettings, each as key=value:",
            *_table([(f"{key}={default}", comment) for key, default, comment in rows]),
            "\nFlags:",
            *_table(FLAGS_IN_WORDS.items()),
            "\nExamples:",
            *(f"  {line}" for line in examples),
            f"\nAll settings: --cfg job, or {PAGE}. One: --help KEY, such as --help {shown[0]}.",
        ]
    )


def of_key(entry: str, asked: str) -> str:
    """Return the help of one setting or group.

    Args:
        entry: The name of the entry point's config.
        asked: The setting's dotted key, or the group's name; also with a value, as in an override.

    Raises:
        SettingError: The entry point has no such setting.
    """
    key = asked.partition("=")[0].lstrip("+~")
    found = find(entry, key)
    if not found:
        remedy = did_you_mean(key, known_keys(), f"{PAGE} lists all.")
        raise SettingError("--help", "should name a setting or a group", repr(key), remedy)
    group = found[0].group
    kind = "" if group else in_words(_type(found[0], key, [entry]))
    files: dict[str, list[str]] = {}
    for one in found:
        files.setdefault(one.default, []).append(one.file)
    by_file = [f"{value or 'null'} ({', '.join(dict.fromkeys(names))})" for value, names in files.items()]
    lines = [
        f"{key}: {_comment(entry, key) or 'no comment'}",
        *([f"type: {kind}"] if kind else []),
        *([f"default: {', '.join(by_file if len(files) > 1 else files)}"] if any(files) else []),
    ]
    nested = [one for one in settings_of(found[0].file) if one.key.startswith(f"{key}.")]
    rows = [(one.key.rpartition(".")[2], f"{one.default}  {one.comment}") for one in nested]
    if group:
        offered = experiments_of(entry) if group == "experiment" else choices(group)
        rows = [(choice, about(f"{group}/{choice}")) for choice in offered]
    return "\n".join([*_wrapped(lines), *_table(rows)])


def page() -> str:
    """Return the page of all settings, in Markdown."""
    parts = [
        "# All settings",
        "Made from the comments of `conf/` by `make settings`; don't edit. `swag stylize --help KEY` "
        "says the same of one setting.",
        *(part for entry in entries() if entry != "search" for part in _section(entry)),
        "## Groups",
        *(part for group in groups() for part in _group_section(group)),
    ]
    return "\n\n".join(parts) + "\n"


def _section(entry: str) -> Iterator[str]:
    yield f"## {entry}"
    yield about(entry) + "."
    rows = [
        (f"`{one.key}`", _kind(one, one.key, [entry]), _code(one.default), _comment(entry, one.key))
        for one in settings_of(entry)
        if one.group != "hydra" and (one.default or one.group)
    ]
    yield _markdown(("setting", "type", "default", "meaning"), rows)


def _group_section(group: str) -> Iterator[str]:
    yield f"### {group}"
    files = [f"{group}/{choice}" for choice in choices(group)]
    yield _markdown(("choice", "what it is"), [(f"`{Path(file).name}`", about(file)) for file in files])
    settings: dict[str, list[Setting]] = {}
    for one in (one for file in files for one in settings_of(file)):
        settings.setdefault(one.key, []).append(one)
    rows = [
        _row(f"{group}.{key}", found, settings.get(key.rpartition(".")[0], ()))
        for key, found in settings.items()
        if any(one.default for one in found)
    ]
    if rows and group not in CHOOSING:
        yield _markdown(("setting", "type", "values", "meaning"), rows)


def _row(key: str, found: Sequence[Setting], above: Sequence[Setting]) -> tuple[str, ...]:
    values = list(dict.fromkeys(one.default for one in found if one.default))
    listed = ", ".join(map(_code, values)) if len(values) <= MOST_LISTED else ""
    comment = next((one.comment for one in (*found, *above) if one.comment), "")
    return f"`{key}`", _kind(found[0], key), listed, comment


def _kind(setting: Setting, key: str, known_by: Iterable[str] | None = None) -> str:
    """Return a setting's type in Markdown; a group is a link to its section."""
    if group := setting.group:
        return f"a choice of [{group}](#{group.replace('/', '')})"
    return in_words(_type(setting, key, entries() if known_by is None else known_by))


def _comment(entry: str, key: str) -> str:
    return next((one.comment for one in _default_first(entry, key) if one.comment), "") or comment_of(key)


def _default(entry: str, key: str) -> str:
    return next((one.default for one in _default_first(entry, key)), "")


def _default_first(entry: str, key: str) -> list[Setting]:
    """Return a setting of all files, that of the file that the entry point chooses by default first."""
    chosen = {f"{one.group}/{one.default}" for one in settings_of(entry) if one.group}
    return sorted(find(entry, key), key=lambda one: one.file not in chosen)


def _type(setting: Setting, key: str, known_by: Iterable[str]) -> Any:
    """Return the type of a setting; `Any` if it may be anything.

    Args:
        setting: The setting.
        key: Its dotted key within the configs of entry points.
        known_by: The names of the configs that may have it.
    """
    node, _, name = key.rpartition(".")
    if target := setting.target or OWNED.get(node):
        from experiments.building import declared_type  # here: it imports torch

        return declared_type(target, name)
    found: Iterator[Any] = (reduce(_inner, key.split("."), types_of(entry)) for entry in known_by)
    return next((kind for kind in found if kind is not Any), Any)


def _inner(kinds: Any, name: str) -> Any:
    return kinds.get(name, Any) if isinstance(kinds, dict) else Any


def _code(value: str) -> str:
    return f"`{value}`" if value else ""


def _markdown(head: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    cells = [head, ["---"] * len(head), *([cell.replace("|", r"\|") for cell in row] for row in rows)]
    return "\n".join(f"| {' | '.join(row)} |" for row in cells)


def _table(rows: Iterable[tuple[str, str]]) -> list[str]:
    """Return lines of two columns, the second one wrapped to the terminal's width."""
    rows = list(rows)
    width = min(max((len(first) for first, _ in rows), default=0), 30)
    return [line for first, second in rows for line in _wrapped([f"  {first:{width}}  {second}"], width + 4)]


def _wrapped(lines: Iterable[str], indent: int = 2) -> list[str]:
    width = max(shutil.get_terminal_size().columns - 1, 60)
    wrapper = textwrap.TextWrapper(width, subsequent_indent=" " * indent, break_on_hyphens=False)
    wrapper.break_long_words = False
    return [part for line in lines for part in (wrapper.wrap(line) or [""])]


if __name__ == "__main__":
    print(page(), end="")
