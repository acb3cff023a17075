"""Errors that a user can mend. An entry point prints their message without a traceback."""

from __future__ import annotations

from collections.abc import Iterable


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


def check_choice(setting: str, value: object, choices: Iterable[str]) -> None:
    """Raise a `SettingError` unless the value is one of the choices."""
    if value not in (known := list(choices)):
        raise SettingError(setting, f"should be one of {', '.join(known)}", repr(value), "Choose one.")
