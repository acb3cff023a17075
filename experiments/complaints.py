"""The errors of Hydra and OmegaConf in this project's words: one line each, with the nearest name."""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence

from omegaconf.errors import OmegaConfBaseException

from experiments.settings import entries, find, known_keys
from swag_repro.errors import SettingError, UserError
from swag_repro.program import did_you_mean


def complaint(error: Exception) -> UserError:
    """Return an error of Hydra or OmegaConf as a user's error; a user's error stays as it is.

    Args:
        error: A `UserError`, a `HydraException` or an `OmegaConfBaseException`.
    """
    if isinstance(error, UserError):
        return error
    text, key = str(error), str(getattr(error, "full_key", None) or "command")
    for pattern, refers in REFERENCES:
        if found := re.search(pattern, text):
            return refers(found[1], key)
    for pattern, made in HYDRAS:
        if found := re.search(pattern, text, re.DOTALL):
            return made(*found.groups())
    cause = error.__cause__
    if isinstance(cause, OmegaConfBaseException) and cause is not error:  # so it is under a debugger
        return complaint(cause)
    return SettingError(key, "should be what --help shows", _line(text), f"Type: --help {key}")


def _unknown(key: str) -> UserError:
    above, _, name = key.rpartition(".")
    beside = sorted(one.rpartition(".")[2] for one in known_keys() if one.rpartition(".")[0] == above)
    if key in known_keys():
        remedy = f"--help {key} says which choices of its group have it."
    elif above and beside:  # what two keys share at their start is no likeness
        remedy = did_you_mean(name, beside, f"{above} has {', '.join(beside)}.", sign=f"{above}.")
    else:
        remedy = did_you_mean(key, known_keys(), "--help KEY explains a setting or a group.")
    return SettingError(key, "should be a setting of this command", "none of that name", remedy)


UNKNOWN: dict[str, Callable[[str, Sequence[str]], UserError | None]] = {}
"""Group → a function of an unknown choice and of the files there are that returns its error."""


def _choice(group: str, choice: str, listed: str) -> UserError:
    names = listed.split()
    root, _, rest = group.partition("/")
    if root in UNKNOWN and (error := UNKNOWN[root](f"{rest}/{choice}".lstrip("/"), names)):
        return error
    remedy = did_you_mean(choice, names, f"--help {group} explains them.")
    return SettingError(group, f"should be one of {', '.join(names)}", repr(choice), remedy)


def _there(key: str) -> UserError:
    rule = "should have no + before it, because it is there already"
    return SettingError(key, rule, f"+{key}", "Leave + out.")


def _missing(key: str) -> UserError:
    return SettingError(
        f"~{key}",
        "should name a setting of this command",
        "none of that name",
        did_you_mean(key, known_keys(), "Leave it out.", sign="~"),
    )


def _variable(name: str, key: str) -> UserError:
    rule, remedy = (
        f"should be set, because {key} refers to it",
        f"Set it, or write ${{oc.env:{name},DEFAULT}}.",
    )
    return SettingError(f"${name}", rule, "no such variable", remedy)


def _reference(name: str, key: str) -> UserError:
    remedy = did_you_mean(name, known_keys(), "Write it in full, from the top.")
    return SettingError(key, "should refer to a setting", f"${{{name}}}", remedy)


LISTS: set[str] = set()
"""The settings that take lists; `experiments.config` fills it."""


def _takes_list(key: str) -> bool:
    found = (one for entry in entries() for one in find(entry, key))
    return key in LISTS or any(one.default.startswith("[") for one in found)


def _several(key: str) -> UserError:
    a_list = f"; a list is {key}=[a,b]" if _takes_list(key) else ""
    remedy = f"-m computes a sweep{a_list}."
    return SettingError(key, "should have one value", "several", remedy)


REFERENCES = (
    (r"Environment variable '(\w+)' not found", _variable),
    (r"Interpolation key '([^']*)' not found", _reference),
)
"""Patterns of OmegaConf's messages on interpolations, and the functions that make ours of them."""

HYDRAS: tuple[tuple[str, Callable[..., UserError]], ...] = (
    (
        r"Could not find '(.*)/([^/']*)'.*Available options in '[^']*':(.*?)(?:\nConfig search|$)",
        _choice,
    ),
    (r"Could not override '([^']*)'", _unknown),
    (r"Could not append to config\. An item is already at '([^']*)'", _there),
    (r"Multiple values for (\S+)\. ", _there),
    (r"Could not delete from config\. '([^']*)'", _missing),
    (r"Could not delete '([^'=]*)[^']*'", _missing),
    (r"Ambiguous value for argument '([^'=]*)=", _several),
)
"""Patterns of other messages of Hydra and OmegaConf, and the functions that make ours of them."""


def _line(text: str) -> str:
    """Return a message's first line, without the name of the exception that OmegaConf prefixes."""
    lines = text.strip().splitlines() or ["nothing"]
    return re.sub(r"^\w+ raised while resolving interpolation: ", "", lines[0])
