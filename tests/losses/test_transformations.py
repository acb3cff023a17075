"""Random transformations: their effect on positions, and on an optimisation."""

import math
from functools import partial

import pytest
import torch
from torch import nn

from swag_repro.errors import SettingError
from swag_repro.losses import Side, Style
from swag_repro.networks import TappedNetwork
from swag_repro.optimisation import PairStatus
from swag_repro.smoothing import NoSmoothing
from tests.parts import (
    LBFGS,
    Adam,
    ContentLoss,
    GramLoss,
    Guards,
    Objective,
    Optimisation,
    RandomTransformations,
)

HEIGHT, WIDTH = 40, 64


def places():
    """The image of its own places: channel 0 is x and channel 1 is y, in pixels from the centre."""
    x = torch.arange(WIDTH, dtype=torch.float64) - (WIDTH - 1) / 2
    y = torch.arange(HEIGHT, dtype=torch.float64) - (HEIGHT - 1) / 2
    grid = torch.meshgrid(y, x, indexing="ij")
    return torch.stack([grid[1], grid[0], torch.ones_like(grid[0])])[None]


def map_of(transformations, draw):
    """Matrix and shift, in pixels, as three places around the centre tell: bilinear means are exact here."""
    moved = transformations(places(), [draw])[0, :2]
    row, column = HEIGHT // 2, WIDTH // 2
    here = moved[:, row, column]
    matrix = torch.stack([moved[:, row, column + 1] - here, moved[:, row + 1, column] - here], dim=1)
    return matrix, here - matrix @ torch.tensor([0.5, 0.5], dtype=torch.float64)


def test_images_are_turned_scaled_and_shifted_in_pixels_within_the_bounds():
    transformations = RandomTransformations()
    maps = [map_of(transformations, draw) for draw in range(200)]
    sizes = [1 / math.sqrt(float(torch.det(matrix))) for matrix, _ in maps]
    angles = [math.degrees(math.atan2(float(matrix[1, 0]), float(matrix[0, 0]))) for matrix, _ in maps]
    shifts = [float(value) for _, shift in maps for value in shift]
    for found, centre, most in ((sizes, 1, 0.1), (angles, 0, 10), (shifts, 0, 8)):
        assert centre - most <= min(found) < centre - 0.9 * most
        assert centre + 0.9 * most < max(found) <= centre + most
    for (matrix, _), size in zip(maps, sizes, strict=True):  # this also holds where sides differ
        torch.testing.assert_close(matrix.T @ matrix * size**2, torch.eye(2, dtype=torch.float64))


def test_nothing_moves_without_bounds():
    images = torch.rand(2, 3, 9, 7)
    still = RandomTransformations(jitter=0, rotation=0, scale=0)
    torch.testing.assert_close(still(images, [3, 4]), images)


def test_equal_draws_move_alike_whoever_the_neighbours():
    images, transformations = torch.rand(3, 3, 16, 12), RandomTransformations()
    together = transformations(images, [5, -8, 5])
    for index, draw in enumerate([5, -8, 5]):
        assert torch.equal(together[index], transformations(images[index : index + 1], [draw])[0])
    same = images[:1].expand(3, -1, -1, -1)
    first, second, third = transformations(same, [5, 6, 5])
    assert torch.equal(first, third)
    assert not torch.allclose(first, second, atol=0.05)
    assert not torch.allclose(first, RandomTransformations(seed=1)(same, [5] * 3)[0], atol=0.05)


def test_gradients():
    images = torch.rand(1, 3, 5, 6, dtype=torch.float64, requires_grad=True)
    transformations = RandomTransformations(jitter=1)
    torch.autograd.gradcheck(lambda values: transformations(values, [2]), images)


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        ({"jitter": -1}, "transformations.jitter"), ({"rotation": math.nan}, "transformations.rotation"),
        ({"scale": 1}, "transformations.scale"), ({"seed": 0.5}, "transformations.seed"),
    ],
)  # fmt: skip
def test_mistakes(wrong, message):
    with pytest.raises(SettingError, match=message):
        RandomTransformations(**wrong)


# --- In an optimisation ---------------------------------------------------------------------------------

IMAGES = torch.rand(4, 3, 24, 24, generator=torch.Generator().manual_seed(0))


def objective(content_weight=0.0, transformations=None):
    return Objective(
        content=Side(loss=ContentLoss(), taps={"tap": 1.0}, weight=content_weight),
        style=Side(loss=GramLoss(), taps={"tap": 1.0}, weight=1.0),
        smoothing=NoSmoothing(),
        transformations=transformations,
    )


def optimisation(pairs=2, transformations=None, optimizer=None):
    torch.manual_seed(0)
    network = TappedNetwork(nn.Sequential(nn.Conv2d(3, 8, 3), nn.ReLU()), {"tap": "1"})
    return Optimisation(
        network,
        objective(transformations=transformations or RandomTransformations(jitter=3)),
        IMAGES[:pairs],
        [[Style(image)] for image in IMAGES[2 : 2 + pairs]],
        start=IMAGES[:pairs],
        optimizer=optimizer or partial(Adam, lr=0.01),
        steps=20,
        guards=Guards(),
    )


def test_an_optimisation_goes_on_bit_for_bit_where_it_was_left():
    whole, begun, resumed = optimisation(), optimisation(), optimisation()
    for _ in range(7):
        begun.advance()
    resumed.load_state_dict(begun.state_dict())
    for one in (whole, resumed):
        for _ in one:
            pass
    assert torch.equal(whole.images, resumed.images)
    assert [pair.best for pair in whole.results] == [pair.best for pair in resumed.results]
    assert {pair.status for pair in whole.results} == {PairStatus.FINISHED}
    other = optimisation(transformations=RandomTransformations(jitter=3, seed=1))
    for _ in other:
        pass
    assert not torch.allclose(whole.images, other.images, atol=1e-3)


def test_a_pair_is_moved_alike_in_any_batch():
    both, alone = optimisation(), optimisation(1)
    for _ in range(5):
        losses = [one.advance().pairs[0].losses.total for one in (both, alone)]
        assert losses[0] == pytest.approx(losses[1], rel=1e-5)


def test_what_is_told_of_the_end_is_of_the_picture_as_it_is():
    done = optimisation()
    for _ in done:
        pass
    plain, network = objective(), done._network
    targets = plain.targets(network, IMAGES[:2], [[Style(image)] for image in IMAGES[2:]])
    expected = plain(network, done.images, targets).style
    assert [pair.best.style for pair in done.results] == pytest.approx(expected.tolist(), rel=1e-4)


def test_what_compares_places_or_moves_is_refused():
    with pytest.raises(SettingError, match=r"content_weight. should be 0 with transformations"):
        objective(content_weight=1.0, transformations=RandomTransformations())
    with pytest.raises(SettingError, match="`optimizer` should be adam or rmsprop"):
        optimisation(optimizer=LBFGS)
