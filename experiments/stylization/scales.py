"""The sizes at which a picture is optimised, coarse to fine, and the settings of each size."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from experiments.config import Config
from swag_repro.errors import SettingError, check_number
from swag_repro.networks import Execution


@dataclass(frozen=True)
class PictureScale:
    """One of the sizes at which a picture is optimised.

    Attributes:
        part: The size as a part of the image's size, in (0, 1].
        steps: The optimiser's iterations after which a pair ends at this scale.
        evaluations: The evaluations of the loss after which a pair ends at this scale; None for no bound.
        autocast: The network's precision at this scale, see `swag_repro.networks.Execution`.

    Raises:
        SettingError: A number is too small, or the precision is unknown.
    """

    part: float
    steps: int
    evaluations: int | None
    autocast: str | None

    def __post_init__(self) -> None:
        check_number("steps", self.steps, least=0, whole=True)
        if self.evaluations is not None:
            check_number("evaluations", self.evaluations, least=1, whole=True)
        Execution(autocast=self.autocast)  # raises if there is no such precision

    @property
    def most(self) -> int:
        """Evaluations of a pair if no line search needs a second one."""
        return self.steps if self.evaluations is None else min(self.steps, self.evaluations)


def scales_of(config: Config) -> tuple[PictureScale, ...]:
    """Return the scales that a stylisation's config asks for; the last one is the whole size.

    `steps`, `evaluations` and `execution.autocast` are one value for all scales, or a list with one for each.

    Raises:
        SettingError: The parts don't end with the whole size, or a list has another length.
    """
    parts = config.scales
    if not parts or parts[-1] != 1.0 or not all(0 < part <= 1 for part in parts):
        rule = "should be parts of the size, above 0, that end with 1.0"
        raise SettingError("scales", rule, parts, "[1.0] is a single scale.")
    _check_shared(config)
    each = [_each(config, name, len(parts)) for name in ("steps", "evaluations", "execution.autocast")]
    return tuple(PictureScale(*values) for values in zip(parts, *each, strict=True))


def _each(config: Config, name: str, scales: int) -> Sequence[Any]:
    """Return a setting's value at each scale."""
    given = config.select(name)
    values = given if isinstance(given, list) else [given] * scales
    if len(values) != scales:
        rule = f"should have one value for each of the {scales} scales {config.scales}"
        remedy = "Change both, or give one value for all scales."
        raise SettingError(name, rule, f"{len(values)}: {values}", remedy)
    return values


def _check_shared(config: Config) -> None:
    """Raise if only one of `steps` and `evaluations` has a value per scale.

    Otherwise one of them could silently cut the other short.
    """
    steps, evaluations = config.steps, config.evaluations
    if evaluations is None or isinstance(steps, list) == isinstance(evaluations, list):
        return
    shared, other = ("steps", "evaluations") if isinstance(steps, list) else ("evaluations", "steps")
    rule = f"should have one value for each scale, as `{shared}` has"
    raise SettingError(other, rule, config.plain[other], "Give both as lists, or both as one number.")
