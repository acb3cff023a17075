"""Labelled images that a small network can learn: each class has a colour."""

import numpy as np
import pytest
from PIL import Image

COLORS = {"blue": (40, 60, 200), "green": (40, 190, 60), "red": (200, 50, 40)}


def write_images(root, *, train=16, test=8, size=16, classes=COLORS):
    draw = np.random.default_rng(0)
    for part, count in (("train", train), ("test", test)):
        for name, color in classes.items():
            folder = root / part / name
            folder.mkdir(parents=True)
            for index in range(count):
                noise = draw.normal(color, 60, (size, size, 3)).clip(0, 255).astype(np.uint8)
                Image.fromarray(noise).save(folder / f"{index:03}.png")
    return root


@pytest.fixture(scope="module")
def colors(tmp_path_factory):
    return write_images(tmp_path_factory.mktemp("data") / "colors")
