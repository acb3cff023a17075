"""Tools of the procedural painters: canvases are `(SIDE, SIDE, 3)` and fields `(SIDE, SIDE)`, floats."""

from __future__ import annotations

import numpy as np
from numpy.random import Generator
from numpy.typing import NDArray
from PIL import Image, ImageDraw

Array = NDArray[np.float64]

SIDE = 512


def rgb(*codes: str) -> Array:
    """Colours `(n, 3)` in `[0, 1]` from codes such as "1b3a6b"."""
    return np.array([list(bytes.fromhex(code)) for code in codes]) / 255


def bytes_of(values: Array) -> NDArray[np.uint8]:
    """8 bits of values in `[0, 1]`; what lies outside is clipped."""
    return np.rint(np.clip(values, 0, 1) * 255).astype(np.uint8)


def plane() -> tuple[Array, Array]:
    """Coordinates `x` (to the right) and `y` (down) in `[0, 1)`."""
    y, x = np.mgrid[:SIDE, :SIDE] / SIDE
    return x, y


def noise(rng: Generator, down: int, across: int | None = None, *, octaves: int = 1) -> Array:
    """A smooth field of mean 0 and deviation 1, with about `down` bumps a column and `across` a row.

    Each further octave has bumps half as large and half as high.
    """
    total = np.zeros((SIDE, SIDE))
    for finer in 2 ** np.arange(octaves):
        bumps = rng.standard_normal((down * finer + 1, (across or down) * finer + 1))
        enlarged = Image.fromarray(bumps.astype(np.float32)).resize((SIDE, SIDE), Image.Resampling.BICUBIC)
        total += np.asarray(enlarged, dtype=np.float64) / finer
    return np.asarray((total - total.mean()) / total.std())


def blur(field: Array, sigma: float) -> Array:
    """Gaussian blur, `sigma` in pixels, mirrored at the border."""
    from scipy.ndimage import gaussian_filter

    return np.asarray(gaussian_filter(field, sigma))


def mix(below: Array, above: Array, share: Array) -> Array:
    """The colours `above` over `below`, covering it by `share` (clipped to `[0, 1]`)."""
    cover: Array = np.clip(share, 0, 1)
    return below + (above - below) * cover[..., None]


def ramp(stops: Array, field: Array) -> Array:
    """Colours of a `field` in `[0, 1]` on a gradient through equally spaced `stops` `(n, 3)`."""
    places = np.linspace(0, 1, len(stops))
    return np.stack([np.interp(field, places, channel) for channel in stops.T], axis=-1)


def relief(canvas: Array, strength: float) -> Array:
    """Thick paint lit from the upper left: bright strokes stand out."""
    light = np.asarray(canvas.mean(axis=-1))
    slope = np.sum(np.gradient(blur(light, 0.8) - blur(light, 4)), axis=0)
    return canvas + strength * np.expand_dims(slope, -1)


def linen(rng: Generator, canvas: Array, strength: float) -> Array:
    """Two crossed sets of unevenly spun threads under the paint."""
    x, y = plane()
    threads = np.sin(x * SIDE * 1.9 + noise(rng, 16)) + np.sin(y * SIDE * 1.9 + noise(rng, 16))
    return canvas + strength * threads[..., None]


def strokes(
    rng: Generator, canvas: Array, scene: Array, angle: Array, *, number: int, length: float, width: int
) -> Array:
    """Paints `scene` onto `canvas` with curved strokes along the field `angle` (radians).

    Each stroke has one colour, about that of the scene at its middle, and a lighter bristle on one side;
    `length` and `width` are in pixels.
    """
    path = _paths(rng, angle, number, length)
    columns, rows = np.clip(path[len(path) // 2], 0, SIDE - 1).astype(int).T
    scatter = 0.06 * rng.standard_normal((number, 1)) + 0.04 * rng.standard_normal((number, 3))
    colours = scene[rows, columns] + scatter
    aside = np.stack([np.sin(angle[rows, columns]), -np.cos(angle[rows, columns])], -1) * width / 4
    bodies, bristles = (2 * path).swapaxes(0, 1), (2 * (path + aside)).swapaxes(0, 1)
    sheet = Image.fromarray(bytes_of(canvas)).resize((2 * SIDE, 2 * SIDE))
    draw = ImageDraw.Draw(sheet)
    inks = zip(bytes_of(colours).tolist(), bytes_of(colours + 0.09).tolist(), strict=True)
    for body, bristle, (dark, light) in zip(bodies, bristles, inks, strict=True):
        draw.line(body.ravel().tolist(), fill=tuple(dark), width=2 * width)
        draw.line(bristle.ravel().tolist(), fill=tuple(light), width=width // 2)
    return np.asarray(sheet.resize((SIDE, SIDE), Image.Resampling.BOX)) / 255


def _paths(rng: Generator, angle: Array, number: int, length: float) -> Array:
    """Points `(6, number, 2)` along the field `angle`, from random places on."""
    steps = 6
    path = np.empty((steps, number, 2))
    path[0] = rng.random((number, 2)) * (SIDE + length) - length / 2
    for step in range(1, steps):
        columns, rows = np.clip(path[step - 1], 0, SIDE - 1).astype(int).T
        heading = angle[rows, columns]
        path[step] = path[step - 1] + length / steps * np.stack([np.cos(heading), np.sin(heading)], -1)
    return path


def dots(rng: Generator, canvas: Array, scene: Array, *, number: int, radius: float) -> Array:
    """Paints `scene` onto `canvas` with round dots of nearly pure colour, `radius` in pixels."""
    places = rng.random((number, 2)) * SIDE
    columns, rows = places.astype(int).T
    colours = scene[rows, columns]
    grey = colours.mean(axis=-1, keepdims=True)
    colours = grey + 1.5 * (colours - grey) + 0.10 * rng.standard_normal((number, 3))
    radii = radius * rng.uniform(0.7, 1.2, number)
    sheet = Image.fromarray(bytes_of(canvas)).resize((2 * SIDE, 2 * SIDE))
    draw = ImageDraw.Draw(sheet)
    corners = 2 * np.concatenate([places - radii[:, None], places + radii[:, None]], axis=1)
    for corner, ink in zip(corners.tolist(), bytes_of(colours).tolist(), strict=True):
        draw.ellipse(corner, fill=tuple(ink))
    return np.asarray(sheet.resize((SIDE, SIDE), Image.Resampling.BOX)) / 255
