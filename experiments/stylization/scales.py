"""The sizes at which a picture is optimised, coarse to fine, and what each of them has of its own."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from omegaconf import DictConfig, OmegaConf

from experiments.building import fits
from swag_repro.errors import SettingError


@dataclass(frozen=True)
class Scale:
    """One of the sizes.

    Attributes:
        part: of the image's size, in (0, 1].
        steps: iterations of the optimiser after which a pair ends there.
        evaluations: of its loss, likewise; None for no bound.
        autocast: of the network there, see `swag_repro.networks.Levers`.
    """

    part: float
    steps: int
    evaluations: int | None
    autocast: str | None

    @property
    def most(self) -> int:
        """Evaluations of a pair, if none of its line searches needs a second one."""
        return self.steps if self.evaluations is None else min(self.steps, self.evaluations)


def scales_of(config: DictConfig) -> tuple[Scale, ...]:
    """The scales that a stylisation's config asks for, the whole size last.

    `steps`, `evaluations` and `levers.autocast` are one value for all scales, or a list of one for each.

    Raises:
        SettingError: parts that don't end with the whole size, or a list of another length.
    """
    parts = list(config.scales)
    if not parts or parts[-1] != 1.0 or not all(0 < part <= 1 for part in parts):
        rule = "should be parts of the size, above 0, that end with 1.0"
        raise SettingError("scales", rule, parts, "[1.0] is a single scale.")
    _check_shared(config)
    each = [
        _each(config, "steps", int, len(parts)),
        _each(config, "evaluations", int | None, len(parts)),
        _each(config, "levers.autocast", str | None, len(parts)),
    ]
    return tuple(Scale(*values) for values in zip(parts, *each, strict=True))


def _each(config: DictConfig, name: str, kind: Any, scales: int) -> Sequence[Any]:
    """A setting's value at each scale."""
    given = OmegaConf.select(config, name)
    values = list(given) if OmegaConf.is_list(given) else [given] * scales
    if len(values) != scales:
        rule = f"should have one value for each of the {scales} scales {list(config.scales)}"
        remedy = "Change both, or give one value for all scales."
        raise SettingError(name, rule, f"{len(values)}: {values}", remedy)
    for value in values:
        if not fits(value, kind):
            what = "words" if kind == str | None else "whole numbers"
            found = values if OmegaConf.is_list(given) else given
            rule = f"should be {what}, one for all scales or a list of one for each"
            raise SettingError(name, rule, repr(found), "conf/stylize.yaml shows some.")
    return values


def _check_shared(config: DictConfig) -> None:
    """Steps that are shared out over scales and evaluations that aren't would cut each other short unseen."""
    steps, evaluations = (OmegaConf.select(config, name) for name in ("steps", "evaluations"))
    if evaluations is None or OmegaConf.is_list(steps) == OmegaConf.is_list(evaluations):
        return
    shared, other = ("steps", "evaluations") if OmegaConf.is_list(steps) else ("evaluations", "steps")
    rule = f"should have one value for each scale, as `{shared}` has"
    raise SettingError(other, rule, config[other], "Give both as lists, or both as one number.")
