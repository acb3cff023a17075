"""Seeded procedural paintings: style images that need no download and nobody else's rights.

Each painter is a pure function of a random generator and returns a canvas `(SIDE, SIDE, 3)`, nominally in
`[0, 1]`. A change that alters a canvas needs a higher `PAINTINGS_VERSION`: a painting's identity is made of
its name, seed and version, since its pixels may differ by rounding from machine to machine.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from functools import cache

import numpy as np
from numpy.random import Generator
from PIL import Image, ImageDraw

from swag_repro.images.brushes import (
    SIDE,
    Array,
    bytes_of,
    dots,
    linen,
    mix,
    noise,
    plane,
    ramp,
    relief,
    rgb,
    strokes,
)

PAINTINGS_VERSION = 1

STARS = (
    (0.80, 0.17, 0.100),
    (0.45, 0.38, 0.115),
    (0.16, 0.15, 0.055),
    (0.53, 0.09, 0.045),
    (0.30, 0.27, 0.035),
    (0.67, 0.42, 0.040),
    (0.92, 0.46, 0.045),
)
"""Column, row and radius of each star, in parts of the canvas."""


def starry_night(rng: Generator) -> Array:
    """Strokes of thick paint that whirl round the stars (after van Gogh)."""
    x, y = plane()
    night = rgb("0d1b4c", "1c3f8f", "2f6db5", "6ba5c9", "b9cfae")
    scene = ramp(night, y / 0.78 + 0.07 * noise(rng, 5, octaves=2))
    right, down = np.ones_like(x), 0.35 * np.sin(7 * x + 3 * y)
    for column, row, radius in STARS:
        distance = np.hypot(x - column, y - row)
        pull = 3 * np.exp(-((distance / (2.2 * radius)) ** 2)) / (distance + 0.02)
        right, down = right - pull * (y - row), down + pull * (x - column)
        rings = 1 + 0.3 * np.cos(2 * np.pi * distance / radius / 0.55)
        scene = mix(scene, rgb("f6d44b"), rings * np.exp(-((distance / radius) ** 2)))
        scene = mix(scene, rgb("fff6cf"), np.exp(-((distance / radius / 0.38) ** 2)))
    angle = np.arctan2(down, right)
    hills = y - (0.80 + 0.05 * np.sin(5 * x + 1) + 0.03 * np.sin(13 * x))
    scene = mix(scene, ramp(rgb("27507a", "1d3d3f", "31562f"), hills / 0.2), hills * 90)
    angle = np.where(hills > 0, 0.5 * np.cos(5 * x + 1), angle)
    cypress = 0.08 * np.clip((y - 0.2) / 0.8, 0, 1) ** 0.7 * (1 + 0.25 * np.sin(30 * y))
    cypress -= np.abs(x - 0.13 - 0.02 * np.sin(9 * y))
    scene = mix(scene, ramp(rgb("0c1f1a", "2a4d2c", "0f2a22"), 0.5 + 0.3 * noise(rng, 8, 40)), cypress * 999)
    angle = np.where(cypress > 0, -np.pi / 2 + 0.35 * np.sin(12 * y), angle)
    canvas = strokes(rng, 0.7 * scene, scene, angle, number=2000, length=34, width=8)
    return relief(strokes(rng, canvas, scene, angle, number=3800, length=26, width=4), 1.6)


def composition(rng: Generator) -> Array:
    """Black bars and primary colours, brushed flat (after Mondrian)."""
    paints = ["#f1ece0"] * 6 + ["#e6e1d6"] * 2 + ["#c9261c"] * 3 + ["#1f3f94"] * 2 + ["#f2c327"] * 2
    boxes = _cut(rng, len(paints))
    sheet, upright = Image.new("RGB", (SIDE, SIDE)), Image.new("1", (SIDE, SIDE))
    for box, paint in zip(boxes, rng.permutation(paints), strict=True):
        corners = [round(edge * SIDE) for edge in box]
        ImageDraw.Draw(sheet).rectangle(corners, fill=str(paint), outline="#121214", width=7)
        ImageDraw.Draw(upright).rectangle(corners, fill=int(rng.integers(2)))
    bristles = np.where(np.asarray(upright), noise(rng, 12, 220), noise(rng, 220, 12))
    canvas = np.asarray(sheet) / 255 + (0.028 * bristles + 0.02 * noise(rng, 6))[..., None]
    return linen(rng, canvas, 0.012)


def _cut(rng: Generator, number: int) -> list[tuple[float, float, float, float]]:
    """Cuts the largest box in two, over and over: `number` boxes (left, top, right, bottom) in `[0, 1]`."""
    boxes = [(0.0, 0.0, 1.0, 1.0)]
    while len(boxes) < number:
        largest = max(boxes, key=lambda box: (box[2] - box[0]) * (box[3] - box[1]))
        boxes.remove(largest)
        left, top, right, bottom = largest
        share = float(rng.choice([0.27, 0.36, 0.5, 0.64, 0.73]))
        if right - left > bottom - top:
            middle = left + share * (right - left)
            boxes += [(left, top, middle, bottom), (middle, top, right, bottom)]
        else:
            middle = top + share * (bottom - top)
            boxes += [(left, top, right, middle), (left, middle, right, bottom)]
    return boxes


def river_bank(rng: Generator) -> Array:
    """A sunset over water in dots of pure colour (after Seurat)."""
    x, y = plane()
    scene = ramp(rgb("3f6fb5", "8fb3d9", "f3c9a5", "f39a5b"), y / 0.46 + 0.06 * noise(rng, 3, 2))
    scene = mix(scene, rgb("ffe07a"), np.exp(-(((x - 0.68) / 0.30) ** 2) - ((y - 0.40) / 0.22) ** 2))
    scene = mix(scene, rgb("fff3c0"), 60 * (0.055 - np.hypot(x - 0.68, y - 0.36)))
    ripples = 0.5 + 0.22 * noise(rng, 60, 8)
    water = ramp(rgb("234f86", "4d86b8", "a9c3c9"), ripples)
    water = mix(water, rgb("ffb35a"), 1.1 * ripples * np.exp(-(((x - 0.68) / 0.12) ** 2)))
    far = y - 0.405 - 0.035 * noise(rng, 3, 9, octaves=3)
    scene = mix(scene, rgb("5d5a94"), far * 200)
    scene = mix(scene, water, (y - 0.46) * 200)
    bank = y - 0.70 - 0.16 * (x - 0.5) + 0.03 * np.sin(9 * x)
    meadow = ramp(rgb("b7c552", "6f9b3d", "2f6b45", "23395c"), bank / 0.35 + 0.12 * noise(rng, 9))
    scene = mix(scene, meadow, bank * 200)
    for column, row, size in ((0.16, 0.34, 0.24), (0.36, 0.50, 0.13)):
        scene = _tree(rng, scene, column, row, size)
    canvas = np.broadcast_to(rgb("efe3cc"), scene.shape)
    canvas = dots(rng, canvas, scene, number=9000, radius=4.6)
    return dots(rng, canvas, scene, number=14000, radius=2.9)


def _tree(rng: Generator, scene: Array, column: float, row: float, size: float) -> Array:
    """A round crown of radius `size` on a trunk, lit from the right."""
    x, y = plane()
    trunk = np.minimum(0.014 - np.abs(x - column), size - np.abs(y - row - size))
    scene = mix(scene, rgb("4a2a3a"), trunk * 300)
    crown = size - np.hypot(x - column, 1.15 * (y - row)) + 0.022 * noise(rng, 14, octaves=2)
    leaves = 0.26 + 0.54 * (x - column) / size + 0.18 * noise(rng, 30)
    return mix(scene, ramp(rgb("1f3f5c", "2d6a4a", "7fae45", "f0c552"), leaves), crown * 120)


def shards(rng: Generator) -> Array:
    """Facets of ochre and slate between straight cuts, each shaded its own way (after Braque)."""
    x, y = plane()
    turns = rng.uniform(0, np.pi, 15)
    offsets = 0.5 * (np.cos(turns) + np.sin(turns)) + rng.uniform(-0.42, 0.42, len(turns))
    sides = x[..., None] * np.cos(turns) + y[..., None] * np.sin(turns) - offsets
    sides += 0.003 * noise(rng, 8)[..., None]
    # A facet's number tells on which side of each cut it lies; most numbers stay without a facet.
    facet, facets = (sides > 0) @ 2 ** np.arange(len(turns)), 2 ** len(turns)
    lean = rng.uniform(0, 2 * np.pi, facets)[facet]
    along = x * np.cos(lean) + y * np.sin(lean)
    sizes = np.bincount(facet.ravel(), minlength=facets)
    along -= (np.bincount(facet.ravel(), along.ravel(), facets) / np.maximum(sizes, 1))[facet]
    paints = rgb("c79a56", "8a6a3f", "e3cfa2", "5b6770", "93a0a0", "3a332c", "b5532f", "d9d6c8")
    shares = [0.20, 0.15, 0.16, 0.14, 0.14, 0.08, 0.05, 0.08]
    canvas = paints[rng.choice(len(paints), facets, p=shares)[facet]]
    hatched = (rng.random(facets) < 0.4)[facet]
    hatching = hatched * np.sin(2 * np.pi * 55 * (along + 0.004 * noise(rng, 12)))
    canvas = canvas * (1 + 0.30 * np.clip(along / 0.07, -1.6, 1.6))[..., None] + 0.055 * hatching[..., None]
    border = np.abs(sides).min(axis=-1) / 0.0025
    canvas = mix(canvas, rgb("1c1712"), 0.9 * np.exp(-(border**2)))
    canvas = canvas + (0.03 * noise(rng, 70, octaves=2) + 0.03 * noise(rng, 20))[..., None]
    return linen(rng, relief(canvas, 0.9), 0.012)


def misty_mountains(rng: Generator) -> Array:
    """Wet washes of ink on rough paper: ridges that pale into the mist (watercolour)."""
    x, y = plane()
    canvas = ramp(rgb("f2b8a0", "f6d9b8", "f7f0e2"), y / 0.5 + 0.1 * noise(rng, 3, octaves=2))
    sun = 0.075 - np.hypot(x - 0.66, y - 0.23) + 0.002 * noise(rng, 20)
    canvas = _wash(rng, canvas, rgb("d9432f"), sun, np.full_like(x, 0.9))
    for level, ink in enumerate(rgb("a9b8cf", "8a9cc0", "5f86a6", "3f6f86", "2c5260", "1e3a45")):
        foot = 0.34 + 0.115 * level
        crest = noise(rng, 1, 4 + level, octaves=5)[SIDE // 2]
        inside = y - foot + (0.075 - 0.004 * level) * crest + 0.003 * noise(rng, 40)
        mist = (y - foot + 0.06 + 0.02 * noise(rng, 4)) / (0.24 + 0.03 * level)
        canvas = _wash(rng, canvas, ink, inside, np.clip(1.1 - mist, 0.12, 1))
    return canvas * (1 + 0.025 * noise(rng, 170, octaves=2))[..., None]


def _wash(rng: Generator, canvas: Array, ink: Array, inside: Array, strength: Array) -> Array:
    """A glaze where `inside` is positive; pigment gathers at its rim and in blooms."""
    blooms = 0.85 + 0.13 * noise(rng, 5, octaves=4)
    rim = 0.30 * np.exp(-np.abs(inside) / 0.004)
    cover = np.clip(inside * 250, 0, 1) * (strength * blooms + rim)
    return canvas * (1 - np.clip(cover, 0, 1)[..., None] * (1 - ink))


def woodcut(rng: Generator) -> Array:
    """Sun, hills and sea in cut lines, whose width gives the tone (after Japanese woodblock prints)."""
    x, y = plane()
    sun = np.hypot(x - 0.62, y - 0.33)
    phase = 34 * (sun + 0.006 * noise(rng, 4))
    tone = np.where(sun < 0.125, 0, 0.30 + 0.38 * np.clip(1 - y / 0.5, 0, 1))
    for crest, lean in ((0.52, 0.8), (0.58, -0.6)):
        hill = y - crest + 0.055 * (np.sin(6 * x + 9 * crest) + 0.5 * np.sin(17 * x))
        phase = np.where(hill > 0, 24 * y + 28 * lean * x + 12 * hill, phase)
        tone = np.where(hill > 0, 0.72 - 1.6 * hill, tone)
        tone = np.where(np.abs(hill) < 0.004, 1, tone)
    sea = np.clip(y - 0.68, 0, None)
    swell = 0.018 * np.sin(2 * np.pi * (3.2 * x + 2.5 * y)) * (y - 0.3) + 0.006 * noise(rng, 5, 4)
    phase = np.where(sea > 0, 11 * np.log1p(14 * sea) + 66 * swell, phase)
    glitter = np.exp(-(((x - 0.62) / (0.06 + 0.3 * sea)) ** 2))
    tone = np.where(sea > 0, 0.70 - 0.45 * glitter + 0.10 * noise(rng, 20, 6), tone)
    lines = 0.5 + 2.2 * (np.sin(2 * np.pi * phase) - np.cos(np.pi * np.clip(tone, 0, 1)))
    worn = np.clip(1.1 + 0.25 * noise(rng, 90, 14), 0, 1)
    canvas = ramp(rgb("e9a04e", "f0cf94", "f3e6c8", "8fb7b5", "5f98a8"), y)
    canvas = mix(canvas, rgb("d3392b"), 200 * (0.125 - sun))
    canvas = mix(canvas, rgb("14213d"), np.clip(lines, 0, 1) * worn * (tone > 0))
    return canvas + 0.015 * noise(rng, 200)[..., None]


def circles(rng: Generator) -> Array:
    """Sixteen squares of wobbling rings, no two alike (after Kandinsky)."""
    x, y = plane()
    paints = rgb("e4572e", "f3a712", "2a6f97", "f6e7cb", "6a994e")
    paints = np.concatenate([paints, rgb("b23a7a", "1d3557", "f28482", "84a59d", "43281c")])
    cell = (4 * y).astype(int) * 4 + (4 * x).astype(int)
    centre = 0.5 + 0.05 * rng.standard_normal((16, 2))[cell]
    right, down = 4 * x % 1 - centre[..., 0], 4 * y % 1 - centre[..., 1]
    radius = np.hypot(right, down) + 0.016 * noise(rng, 14) + 0.006 * noise(rng, 50)
    radii = np.cumsum(rng.uniform(0.07, 0.14, (16, 6)), axis=1)
    ring = (radius[..., None] > radii[cell]).sum(-1)
    order = np.stack([rng.permutation(len(paints)) for _ in range(16)])
    scene = paints[order[cell, ring]] * (1 + 0.06 * noise(rng, 40, octaves=2))[..., None]
    around = np.arctan2(right, -down)
    return relief(strokes(rng, scene, scene, around, number=6500, length=20, width=3), 1.2)


PAINTERS: dict[str, tuple[Callable[[Generator], Array], int]] = {
    "starry_night": (starry_night, 1889),
    "composition": (composition, 1929),
    "river_bank": (river_bank, 1884),
    "shards": (shards, 1908),
    "misty_mountains": (misty_mountains, 1506),
    "woodcut": (woodcut, 1831),
    "circles": (circles, 1913),
}


def painting_sha256(name: str) -> str:
    """Identity of a painting: a hash of its name, seed and `PAINTINGS_VERSION`."""
    return hashlib.sha256(f"{name}:{PAINTERS[name][1]}:{PAINTINGS_VERSION}".encode()).hexdigest()


def paint(name: str) -> Image.Image:
    """The painting `name`, RGB, `SIDE` x `SIDE` pixels; painted once a process, in at most half a second."""
    return _painted(name).copy()


@cache
def _painted(name: str) -> Image.Image:
    painter, seed = PAINTERS[name]
    return Image.fromarray(bytes_of(painter(np.random.default_rng(seed))))
