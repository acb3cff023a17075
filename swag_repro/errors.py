"""Errors that a user can mend. An entry point prints their message without a traceback."""

from __future__ import annotations

import math
from collections.abc import Iterable
from pathlib import Path
from typing import Any


class UserError(Exception):
    """An error that a user can mend. Its message says what is wrong: name, rule, finding, remedy.

    It can be pickled, so it passes from process to process.
    """

    def __init__(self, name: str, rule: str, found: object, remedy: str) -> None:
        super().__init__(name, rule, str(found), remedy)

    def __str__(self) -> str:
        name, rule, found, remedy = self.args
        return f"`{name}` {rule}; found {found}. {remedy}"


class SettingError(UserError, ValueError):
    """An error in a setting: its value is outside its range, or of the wrong type."""


class ImageError(UserError):
    """An error in an image: it is missing, unreadable, or of a size on which nothing can be measured."""


class WeightsError(UserError):
    """An error in weights: they are missing, corrupt, other than announced, or of another network."""


class StoreError(UserError):
    """An error in a run directory: it can't be written or read."""


class NonFiniteError(UserError, ArithmeticError):
    """An error in numbers: a network returned NaN or infinity."""


class TrackingError(UserError):
    """An error of W&B: its server does not answer, or refuses a request."""


class DataError(UserError):
    """An error in labelled images: they are missing, unreadable, or unfit to train on."""


class TrainingError(UserError, ArithmeticError):
    """An error in a training: it diverged, or doesn't fit into memory."""


def remedy_for(path: Path, otherwise: str) -> str:
    """Return the remedy for a file that is missing or damaged; one of this package can be installed again."""
    ships = path.is_relative_to(Path(__file__).parent)
    return "It ships with swag-repro: install that again." if ships else otherwise


def check_choice(setting: str, value: object, choices: Iterable[str]) -> None:
    """Raise a `SettingError` unless the value is one of the choices."""
    if value not in (known := list(choices)):
        raise SettingError(setting, f"should be one of {', '.join(known)}", repr(value), "Choose one.")


MOST = 2**31 - 1
"""The largest count: no memory holds more of anything."""

LAST_SEED = 2**63 - 1
"""The largest seed that torch takes."""


def check_number(
    setting: str,
    value: Any,
    *,
    least: float = -math.inf,
    above: float = -math.inf,
    below: float = math.inf,
    most: float = math.inf,
    whole: bool = False,
    remedy: str = "conf/ shows a usual one.",
) -> None:
    """Raise a `SettingError` unless the value is a finite number within its bounds.

    Args:
        setting: The setting's dotted key.
        value: The value, of any type.
        least: The smallest value.
        above: A bound that the value exceeds.
        below: A bound that exceeds the value.
        most: The largest value.
        whole: Whether it is a whole number, at most `MOST` unless `most` says otherwise.
        remedy: The sentence that says what to do.
    """
    kinds = int if whole else int | float
    is_number = isinstance(value, kinds) and not isinstance(value, bool)
    if is_number and whole and value > MOST:
        most = MOST if most == math.inf else most
    if is_number and least <= value <= most and above < value < below and abs(value) < math.inf:
        return
    bounds = {"from": least, "above": above, "to": most, "below": below}
    words = [f"{word} {bound}" for word, bound in bounds.items() if math.isfinite(bound)]
    kind = "whole number" if whole else "number"
    rule = " and ".join(words).replace(" and to ", " to ")
    raise SettingError(setting, f"should be a {kind} {rule}".rstrip(), repr(value), remedy)


def check_seed(setting: str, seed: Any) -> None:
    """Raise a `SettingError` unless the seed is a whole number that torch takes."""
    check_number(setting, seed, least=0, most=LAST_SEED, whole=True, remedy="Choose one, such as 0.")
