"""The files of `conf/`: the groups, their choices, and the settings with their defaults and comments.

This module imports neither Hydra nor torch, so completion in a shell is quick.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass, replace
from functools import cache
from pathlib import Path

import yaml

import conf
from swag_repro.runs.files import SafeLoader

CONF = Path(conf.__file__).parent

GLOBAL = "# @package _global_"
"""The first line of files that only choose settings of others."""

GLOBAL_GROUPS = ("preset", "arm", "experiment")
"""The groups whose files begin so."""

APART = ("claims", "hydra")
"""The folders of `conf/` that are no groups of settings."""


@dataclass(frozen=True)
class Setting:
    """A setting, as one file of `conf/` has it.

    Attributes:
        key: Its dotted key within the file, or the name of the group that is chosen there.
        default: Its value, as written; empty for a mapping.
        comment: The comment behind or above it.
        file: The file without its suffix, relative to `conf/`, such as `smoothing/softmax`.
        target: The `_target_` that takes it as an argument; empty if there is none.
        group: The group from which it chooses; empty for a value.
        package: The dotted key, within the file, below which the chosen file's settings lie.
    """

    key: str
    default: str
    comment: str
    file: str
    target: str = ""
    group: str = ""
    package: str = ""


def entries() -> list[str]:
    """Return the names of the configs of all entry points."""
    return sorted(path.stem for path in CONF.glob("*.yaml"))


@cache
def groups() -> list[str]:
    """Return the names of all groups, such as `network` and `preset/feedforward`."""
    folders = {path.parent.relative_to(CONF) for path in CONF.rglob("*/*.yaml")}
    return sorted(folder.as_posix() for folder in folders if folder.parts[0] not in APART)


def choices(group: str, beside: Path | None = None) -> list[str]:
    """Return the names of a group's files in `conf/`, and in a folder of the user's."""
    folders = [CONF, *([] if beside is None else [beside])]
    return sorted({path.stem for folder in folders for path in (folder / group).glob("*.yaml")})


def experiments() -> list[str]:
    """Return the names of all files of `conf/experiment`."""
    return choices("experiment")


def experiments_of(entry: str) -> list[str]:
    """Return the names of the experiments that an entry point computes."""
    return [name for name in experiments() if entry_of(name) in (entry, None)]


def entry_of(experiment: str, beside: Path | None = None) -> str | None:
    """Return the entry point that an experiment's file names; None if there is no file, or it names none.

    Args:
        experiment: The experiment.
        beside: A folder of the user's settings beside `conf/`.
    """
    paths = (folder / "experiment" / f"{experiment}.yaml" for folder in (CONF, beside) if folder is not None)
    texts = (_text(path) for path in paths if path.is_file())
    found = (re.search(r"^entry: *(\w+)", text, re.MULTILINE) for text in texts)
    return next((entry[1] for entry in found if entry), None)


def about(file: str) -> str:
    """Return the first sentence of a file's first comment, without the commands in it."""
    text = _text(CONF / f"{file}.yaml").removeprefix(GLOBAL).lstrip("\n")
    lines = [re.sub(r"(^|: )\s*(python|swag|torchrun) .*", "", line[2:]) for line in _leading_comment(text)]
    sentence = re.split(r"\.\s+(?=[A-Z])", " ".join(filter(None, lines)))[0].rstrip(".")
    return re.sub(rf"^{file.rpartition('/')[0]}={file.rpartition('/')[2]}[^:]*: ", "", sentence)


def _leading_comment(text: str) -> Iterator[str]:
    for line in text.splitlines():
        if not line.startswith("#") or line == "#":
            return
        yield line


@cache
def settings_of(file: str) -> tuple[Setting, ...]:
    """Return the settings of a file, and those that it takes over from other files of its group."""
    text, path = _text(CONF / f"{file}.yaml"), Path(file)
    node = yaml.compose(text, SafeLoader)
    found: dict[str, Setting] = {}
    for key, value in node.value if isinstance(node, yaml.MappingNode) else ():
        for item in value.value if key.value == "defaults" else ():
            if isinstance(item, yaml.MappingNode):
                made = _choice(item, text.splitlines(), file)
                found |= {made.key: made} if made is not None else {}
            elif not item.value.startswith(("_", "override ")):
                parent = path.parent / item.value.partition("@")[0]
                found |= {one.key: one for one in settings_of(parent.as_posix())}
    inherited = next((one.target for one in found.values() if "." not in one.key and one.target), "")
    for one in _of_mapping(node, text.splitlines(), file, "", inherited):
        before = found.get(one.key, one)
        kept = before if before.group else one  # a node may set some values of the choice of a group
        found[one.key] = replace(kept, comment=one.comment or before.comment)
    return tuple(found.values())


def find(file: str, key: str) -> list[Setting]:
    """Return a dotted key of a config as each file has it that may be chosen; empty if no file has it.

    Args:
        file: A file of `conf/` without its suffix, such as `stylize`.
        key: A dotted key, such as `smoothing.temperature`, or a group, such as `smoothing@objective.like`.
    """
    key = key if key in (one.key for one in settings_of(file)) else key.rpartition("@")[2]
    return [one for one in settings_of(file) if key in (one.key, one.package)] or [
        found
        for one in settings_of(file)
        if one.group and key.startswith(f"{one.package}.")
        for choice in choices(one.group)
        for found in find(f"{one.group}/{choice}", key.removeprefix(f"{one.package}."))
    ]


@cache
def known_keys() -> frozenset[str]:
    """Return the dotted keys and the groups of all entry points."""
    return frozenset(key for entry in entries() for key in below(entry))


def below(file: str, package: str = "") -> Iterator[str]:
    """Yield the dotted keys and the groups of a file, and those of the files that it may choose.

    Args:
        file: A file of `conf/` without its suffix.
        package: The dotted key below which its settings lie.
    """
    above = f"{package}." if package else ""
    for one in settings_of(file):
        yield f"{one.group}@{above}{one.package}" if one.group and package else f"{above}{one.key}"
        for choice in choices(one.group) if one.package else ():
            yield from below(f"{one.group}/{choice}", f"{above}{one.package}")


@cache
def comments() -> dict[str, str]:
    """Return the comment of each setting that has one, by its dotted key, such as `smoothing.temperature`."""
    found: dict[str, str] = {}
    for file in [*entries(), *(f"{group}/{choice}" for group in groups() for choice in choices(group))]:
        group = file.rpartition("/")[0]
        if group != "experiment" and not _text(CONF / f"{file}.yaml").startswith(GLOBAL):
            for one in settings_of(file):
                if one.comment:
                    found.setdefault(f"{group}.{one.key}" if group else one.key, one.comment)
    return found


def comment_of(setting: str) -> str:
    """Return the comment of a setting, else that of the same key in its group's files; else name the group.

    Args:
        setting: A dotted key, such as `measures.network.shortcut`.
    """
    parts = setting.split(".")
    names = (".".join(parts[start:]) for start in range(len(parts)))
    known = (comments().get(name) for name in names)
    found = (f"see conf/{part}" for part in reversed(parts) if (CONF / part).is_dir())
    return next((text for text in (*known, *found) if text), "")


def _text(path: Path) -> str:
    return path.read_text(encoding="utf-8")


def _choice(item: yaml.MappingNode, lines: list[str], file: str) -> Setting | None:
    """Return the choice of a group in a list of defaults; None if it overrides another one."""
    [(key, value)] = item.value
    if key.value.startswith("override "):
        return None
    group, _, package = key.value.lstrip("/").partition("@")
    comment = _behind(lines, value)
    package = package or ("" if group.startswith(GLOBAL_GROUPS) else group)
    return Setting(key.value.lstrip("/"), value.value, comment, file, "", group, package)


def _of_mapping(
    node: yaml.Node | None, lines: list[str], file: str, above: str = "", inherited: str = ""
) -> Iterator[Setting]:
    pairs = node.value if isinstance(node, yaml.MappingNode) else []
    target = next((value.value for key, value in pairs if key.value == "_target_"), inherited)
    for key, value in pairs:
        if (key.value == "defaults" and not above) or key.value.startswith("_"):
            continue
        nested = isinstance(value, yaml.MappingNode) and not value.flow_style
        comment = _behind(lines, key if nested else value) or _above(lines, key.start_mark.line)
        name, default = f"{above}{key.value}", "" if nested else _written(lines, value)
        yield Setting(name, default, comment, file, target)
        if isinstance(value, yaml.MappingNode):
            yield from _of_mapping(value, lines, file, f"{name}.")


def _written(lines: list[str], value: yaml.Node) -> str:
    """Return a value as it is written, in one line."""
    start, end = value.start_mark, value.end_mark
    if isinstance(value, yaml.ScalarNode) or start.line == end.line:
        return lines[start.line][start.column : end.column if start.line == end.line else None].strip()
    return f"[{', '.join(str(item.value) for item in value.value)}]"


def _behind(lines: list[str], node: yaml.Node) -> str:
    end = node.end_mark
    return lines[end.line][end.column :].partition("# ")[2] if end.line < len(lines) else ""


def _above(lines: list[str], line: int) -> str:
    """Return the comment directly above a line; a comment at the top describes the whole file."""
    start = line
    while start > 0 and lines[start - 1].lstrip().startswith("#"):
        start -= 1
    return " ".join(text.lstrip("# ") for text in lines[start:line]) if start > 0 else ""
