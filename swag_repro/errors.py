"""Mistakes a user can mend. An entry point prints their message and no traceback."""

from __future__ import annotations

from collections.abc import Iterable


class UserError(Exception):
    """Says what is wrong in one message: name, rule, finding, remedy. Passes from process to process."""

    def __init__(self, name: str, rule: str, found: object, remedy: str) -> None:
        super().__init__(name, rule, str(found), remedy)

    def __str__(self) -> str:
        name, rule, found, remedy = self.args
        return f"`{name}` {rule}; found {found}. {remedy}"


class SettingError(UserError, ValueError):
    """A setting has a value outside its range, or of the wrong type."""


class ImageError(UserError):
    """An image is missing, unreadable, or of a size nothing can be measured on."""


class WeightsError(UserError):
    """Weights are missing, corrupt, not those announced, or of another network."""


class StoreError(UserError):
    """A run directory can't be written or read."""


class NonFiniteError(UserError, ArithmeticError):
    """A network returned NaN or infinity."""


class TrackingError(UserError):
    """W&B's server does not answer, or refuses what it is asked."""


class DataError(UserError):
    """Labelled images are missing, unreadable, or can't be trained on."""


class TrainingError(UserError, ArithmeticError):
    """A training diverged, or doesn't fit into memory."""


def check_choice(setting: str, value: object, choices: Iterable[str]) -> None:
    """Raises a `SettingError` unless the value is one of the choices."""
    if value not in (known := list(choices)):
        raise SettingError(setting, f"should be one of {', '.join(known)}", repr(value), "Choose one.")
