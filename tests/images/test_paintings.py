"""Paintings are deterministic, and can't change under an unchanged version."""

import numpy as np
import pytest
from PIL import Image

from swag_repro.images.paintings import PAINTERS, PAINTINGS_VERSION, paint, painting_sha256

VERSION = 1
FINGERPRINTS = {
    "starry_night": "374d75 435b7f 5a6c7a 467292 86a7a6 6597b9 516c5f 507576 466a64 0b0b0b",
    "composition": "bea89b a43b21 485b8c b69132 bfaa67 85889d cdc9bf c6c2b8 bb6860 060606",
    "river_bank": "448095 9eb6ad a2b5b1 407a73 6d8d83 8e9d9a 497a4b 6ba04b 629f4f 0a0a0a",
    "shards": "968662 84765c 8b8473 8a7a5b a2926a ab9c7a 947b56 af9c72 a68554 080808",
    "misty_mountains": "eecdb1 ecbca2 f2c4a8 9ca3ab b4b5b2 b2b4b3 5e7279 62747a 52666e 040303",
    "woodcut": "7d6e5d 866152 816959 888883 85706e 877f7b 344a5f 486475 3e586b 0f0d08",
    "circles": "a38876 976e64 9a7c6d 937c6c 8f7769 877263 8f836a 727470 796164 0d0c0c",
}
"""Of `VERSION`: colours in hexadecimal, in the order of `fingerprint`."""


def fingerprint(name):
    """Mean colour of each ninth of the painting, and its finest contrast: `(10, 3)`, of 255."""
    painting = paint(name)
    pixels = np.asarray(painting, dtype=float)
    contrast = np.abs(np.diff(pixels, axis=1)).mean(axis=(0, 1))
    ninths = np.asarray(painting.resize((3, 3), Image.Resampling.BOX), dtype=float).reshape(9, 3)
    return np.vstack([ninths, contrast])


@pytest.mark.parametrize("name", PAINTERS)
def test_painting_is_that_of_its_version(name):
    """If it is meant to differ, raise PAINTINGS_VERSION and freeze the new numbers here."""
    frozen = [list(bytes.fromhex(colour)) for colour in FINGERPRINTS[name].split()]
    assert PAINTINGS_VERSION == VERSION
    np.testing.assert_allclose(fingerprint(name), frozen, atol=2)


@pytest.mark.parametrize("name", PAINTERS)
def test_same_seed_same_painting_and_another_seed_another(name):
    painter, seed = PAINTERS[name]
    first, again, other = (painter(np.random.default_rng(number)) for number in (seed, seed, seed + 1))
    assert np.array_equal(first, again)
    assert np.abs(first - other).mean() > 0.01


def test_what_is_done_to_a_painting_leaves_the_next_one_whole():
    name = next(iter(PAINTERS))
    before = paint(name).tobytes()
    paint(name).paste((0, 0, 0), (0, 0, 512, 512))
    assert paint(name).tobytes() == before


def test_identities_differ_and_are_frozen():
    assert len({painting_sha256(name) for name in PAINTERS}) == len(PAINTERS)
    assert (
        painting_sha256("starry_night") == "d972d70a355462a2aad57cc859f035f6a00ce1e3217dc24a7f0adf8a0bd8cfa1"
    )
