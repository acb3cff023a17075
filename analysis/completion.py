"""Tab completion of `swag` in bash and zsh. It loads neither torch nor Hydra, so that the shell needn't wait.

eval "$(swag completion bash)"
"""

from __future__ import annotations

import re
import shlex
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path

from experiments.settings import below, choices, entry_of, experiments_of, find, known_keys, settings_of

SCRIPTS = {
    "bash": r"""_swag() {
    mapfile -t COMPREPLY < <(swag completion bash "${COMP_LINE:0:COMP_POINT}" "$COMP_WORDBREAKS" 2>/dev/null)
    [[ ${COMPREPLY[0]} == *[=./] ]] && compopt -o nospace
}
complete -F _swag swag""",
    "zsh": r"""(( $+functions[compdef] )) || { autoload -Uz compinit && compinit; }
_swag() {
    local -a found
    found=("${(@f)$(swag completion zsh "${(j: :)words[1,CURRENT-1]} $PREFIX" 2>/dev/null)}")
    compadd -U -Q -S '' -- ${(M)found:#*[=./]}
    compadd -U -Q -- ${found:#*[=./]}
}
compdef _swag swag""",
}
"""The text that each shell evaluates; it asks `swag completion SHELL LINE`."""

PATHS = {"content", "style", "masks", "path", "folder", "output", "start"}
"""The last parts of settings whose values may be files."""

TAKES_PATH = {"--config-dir", "--output", "--results", "--style", "--to"}
"""The flags whose values are files."""

FOLDERS = ("calibrate", "explain", "figure", "plot", "report", "runs", "sheet", "status", "study")
"""The commands whose arguments may be files, or folders of sweeps."""

ROLES = ("x", "y", "hue", "col", "row")
"""The arguments of `plot` that name settings."""

PLAIN = re.compile(r"[\w./~+%-]*", re.ASCII)
"""The text that Hydra's grammar takes without quotes."""


def completion(shell: str, line: str, breaks: str, commands: Mapping[str, tuple[str, str]]) -> list[str]:
    """Return what may stand for the last word of a line; bash replaces only what follows its last break.

    Args:
        shell: `bash` or `zsh`.
        line: The command line up to the cursor.
        breaks: The letters at which bash breaks words.
        commands: The commands of `swag`, with their modules.
    """
    words = _split(line)
    found = [one for one in _candidates(words, commands) if re.sub("[\"']", "", one).startswith(words[-1])]
    kept = max((words[-1].rfind(letter) + 1 for letter in breaks), default=0) if shell == "bash" else 0
    return [one[kept:] for one in dict.fromkeys(found)]


def _split(line: str) -> list[str]:
    for closing in ("", "'", '"'):
        try:
            words = shlex.split(line + closing)
        except ValueError:
            continue
        return [*words, ""] if line.endswith(" ") and not closing else words
    return line.split(" ")


def _candidates(words: Sequence[str], commands: Mapping[str, tuple[str, str]]) -> Iterable[str]:
    if len(words) < 3:
        return commands
    command, given, word = words[1], words[2:-1], words[-1]
    module, _ = commands.get(command, ("", ""))
    if given and given[-1] in TAKES_PATH:
        return _files(word)
    if word.startswith("-"):
        return _flags(command, module)
    if module == "analysis.commands":
        return _of_analysis(command, given, word)
    if command == "network":
        return () if given else choices("network")
    if module.startswith("experiments.") and command != "experiments":
        entry = {"judge": "stylize"}.get(command, module.removeprefix("experiments."))
        keys = _overrides(entry, word)
        return (key.rstrip("=") for key in keys) if given[-1:] in (["--help"], ["-h"]) else keys
    return ()


def _flags(command: str, module: str) -> Iterable[str]:
    if module == "analysis.commands":
        from analysis.commands import flags_of  # here: only flags need the commands' parsers

        return flags_of(command)
    if module.startswith("experiments.") and command not in ("experiments", "network"):
        from experiments.help import FLAGS_IN_WORDS  # here: it imports OmegaConf

        return (*FLAGS_IN_WORDS, "-m")
    return ()


def _of_analysis(command: str, given: Sequence[str], word: str) -> Iterator[str]:
    if command == "figure" and not any(not one.startswith("-") and "=" not in one for one in given):
        from analysis.figures import FIGURES  # here: only figures' names need it

        yield from FIGURES
    if command in FOLDERS:
        yield from (*_files(word), "last")
    if command == "plot":
        role, equals, _ = word.partition("=")
        keys = known_keys() if equals and role in ROLES else ()
        yield from (f"{role}={key}" for key in keys) if equals else (f"{one}=" for one in ROLES)
    if command not in ("calibrate", "collect", "explain", "export"):
        named = [one.partition("=")[2] for one in given if one.startswith("experiment=")]
        yield from _overrides(next(filter(None, map(entry_of, named)), "stylize"), word)


def _overrides(entry: str, word: str) -> Iterator[str]:
    """Yield overrides of an entry point that complete a word: `key=`, or `key=value` after `=`."""
    key, equals, value = word.partition("=")
    if equals:
        # Of several values, as in network=vgg16,res or style=[a.jpg,b, the last one is completed.
        head = value[: max(value.rfind(","), value.rfind("[")) + 1]
        yield from (f"{key}={head}{one}" for one in _values(entry, key, value.removeprefix(head)))
        return
    for one in settings_of(entry):
        if one.group or one.default:
            yield f"{one.key}="
        if one.package and key.rpartition("@")[2].startswith(f"{one.package}."):
            files = (f"{one.group}/{choice}" for choice in choices(one.group))
            yield from (f"{inner}=" for file in files for inner in below(file, one.package))


def _values(entry: str, key: str, begun: str) -> Iterable[str]:
    found = find(entry, key)
    group = next((one.group for one in found), "")
    if group:
        return experiments_of(entry) if group == "experiment" else choices(group)
    if {one.default for one in found} <= {"true", "false"} and found:
        return ("true", "false")
    return _files(begun) if key.rpartition(".")[2] in PATHS else ()


def _files(begun: str) -> Iterator[str]:
    """Yield files whose path begins so, in quotes where Hydra needs them; folders end with a slash."""
    folder, slash, name = begun.rpartition("/")
    place = Path(f"{folder}{slash}" or ".").expanduser()
    for path in sorted(place.iterdir()) if place.is_dir() else ():
        if path.name.startswith(name) and (name or not path.name.startswith(".")):
            text = f"{folder}{slash}{path.name}{'/' if path.is_dir() else ''}"
            if PLAIN.fullmatch(text):
                yield text
            elif not re.search(r"""["'$`\\]""", text):
                yield f"\"'{text}'\""
