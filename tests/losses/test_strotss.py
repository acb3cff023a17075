import itertools
import math
from functools import partial

import pytest
import torch
from scipy.optimize import linear_sum_assignment
from torch.nn import functional as F

from swag_repro.errors import SettingError
from swag_repro.losses.base import PIXELS, LossContext, generator
from swag_repro.losses.objective import Side, Style
from swag_repro.losses.strotss import (
    IMAGE_DRAW,
    STYLE_DRAW,
    MeanCovariance,
    color_distances,
    cosine_distances,
    draw_positions,
    hypercolumns,
    moment_distance,
    relaxed_emd,
    self_similarity_distance,
)
from swag_repro.smoothing import NoSmoothing
from tests.parts import LaplacianPyramid, Objective, RMSprop, SelfSimilarity, Softmax, Strotss

LOSSES = [Strotss, SelfSimilarity]
ALL = 10**6  # number of samples: more than any image here has pixels


def noise(*shape, seed=0, dtype=torch.float64):
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=dtype)


def features(*size, images=1, seed=0, dtype=torch.float64):
    height, width = size
    coarse = max(height // 2, 1), max(width // 2, 1)
    return {
        PIXELS: noise(images, 3, *size, seed=seed, dtype=dtype).sigmoid(),
        "fine": noise(images, 4, *size, seed=seed + 1, dtype=dtype).relu(),
        "coarse": noise(images, 5, *coarse, seed=seed + 2, dtype=dtype).relu(),
    }


def image(of, i):
    return {tap: layer[i : i + 1] for tap, layer in of.items()}


def columns(*vectors):
    """`(1, D, n)`."""
    return torch.tensor(vectors, dtype=torch.float64).T.unsqueeze(0)


# --- Hypercolumns ---------------------------------------------------------------------------------------


def test_hypercolumns_by_hand():
    layer = torch.tensor([[[[1.0, 2.0], [3.0, 4.0]]]], dtype=torch.float64)
    positions = torch.tensor([[[0.25, 0.25], [0.75, 0.25], [0.5, 0.5], [0.25, 0.5], [0.0, 1.0]]]).double()
    found = hypercolumns({"a": layer, "b": 10 * layer}, positions)
    expected = torch.tensor([[[1.0, 3.0, 2.5, 1.5, 2.0]]], dtype=torch.float64)
    torch.testing.assert_close(found, torch.cat([expected, 10 * expected], dim=1))


@pytest.mark.parametrize("channels_last", [False, True])
def test_hypercolumns_are_what_grid_sample_gives(channels_last):
    layers = {str(size): noise(2, 3, *size) for size in [(9, 7), (4, 3), (1, 5), (1, 1)]}
    if channels_last:
        layers = {k: layer.to(memory_format=torch.channels_last) for k, layer in layers.items()}
    positions = torch.rand(2, 20, 2, generator=torch.Generator().manual_seed(1), dtype=torch.float64)
    grid = (2 * positions.flip(2) - 1).unsqueeze(1)
    sample = partial(F.grid_sample, grid=grid, padding_mode="border", align_corners=False)
    expected = torch.cat([sample(layer).squeeze(2) for layer in layers.values()], dim=1)
    torch.testing.assert_close(hypercolumns(layers, positions), expected)


def test_gradient_of_hypercolumns():
    positions = torch.rand(2, 6, 2, generator=torch.Generator().manual_seed(1), dtype=torch.float64)
    layer = noise(2, 2, 3, 4).requires_grad_()
    assert torch.autograd.gradcheck(lambda layer: hypercolumns({"a": layer}, positions), layer)


def test_at_a_pixel_that_pixel_is_read():
    pixels = noise(1, 3, 5, 7)
    positions = draw_positions((5, 7), ALL, generator(0, 0, IMAGE_DRAW))
    rows, cols = (positions * torch.tensor([5, 7])).long().unbind(1)
    found = hypercolumns({PIXELS: pixels}, positions.unsqueeze(0))
    torch.testing.assert_close(found, pixels[:, :, rows, cols])


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_layers_of_half_precision_are_read_in_float32(dtype):
    found = hypercolumns({"a": torch.full((1, 1, 2, 2), 3.0, dtype=dtype)}, torch.full((1, 1, 2), 0.5))
    assert (found.dtype, found.item()) == (torch.float32, 3.0)


# --- Distances ------------------------------------------------------------------------------------------


def test_cosine_distances_by_hand():
    x, y = columns([1, 0], [3, 4]), columns([2, 0], [0, -1], [-5, 0])
    expected = torch.tensor([[[0, 1, 2], [0.4, 1.8, 1.6]]], dtype=torch.float64)
    torch.testing.assert_close(cosine_distances(x, y), expected)


def test_zeros_are_at_distance_one_and_have_a_gradient():
    x = torch.zeros(1, 2, 1, dtype=torch.float64, requires_grad=True)
    distances = cosine_distances(x, columns([0, 0], [3, 4]))
    assert distances.tolist() == [[[1.0, 1.0]]]
    distances.sum().backward()
    torch.testing.assert_close(x.grad, -columns([0.6, 0.8]))


def test_color_distances_by_hand():
    distances = color_distances(columns([1, 0, 0]), columns([0, 1, 0], [3, 0, 0]))
    expected = torch.tensor([[[1 + math.sqrt(2 / 3), 2 / math.sqrt(3)]]], dtype=torch.float64)
    torch.testing.assert_close(distances, expected)


def test_color_distances_are_those_along_the_decorrelated_axes_of_the_authors_code():
    axes = torch.tensor(
        [[0.577350, 0.577350, 0.577350], [-0.577350, 0.788675, -0.211325], [-0.577350, -0.211325, 0.788675]],
        dtype=torch.float64,
    )
    x, y = noise(2, 3, 5).sigmoid(), noise(2, 3, 4, seed=1).sigmoid()
    torch.testing.assert_close(color_distances(axes @ x, axes @ y), color_distances(x, y), rtol=0, atol=1e-5)


def test_equal_colors_have_a_gradient():
    x = torch.full((1, 3, 2), 0.3, dtype=torch.float64, requires_grad=True)
    distances = color_distances(x, x.detach())
    distances.sum().backward()
    torch.testing.assert_close(distances, torch.zeros_like(distances))
    torch.testing.assert_close(x.grad, torch.zeros_like(x))


def test_relaxed_emd_by_hand():
    distances = torch.tensor([[[0.0, 2.0], [4.0, 3.0], [1.0, 5.0]]])  # rows: 0, 3, 1; columns: 0, 2
    expected = torch.tensor([4 / 3], dtype=torch.float64)
    torch.testing.assert_close(relaxed_emd(distances), expected)
    torch.testing.assert_close(relaxed_emd(distances.mT), expected)


def test_relaxed_emd_is_at_most_the_earth_movers_distance():
    distances = cosine_distances(noise(5, 4, 9), noise(5, 4, 9, seed=1))
    exact = torch.stack([each[linear_sum_assignment(each)].mean() for each in distances])
    assert (relaxed_emd(distances) <= exact).all()
    assert (relaxed_emd(distances) > 0.5 * exact).all()


def test_moment_distance_by_hand():
    # Means 1 and 5, variances 1 and 0.
    distance = moment_distance(MeanCovariance.of(columns([0], [2])), MeanCovariance.of(columns([5])))
    torch.testing.assert_close(distance.item(), 5.0)


def test_moment_distance_is_that_of_means_and_covariances():
    x, y = noise(3, 4, 9), 2 * noise(3, 4, 6, seed=1) + 1
    expected = [
        (a.mean(1) - b.mean(1)).abs().mean() + (a.cov(correction=0) - b.cov(correction=0)).abs().mean()
        for a, b in zip(x, y, strict=True)
    ]
    found = moment_distance(MeanCovariance.of(x), MeanCovariance.of(y))
    torch.testing.assert_close(found, torch.stack(expected))


def test_self_similarity_distance_by_hand():
    # Distances [[0,1,1],[1,0,0],[1,0,0]] and [[0,0,1],[0,0,1],[1,1,0]]: columns differ by 1, 2 and 1.
    x, c = columns([1, 0], [0, 1], [0, 1]), columns([1, 0], [1, 0], [0, 1])
    torch.testing.assert_close(self_similarity_distance(x, c).item(), 4 / 3)


def test_self_similarity_sees_neither_length_nor_direction():
    x = noise(2, 4, 7)
    turn, _ = torch.linalg.qr(noise(4, 4, seed=1))
    lengths = noise(2, 1, 7, seed=2).exp()
    same = self_similarity_distance(turn @ x * lengths, x)
    torch.testing.assert_close(same, torch.zeros(2, dtype=torch.float64))
    assert (self_similarity_distance(noise(2, 4, 7, seed=3), x) > 0.1).all()


@pytest.mark.parametrize("vector", [[1.0, 0.0, 0.0], [0.1, 0.7, 0.3]])
def test_of_a_constant_image_self_similarity_is_defined(vector):
    constant = columns(*[vector] * 50).float().requires_grad_()
    distance = self_similarity_distance(constant, noise(1, 3, 50, dtype=torch.float32))
    torch.testing.assert_close(distance.item(), 1.0, rtol=0.1, atol=0)
    distance.sum().backward()
    assert constant.grad.isfinite().all()
    assert self_similarity_distance(constant, constant).item() == 0


@pytest.mark.parametrize(
    "distance",
    [
        lambda x, y: relaxed_emd(cosine_distances(x, y)),
        lambda x, y: relaxed_emd(color_distances(x, y)),
        lambda x, y: moment_distance(MeanCovariance.of(x), MeanCovariance.of(y)),
        self_similarity_distance,
    ],
    ids=["remd", "color", "moments", "self_similarity"],
)
def test_gradients_and_batches(distance):
    x, y = noise(3, 3, 5).requires_grad_(), noise(3, 3, 5, seed=1)
    assert torch.autograd.gradcheck(lambda x: distance(x, y), x)
    together = distance(x, y)
    assert (together.shape, together.dtype) == ((3,), torch.float64)
    torch.testing.assert_close(together, torch.cat([distance(x[i : i + 1], y[i : i + 1]) for i in range(3)]))


# --- Positions ------------------------------------------------------------------------------------------


def test_positions_are_centres_of_different_pixels():
    positions = draw_positions((4, 6), 10, generator(0, 0, IMAGE_DRAW))
    cells = positions * torch.tensor([4, 6])
    torch.testing.assert_close(cells % 1, torch.full((10, 2), 0.5, dtype=torch.float64))
    assert len({tuple(cell) for cell in cells.tolist()}) == 10


def test_more_samples_than_pixels_are_all_pixels():
    assert len(draw_positions((3, 5), 16, generator(0, 0, IMAGE_DRAW)).unique(dim=0)) == 15
    shares = torch.tensor([0.0, 0.5, 0.0, 0.0, 0.25, 0.25])
    found = draw_positions((2, 3), 6, generator(0, 0, IMAGE_DRAW), shares) * torch.tensor([2, 3]) - 0.5
    assert sorted(found.round().tolist()) == [[0, 1], [1, 1], [1, 2]]


def test_pixels_are_drawn_by_their_shares():
    shares = torch.tensor([0.1, 0.0, 0.6, 0.3])
    drawn = [draw_positions((1, 4), 1, generator(0, draw, IMAGE_DRAW), shares)[0, 1] for draw in range(2000)]
    found = torch.histc(torch.stack(drawn), 4, 0, 1) / 2000
    torch.testing.assert_close(found, shares.double(), rtol=0, atol=0.04)


def test_every_draw_has_positions_of_its_own():
    numbers = range(-9, 10)
    seeds = {
        generator(*three).initial_seed()
        for three in itertools.product(numbers, numbers, (IMAGE_DRAW, STYLE_DRAW))
    }
    assert len(seeds) == 19 * 19 * 2
    assert all(0 <= seed < 2**63 for seed in seeds)
    assert generator(3, -1, IMAGE_DRAW).initial_seed() == generator(3, -1, IMAGE_DRAW).initial_seed()


# --- Losses ---------------------------------------------------------------------------------------------


def test_with_all_positions_the_parts_are_the_equations():
    x, y = features(6, 8), features(5, 4, seed=10)
    whole = []
    for each in (x, y):
        positions = draw_positions(each[PIXELS].shape[2:], ALL, generator(0, 0, IMAGE_DRAW))
        whole.append(hypercolumns(each, positions.unsqueeze(0)))
    loss = Strotss(samples=ALL, style_samples=ALL, style_draws=1)
    found = loss(x, [loss.target(y)], LossContext([0]))
    expected = {
        "remd": relaxed_emd(cosine_distances(*whole)),
        "moments": moment_distance(*map(MeanCovariance.of, whole)),
        "color": relaxed_emd(color_distances(x[PIXELS].flatten(2), y[PIXELS].flatten(2))),
    }
    torch.testing.assert_close(found, expected)
    content = {tap: layer.clone() for tap, layer in x.items()}
    found = SelfSimilarity(samples=ALL)(features(6, 8, seed=10), [content], LossContext([0]))
    other = hypercolumns(
        features(6, 8, seed=10), draw_positions((6, 8), ALL, generator(0, 0, 0)).unsqueeze(0)
    )
    expected = {"self_similarity": self_similarity_distance(other, whole[0])}
    torch.testing.assert_close(found, expected)


def test_an_image_has_its_own_style_but_samples_differ():
    x = features(6, 8)
    loss = Strotss(samples=ALL, style_samples=ALL)
    for part in loss(x, [loss.target(x)], LossContext([0])).values():
        torch.testing.assert_close(part, torch.zeros(1, dtype=torch.float64), rtol=0, atol=1e-12)
    loss = Strotss(samples=10, style_samples=10, style_draws=1)
    assert all(part > 1e-3 for part in loss(x, [loss.target(x)], LossContext([0])).values())


def test_the_style_s_positions_are_several_draws_fixed_for_a_scale():
    """Authors' code: 5 × 1000, each draw without repetition; whatever the step."""
    x, y = features(6, 8), features(30, 40, seed=10)
    kept = Strotss().target(y)
    assert kept.columns.shape == (1, 12, 5 * 1000)
    assert len(kept.colors[0, :, :1000].T.unique(dim=0)) == 1000
    assert 1100 < len(kept.colors[0].T.unique(dim=0)) <= 1200
    loss = Strotss(samples=ALL, style_samples=20)
    first, other = (loss(x, [loss.target(y)], LossContext([draw])) for draw in (0, 7))
    torch.testing.assert_close(first, other)  # all positions of the image, and as many of the style
    third = Strotss(samples=ALL, style_samples=20, seed=1)
    assert third(x, [third.target(y)], LossContext([0]))["remd"] != first["remd"]


def test_image_and_content_are_read_at_the_same_positions():
    x = features(6, 8)
    for draw in range(-3, 3):
        found = SelfSimilarity(samples=10)(x, [x], LossContext([draw]))
        assert found["self_similarity"].item() == 0


@pytest.mark.parametrize("make", LOSSES)
def test_equal_draws_are_equal_samples(make):
    loss, x, y = make(samples=10), features(6, 8), features(6, 8, seed=10)
    values = [loss(x, [loss.target(y)], LossContext([draw])) for draw in (-8, 5, -8)]
    torch.testing.assert_close(values[0], values[2], rtol=0, atol=0)
    for part, value in values[0].items():
        assert value != values[1][part]
        other = make(samples=10, seed=1)
        assert value != other(x, [other.target(y)], LossContext([-8]))[part]


@pytest.mark.parametrize("masked", [False, True])
@pytest.mark.parametrize("make", LOSSES)
def test_images_of_a_batch_do_not_mix(make, masked):
    loss, x = make(samples=12), features(6, 8, images=3)
    sizes = [(6, 8), (5, 4), (9, 9)]
    targets = [loss.target(features(*size, seed=10 * i)) for i, size in enumerate(sizes, start=1)]
    draws, mask = [4, -1, 4], (noise(3, 1, 6, 8, seed=5) > 0.8).double() if masked else None
    together = loss(x, targets, LossContext(draws, mask))
    for i, target in enumerate(targets):
        context = LossContext([draws[i]], None if mask is None else mask[i : i + 1])
        alone = loss(image(x, i), [target], context)
        torch.testing.assert_close({part: value[i : i + 1] for part, value in together.items()}, alone)
    assert all((value.shape, value.dtype) == ((3,), torch.float64) for value in together.values())


@pytest.mark.parametrize("make", LOSSES)
def test_behind_a_mask_nothing_is_read(make):
    """Pixels next to it are read, because deeper layers mix them."""
    loss, x, y = make(samples=ALL), features(6, 8), features(6, 8, seed=10)
    mask = torch.ones(1, 1, 6, 8)
    mask[..., 4:] = 0
    y = loss.target(y)
    behind = {tap: layer.clone() for tap, layer in x.items()}
    behind[PIXELS][..., 4:] += 1
    behind["fine"][..., 4:] += 1
    behind["coarse"][..., 3:] += 1
    context = LossContext([0], mask)
    torch.testing.assert_close(loss(x, [y], context), loss(behind, [y], context), rtol=0, atol=0)
    for part, value in loss(x, [y], LossContext([0])).items():
        assert value != loss(behind, [y], LossContext([0]))[part]


@pytest.mark.parametrize("make", LOSSES)
def test_gradients_of_all_layers(make):
    loss, x = make(samples=6), features(3, 4, images=2)
    y = loss.target(features(3, 4, seed=10))
    taps, layers = list(x), [layer.requires_grad_() for layer in x.values()]

    def parts(*layers):
        return tuple(loss(dict(zip(taps, layers, strict=True)), [y, y], LossContext([0, 1])).values())

    assert torch.autograd.gradcheck(parts, layers)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float16, torch.bfloat16])
@pytest.mark.parametrize("make", LOSSES)
def test_narrower_types(make, dtype):
    """Half-precision layers beside pixels in float32: sums are those of float64 up to the layers' rounding."""
    x, y = features(6, 8), features(6, 8, seed=10)
    loss = make(samples=12)
    expected = loss(x, [loss.target(y)], LossContext([0]))
    narrow = [{tap: layer.to(dtype) for tap, layer in each.items()} for each in (x, y)]
    for each, exact in zip(narrow, (x, y), strict=True):
        each[PIXELS] = exact[PIXELS].float()
    found = loss(narrow[0], [loss.target(narrow[1])], LossContext([0]))
    tolerance = 10 * torch.finfo(dtype).eps
    torch.testing.assert_close(found, expected, rtol=tolerance, atol=tolerance)


def test_weights_of_the_parts():
    assert Strotss().weights({"fine": 5.0}, 16.0) == {"remd": 1.0, "moments": 1.0, "color": 1 / 16}
    assert Strotss().weights({"fine": 5.0}, 0.5) == {"remd": 1.0, "moments": 1.0, "color": 1.0}
    assert SelfSimilarity().weights({"fine": 5.0}, 16.0) == {"self_similarity": 1.0}


@pytest.mark.parametrize("samples", [1, 0, -3, 2.5])
@pytest.mark.parametrize("make", LOSSES)
def test_too_few_samples(make, samples):
    with pytest.raises(
        SettingError, match=f"`samples of {make.func.__name__}` should be a whole number from 2"
    ):
        make(samples=samples)


def test_too_few_of_the_style():
    with pytest.raises(SettingError, match="`style_samples of Strotss` should be a whole number from 2"):
        Strotss(style_samples=1)
    with pytest.raises(SettingError, match="`style_draws of Strotss` should be a whole number from 1"):
        Strotss(style_draws=0)


# --- In use ---------------------------------------------------------------------------------------------


def network(images):
    """Two layers, the second of half the size."""
    fine = F.conv2d(images, noise(8, 3, 3, 3, seed=1, dtype=torch.float32), padding=1).relu()
    coarse = F.conv2d(F.max_pool2d(fine, 2), noise(12, 8, 3, 3, seed=2, dtype=torch.float32) / 4, padding=1)
    return {"fine": fine, "coarse": coarse.relu()}


def pictures(*shape, seed):
    smooth = F.interpolate(
        noise(*shape[:2], 4, 4, seed=seed, dtype=torch.float32), shape[2:], mode="bilinear"
    )
    return (smooth + 0.1 * noise(*shape, seed=seed + 1, dtype=torch.float32)).sigmoid()


@pytest.mark.parametrize("balance", ["none", "sides", "layers"])
@pytest.mark.parametrize("smoothing", [NoSmoothing(), Softmax(temperature="peak/2", mean_one=True)])
def test_as_the_two_sides_of_an_objective(balance, smoothing):
    taps = {"fine": 1.0, "coarse": 1.0}
    objective = Objective(
        content=Side(loss=SelfSimilarity(samples=50), taps=taps, weight=16.0),
        style=Side(loss=Strotss(samples=50), taps=taps, weight=1.0),
        smoothing=smoothing,
        balance=balance,
    )
    contents, styles = pictures(2, 3, 16, 20, seed=0), pictures(2, 3, 12, 12, seed=5)
    targets = objective.targets(network, contents, [[Style(image)] for image in styles])
    assert objective.stochastic
    terms = objective(network, contents, targets, [0, 0])
    torch.testing.assert_close(terms.content, torch.zeros(2, dtype=torch.float64), rtol=0, atol=1e-4)
    assert (terms.style > 0.01).all()
    moved = contents.clone().requires_grad_()
    objective(network, moved, targets, [0, 0]).total.sum().backward()
    assert moved.grad.isfinite().all()
    assert (moved.grad.abs().amax(dim=(1, 2, 3)) > 0).all()


def test_rmsprop_over_a_pyramid_lowers_the_style_parts():
    loss, canvas = Strotss(samples=100), LaplacianPyramid(levels=3)
    start, style = pictures(2, 3, 24, 24, seed=0), pictures(1, 3, 20, 28, seed=5)

    def seen(images):
        return {PIXELS: images, **network(images)}

    targets = [loss.target(seen(style))] * 2

    def parts(values, draw):
        return loss(seen(canvas.decode(values, (24, 24))), targets, LossContext([draw] * 2))

    def expected(values):
        """Means over samples that no step has seen."""
        drawn = [parts(values, draw) for draw in range(-8, 0)]
        return {part: torch.stack([each[part] for each in drawn]).mean(0) for part in drawn[0]}

    optimizer = RMSprop(canvas.encode(start), lr=2e-3)
    for step in range(60):
        values = optimizer.propose()
        total = torch.stack(list(parts(values.requires_grad_(), step).values())).sum(0)
        (gradient,) = torch.autograd.grad(total.sum(), values)
        optimizer.observe(total.detach(), gradient)
    before, after = expected(canvas.encode(start)), expected(optimizer.propose())
    for part in before:
        assert (after[part] < 0.8 * before[part]).all(), part
