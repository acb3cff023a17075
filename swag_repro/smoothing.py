"""SWAG's smoothing σ of activations, its variants in the authors' code, and concave alternatives.

A smoothing maps activations `(B, D, ...)` to the same shape, each image by itself. Losses and statistics use
it; the network never sees it. An adaptive temperature is read from `reference`. In a loss this is the
activations of the image to be matched, so that both images are smoothed alike.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Any, ClassVar, Protocol, runtime_checkable

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable

from swag_repro.errors import SettingError, check_choice, check_number


@runtime_checkable
class Smoothing(Protocol):
    """A smoothing, one file of `conf/smoothing`; `str()` of it is its name in tables."""

    def __call__(self, features: Tensor, reference: Tensor | None = None) -> Tensor:
        """Return smoothed activations, in the shape of `features` `(B, D, ...)`, float32 or wider.

        Only each image's `peak` in `reference` counts, so that the peaks `(B, 1)` may replace it.
        """


def smooth(smoothing: Smoothing, features: Tensor, *reference: Tensor) -> Tensor:
    """Return smoothed activations, in the shape of `features` `(B, D, ...)`.

    Args:
        smoothing: the smoothing.
        features: `(B, D, ...)`.
        reference: none, or one; see `Smoothing`.

    Raises:
        SettingError: the smoothing returns another shape.
    """
    smoothed = smoothing(features, *reference)
    if smoothed.shape != features.shape:
        rule = "should return as many values as it is given"
        found = f"{tuple(smoothed.shape)} from {type(smoothing).__name__} for {tuple(features.shape)}"
        raise SettingError("smoothing", rule, found, "The dimensions are images, channels, height, width.")
    return smoothed


def peak(features: Tensor) -> Tensor:
    """Return the largest magnitude of each image's activations, without gradient: `(B, ...)` → `(B, 1)`."""
    largest: Tensor = torch.linalg.vector_norm(
        features.detach().flatten(1), ord=float("inf"), dim=1, keepdim=True
    )
    return largest


def softmax(features: Tensor, temperature: Tensor | float = 1.0, total: float = 1.0) -> Tensor:
    """Return `σ(F)_ik = e^{F_ik/T} / Σ_{m,n} e^{F_mn/T}` over channels and positions of an image (SWAG).

    `torch.softmax` adds a long row of float32 one by one: at 1024 px its sum over relu1_1 is off by percents.

    Args:
        features: `(B, D, ...)`.
        temperature: T > 0, a number or one per image `(B, 1)`; a constant of the gradient.
        total: the sum of each image's values.

    Returns:
        The shape of `features`; in [0, `total`]. It can be differentiated once.
    """
    smoothed: Tensor = _Softmax.apply(features.flatten(1), temperature, total)
    return smoothed.view_as(features)


def channel_softmax(features: Tensor, temperature: Tensor | float = 1.0, total: float = 1.0) -> Tensor:
    """Return the softmax over the channels at each position (authors' first release, March 2021).

    Args:
        features: `(B, D, ...)`.
        temperature: T > 0, a number or one per image `(B, 1)`.
        total: the sum of the channels' values at each position.

    Returns:
        The shape of `features`; in [0, `total`].
    """
    if isinstance(temperature, Tensor):
        temperature = temperature.view(-1, *[1] * (features.dim() - 1))
    smoothed = torch.softmax(features if _is_one(temperature) else features / temperature, dim=1)
    return smoothed if total == 1.0 else smoothed * total


class _Softmax(torch.autograd.Function):
    """The softmax `y = total · e^{x/T} / Σ e^{x/T}` along rows `(B, N)`, in one copy of them.

    `Tensor.sum` adds pairwise, so rows of 6.7e7 values of float32 sum to `total` within 1e-6 of it.
    """

    @staticmethod
    def forward(ctx: Any, rows: Tensor, temperature: Tensor | float, total: float) -> Tensor:
        weights = rows - rows.amax(dim=1, keepdim=True)
        if not _is_one(temperature):
            weights.div_(temperature)
        weights.exp_()
        weights.div_(weights.sum(dim=1, keepdim=True) / total)
        ctx.save_for_backward(weights)
        ctx.temperature, ctx.total = temperature, total
        return weights

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor, None, None]:
        """Return `(y g − y · Σ y g / total) / T`."""
        (smoothed,) = ctx.saved_tensors
        found = smoothed * gradient
        found.addcmul_(smoothed, found.sum(dim=1, keepdim=True) / ctx.total, value=-1)
        if not _is_one(ctx.temperature):
            found.div_(ctx.temperature)
        return found, None, None


def _is_one(temperature: Tensor | float) -> bool:
    return not isinstance(temperature, Tensor) and temperature == 1.0


@dataclass(frozen=True)
class Temperature:
    """A temperature: a number, or `peak/k`, a layer's largest magnitude in an image divided by k.

    Raises:
        SettingError: neither of them, or not positive.
    """

    value: float | str

    def __post_init__(self) -> None:
        if not self._number > 0 or self._number == float("inf"):
            raise SettingError(
                "smoothing.temperature",
                "should be a positive number, or peak/k with a positive k",
                repr(self.value),
                "The paper's is 1; peak/2 is a good start where activations are large.",
            )

    @property
    def _adaptive(self) -> bool:
        return isinstance(self.value, str) and self.value.startswith("peak/")

    @property
    def _number(self) -> float:
        text = re.sub(r"^peak/", "", str(self.value))
        try:
            return float(text)
        except ValueError:
            return float("nan")

    def of(self, reference: Tensor) -> Tensor | float:
        """Return the temperature for activations `(B, D, ...)`: a number, or one per image `(B, 1)`."""
        if not self._adaptive:
            return self._number
        highest = peak(reference) / self._number
        return highest.clamp_min(torch.finfo(highest.dtype).tiny)  # a dead layer stays uniform

    def __str__(self) -> str:
        return f"peak/{_shortest_text(self._number)}" if self._adaptive else _shortest_text(self._number)


@dataclass(frozen=True)
class NoSmoothing:
    """The identity: standard style transfer."""

    name: str = "none"

    def __call__(self, features: Tensor, reference: Tensor | None = None) -> Tensor:  # noqa: ARG002
        """Return `features` as they are, float32 or wider."""
        return at_least_float32(features)

    def __str__(self) -> str:
        return self.name


class Softmax:
    """SWAG's σ, a softmax `over` a whole layer (the paper) or its channels (the authors' first release).

    Args:
        temperature: a number (the paper's is 1) or `peak/k`.
        over: `layer` or `channels`.
        mean_one: whether to multiply by the number of values in a sum of 1 (D·M over a layer, D over its
            channels), so that the mean is 1. This constant factor keeps losses inside float32's range.
        name: as in `conf/smoothing`.

    Raises:
        SettingError: a temperature that is not positive, or an unknown `over`.
    """

    FUNCTIONS: ClassVar = {"layer": softmax, "channels": channel_softmax}

    def __init__(
        self,
        *,
        temperature: float | str,
        over: str,
        mean_one: bool = False,
        name: str = "softmax",
    ) -> None:
        check_choice("smoothing.over", over, self.FUNCTIONS)
        self.over = over
        self.temperature = Temperature(temperature)
        self.mean_one = mean_one
        self.name = name

    def __call__(self, features: Tensor, reference: Tensor | None = None) -> Tensor:
        """Return σ of `features` `(B, D, ...)`, with the temperature of `reference` (default: `features`)."""
        features = at_least_float32(features)
        reference = features if reference is None else at_least_float32(reference)
        return self.FUNCTIONS[self.over](features, self.temperature.of(reference), self._total(features))

    def _total(self, features: Tensor) -> float:
        if not self.mean_one:
            return 1.0
        return float(features[0].numel() if self.over == "layer" else features.shape[1])

    def __str__(self) -> str:
        mean_one = ", mean_one" if self.mean_one else ""
        return f"{self.name}(over={self.over}, temperature={self.temperature}{mean_one})"


@dataclass(frozen=True, kw_only=True)
class Scale:
    """A scaling `factor · F`, the authors' released default since April 2021; it only re-weights a loss.

    Raises:
        SettingError: a factor that is not positive and finite.
    """

    factor: float
    name: str = "scale"

    def __post_init__(self) -> None:
        check_number("smoothing.factor", self.factor, above=0, remedy="The authors' is 0.001.")

    def __call__(self, features: Tensor, reference: Tensor | None = None) -> Tensor:  # noqa: ARG002
        """Return `features` times the factor."""
        return at_least_float32(features) * self.factor

    def __str__(self) -> str:
        return f"{self.name}(factor={_shortest_text(self.factor)})"


@dataclass(frozen=True, kw_only=True)
class Log1p:
    """A logarithm `sign(F) · log(1 + |F|)`: concave, so that it compresses peaks (extension of the paper)."""

    name: str = "log1p"

    def __call__(self, features: Tensor, reference: Tensor | None = None) -> Tensor:  # noqa: ARG002
        """Return `features` compressed, with their sign."""
        features = at_least_float32(features)
        return features.sign() * features.abs().log1p()

    def __str__(self) -> str:
        return self.name


@dataclass(frozen=True, kw_only=True)
class Power:
    """A concave power `sign(F) · ((|F| + ε)^p − ε^p)` with 0 < p < 1 (extension of the paper).

    ε = 1e-6 keeps the gradient finite at 0, where most activations are.

    Raises:
        SettingError: an exponent outside (0, 1).
    """

    EPSILON: ClassVar[float] = 1e-6

    exponent: float
    name: str = "power"

    def __post_init__(self) -> None:
        remedy = "0.5 takes the square root."
        check_number("smoothing.exponent", self.exponent, above=0, below=1, remedy=remedy)

    def __call__(self, features: Tensor, reference: Tensor | None = None) -> Tensor:  # noqa: ARG002
        """Return `features` compressed, with their sign."""
        features = at_least_float32(features)
        compressed: Tensor = (features.abs() + self.EPSILON) ** self.exponent - self.EPSILON**self.exponent
        return features.sign() * compressed

    def __str__(self) -> str:
        return f"{self.name}(exponent={_shortest_text(self.exponent)})"


@dataclass(frozen=True, kw_only=True)
class DropOutliers:
    """Positions of outlying norm become 0, as the outlier tokens of vision transformers are dropped.

    Such tokens hold what the network keeps for itself (Darcet et al., ICLR 2024). A control of SWAG: peaks
    go, and all other values stay.

    Attributes:
        ratio: the largest norm that stays, as a multiple of the median norm of the layer's positions.

    Raises:
        SettingError: a ratio that is not above 1.
    """

    ratio: float
    name: str = "drop_outliers"

    def __post_init__(self) -> None:
        remedy = "At 3, norms up to three times the median stay."
        check_number("smoothing.ratio", self.ratio, above=1, remedy=remedy)

    def __call__(self, features: Tensor, reference: Tensor | None = None) -> Tensor:  # noqa: ARG002
        """Return `features` `(B, D, ...)` with 0 at the positions of outlying norm."""
        features = at_least_float32(features)
        norms = torch.linalg.vector_norm(features.detach().flatten(2), dim=1)
        stay = norms <= self.ratio * norms.median(dim=1, keepdim=True).values
        kept: Tensor = features * stay.view(len(features), 1, *features.shape[2:])
        return kept

    def __str__(self) -> str:
        return f"{self.name}(ratio={_shortest_text(self.ratio)})"


def at_least_float32(features: Tensor) -> Tensor:
    """Return half-precision activations in float32, wider activations as they are."""
    return features.to(torch.promote_types(features.dtype, torch.float32))


def _shortest_text(value: float) -> str:
    """Return the number as text, short if possible, and different for different numbers."""
    short = f"{value:g}"
    return short if float(short) == value else repr(float(value))
