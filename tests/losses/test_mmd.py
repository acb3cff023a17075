import math

import pytest
import torch

from swag_repro.errors import SettingError
from swag_repro.losses import mmd
from swag_repro.losses.base import LossContext, generator
from swag_repro.losses.gram import gram_distance_to
from swag_repro.losses.mmd import (
    drawn_pairs,
    gaussian_mmd,
    gaussian_mmd_of_pairs,
    mean_distance,
    permuted_pairs,
)
from swag_repro.statistics import gram as gram_matrix
from tests.parts import GaussianMMD, GramLoss, LinearMMD, PolynomialMMD

DETERMINISTIC = {
    "linear": LinearMMD(),
    "poly": PolynomialMMD(),
    "poly, c": PolynomialMMD(c=2.0),
    "gaussian": GaussianMMD(estimator="quadratic"),
    "gaussian, sigma": GaussianMMD(estimator="quadratic", bandwidth=1.5),
}
ALL = DETERMINISTIC | {"pairs": GaussianMMD(), "pairs, sigma": GaussianMMD(bandwidth=1.5)}


PAIRS = torch.tensor([[0, 1, 4, 2, 3], [1, 3, 0, 2, 4]])  # the fourth pairs with itself; some occur twice
STYLE_PAIRS = torch.tensor([[2, 0, 3, 1, 0], [3, 1, 0, 2, 3]])


def noise(*shape, seed=0, dtype=torch.float64):
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=dtype)


def compared(loss, features, *styles, mask=None, draws=None):
    """The loss of one layer, `(A,)`: features `(A, D, H, W)` or `(A, D, M)`, a style for each image."""
    planes = [image.unflatten(2, (-1, 1)) if image.dim() == 3 else image for image in (features, *styles)]
    targets = [loss.target({"tap": style}) for style in planes[1:]]
    context = LossContext([0] * len(features) if draws is None else draws, mask)
    return loss({"tap": planes[0]}, targets, context)["tap"]


def slope(function, features):
    features = features.clone().requires_grad_()
    (gradient,) = torch.autograd.grad(function(features).sum(), features)
    return gradient


def mmd_by_kernel(kernel, features, style):
    """The definition, `1/M² ΣΣ k(x, x') + 1/M_s² ΣΣ k(y, y') − 2/(M M_s) ΣΣ k(x, y)`."""
    return sum(
        sign * kernel(a.mT @ b).mean(dim=(1, 2))
        for sign, a, b in ((1, features, features), (1, style, style), (-2, features, style))
    )


def u_statistic(features, style, sigma, shares=None):
    """`(D, M)` against `(D, M_s)`, by its double sums."""
    shares = [1 / features.shape[1]] * features.shape[1] if shares is None else shares

    def k(a, b):
        return math.exp(-float((a - b).square().sum()) / (2 * sigma**2))

    def of_others(columns, weights):
        pairs = [(i, j) for i in range(len(weights)) for j in range(len(weights)) if i != j]
        total = sum(weights[i] * weights[j] for i, j in pairs)
        return sum(weights[i] * weights[j] * k(columns[:, i], columns[:, j]) for i, j in pairs) / total

    count = style.shape[1]
    across = sum(
        shares[i] / count * k(features[:, i], style[:, j])
        for i in range(features.shape[1])
        for j in range(count)
    )
    return of_others(features, shares) + of_others(style, [1 / count] * count) - 2 * across


# --- Kernels of products --------------------------------------------------------------------------------


def test_mean_distance_by_hand():
    # μ = (2, 1), μ_s = (−1, 5): 9 + 16
    features, means = torch.tensor([[[1.0, 3.0], [0.0, 2.0]]]), torch.tensor([[-1.0, 5.0]])
    assert mean_distance(features, means).tolist() == [25.0]


@pytest.mark.parametrize("sizes", [(3, 7, 5), (9, 2, 1), (9, 4, 6)])
def test_linear_is_its_kernel(sizes):
    channels, positions, style_positions = sizes
    features, style = noise(2, channels, positions), noise(2, channels, style_positions, seed=1)

    def by_kernel(f):
        return mmd_by_kernel(lambda products: products, f, style)

    def found(f):
        return compared(LinearMMD(), f, *style.split(1))

    torch.testing.assert_close(found(features), by_kernel(features))
    torch.testing.assert_close(slope(found, features), slope(by_kernel, features))


@pytest.mark.parametrize("sizes", [(3, 7, 5), (9, 2, 1), (9, 4, 6)])  # the second: on the smaller side
@pytest.mark.parametrize("c", [0.0, 0.5, 3.0])
def test_polynomial_is_its_kernel(sizes, c):
    channels, positions, style_positions = sizes
    features, style = noise(2, channels, positions), noise(2, channels, style_positions, seed=1)

    def by_kernel(f):
        return mmd_by_kernel(lambda products: (products + c) ** 2, f, style)

    def found(f):
        return compared(PolynomialMMD(c=c), f, *style.split(1))

    torch.testing.assert_close(found(features), by_kernel(features))
    torch.testing.assert_close(slope(found, features), slope(by_kernel, features))


@pytest.mark.parametrize("sizes", [(3, 7, 5), (9, 2, 1)])
def test_the_gram_loss_is_mmd(sizes):
    """Demystifying's finding: c = 0 is the Gram loss, in value and gradient."""
    channels, positions, style_positions = sizes
    features, style = noise(2, channels, positions), noise(2, channels, style_positions, seed=1)

    def by_kernel(f):
        return mmd_by_kernel(torch.square, f, style)

    def by_gram(f):
        return gram_distance_to(f / math.sqrt(positions), gram_matrix(style / math.sqrt(style_positions)))

    def by_loss(f):
        return 4 * channels**2 * compared(GramLoss(), f, *style.split(1))

    for gram in (by_gram, by_loss):
        torch.testing.assert_close(gram(features), by_kernel(features))
        torch.testing.assert_close(slope(gram, features), slope(by_kernel, features))


def test_equal_means_are_all_that_linear_sees():
    features = noise(1, 3, 6)
    apart = features.mean(dim=2, keepdim=True) + 9 * (features - features.mean(dim=2, keepdim=True))
    assert compared(LinearMMD(), features, apart).item() < 1e-20
    assert compared(PolynomialMMD(), features, apart).item() > 1


# --- The authors' normalisers ---------------------------------------------------------------------------


def test_linear_normalizer_is_the_authors_sum():
    features, style = noise(1, 3, 4), noise(1, 3, 4, seed=1)
    sums = (features.sum(dim=2) - style.sum(dim=2)).square().sum()
    found = compared(LinearMMD(normalizer="demystifying"), features, style)
    torch.testing.assert_close(found.item(), 2e3 / (3 * 4) * 0.5 * sums.item())


@pytest.mark.parametrize("c", [0.0, 0.7])
def test_polynomial_normalizer_has_the_authors_gradient(c):
    features, style = noise(1, 3, 4), noise(1, 3, 4, seed=1)
    loss = PolynomialMMD(c=c, normalizer="demystifying")
    grams = features @ features.mT - style @ style.mT
    sums = (features - style).sum(dim=2, keepdim=True)
    expected = 0.1 / (3**2 * 4) * (grams @ features + c * sums)
    torch.testing.assert_close(slope(lambda f: compared(loss, f, style), features), expected)


def test_gaussian_normalizer_is_the_authors_sum():
    features, style = noise(1, 3, 4), noise(1, 3, 4, seed=1)
    loss = GaussianMMD(least_pairs=2, normalizer="demystifying")  # M/2 pairs: one permutation
    mean_h = compared(GaussianMMD(least_pairs=2), features, style)
    torch.testing.assert_close(compared(loss, features, style), 3e14 / (3 * 4) * 0.5 * 2 * mean_h)


# --- Gaussian kernel, all pairs -------------------------------------------------------------------------


def test_gaussian_by_hand():
    # x: 0, 2; y: 0, 0; 2σ² = 4: e^−1 + 1 − 2 (1 + e^−1 + 1 + e^−1)/4 = 0
    rows, style = torch.tensor([[0.0], [2.0]]), torch.zeros(2, 1)
    found = gaussian_mmd(rows, style, bandwidth=math.sqrt(2))
    torch.testing.assert_close(found.item(), 0.0, atol=1e-7, rtol=0)
    # Squares of 2²; none; and 2 of 4 across: (4 + 0 + 2 · 2) / 4 = 2
    mean = gaussian_mmd(rows, style, bandwidth="mean")
    torch.testing.assert_close(mean, gaussian_mmd(rows, style, bandwidth=1.0))


@pytest.mark.parametrize("shares", [None, [0.4, 0.1, 0.0, 0.3, 0.2]])
def test_all_pairs_are_the_equation(shares):
    features, style = noise(3, 5), noise(3, 4, seed=1)
    weights = None if shares is None else torch.tensor(shares, dtype=torch.float64)
    found = gaussian_mmd(features.mT, style.mT, bandwidth=1.3, shares=weights)
    torch.testing.assert_close(found.item(), u_statistic(features, style, 1.3, shares))


@pytest.mark.parametrize("shares", [None, [0.4, 0.1, 0.0, 0.3, 0.2]])
def test_gradient_of_all_pairs(shares):
    weights = None if shares is None else torch.tensor(shares, dtype=torch.float64)
    rows, style = noise(5, 3).requires_grad_(), noise(4, 3, seed=1)
    assert torch.autograd.gradcheck(lambda r: gaussian_mmd(r, style, bandwidth=1.3, shares=weights), rows)


def mean_square(rows, style):
    """Return the mean square of the four kinds of pairs."""
    apart = 1 - torch.eye(len(rows), dtype=rows.dtype)
    apart_style = 1 - torch.eye(len(style), dtype=rows.dtype)
    squares = [torch.cdist(a, b).square() for a, b in ((rows, rows), (style, style), (rows, style))]
    within = (squares[0] * apart).sum() / apart.sum()
    of_style = (squares[1] * apart_style).sum() / apart_style.sum()
    return float(within + of_style + 2 * squares[2].mean()) / 4


def test_the_mean_bandwidth_is_constant_in_the_backward_pass():
    rows, style = noise(6, 3), noise(5, 3, seed=1) + 1
    sigma = math.sqrt(mean_square(rows, style) / 2)
    found = slope(lambda r: gaussian_mmd(r, style, bandwidth="mean"), rows)
    torch.testing.assert_close(found, slope(lambda r: gaussian_mmd(r, style, bandwidth=sigma), rows))
    found = slope(lambda r: gaussian_mmd_of_pairs(r, style, PAIRS, STYLE_PAIRS, bandwidth="mean"), rows)
    (x, x_mate), (y, y_mate) = (rows[at] for at in PAIRS), (style[at] for at in STYLE_PAIRS)
    apart = PAIRS[0] != PAIRS[1]
    kinds = ((x - x_mate)[apart], y - y_mate, x - y_mate, x_mate - y)
    sigma = math.sqrt(sum(kind.square().sum(dim=1).mean().item() for kind in kinds) / 4 / 2)
    torch.testing.assert_close(
        found,
        slope(lambda r: gaussian_mmd_of_pairs(r, style, PAIRS, STYLE_PAIRS, bandwidth=sigma), rows),
    )


def test_the_mean_bandwidth_forgets_the_unit():
    features, style = noise(1, 3, 6), noise(1, 3, 5, seed=1)
    for loss in (GaussianMMD(), GaussianMMD(estimator="quadratic")):
        torch.testing.assert_close(
            compared(loss, 1e-6 * features, 1e-6 * style), compared(loss, features, style)
        )


@pytest.mark.parametrize("estimator", ["linear", "quadratic"])
@pytest.mark.parametrize("bandwidth", ["mean", 2.0])
def test_points_that_all_coincide(estimator, bandwidth):
    loss = GaussianMMD(estimator=estimator, bandwidth=bandwidth)
    features = torch.full((1, 3, 4), 0.5, requires_grad=True)
    found = compared(loss, features, features.detach())
    assert found.item() == 0
    found.backward()
    assert features.grad.abs().max() == 0


@pytest.mark.parametrize("estimator", ["linear", "quadratic"])
def test_a_mask_of_one_position_compares_it_with_itself(estimator):
    """`k(x, x) = 1`; a single style column that repeats leaves `1 + 1 − 2 k(x, y)`."""
    features, style = noise(1, 3, 2, 2), torch.zeros(1, 3, 2, 1, dtype=torch.float64)
    mask = torch.zeros(1, 1, 2, 2, dtype=torch.float64)
    mask[..., 1, 0] = 1.0
    found = compared(GaussianMMD(estimator=estimator, bandwidth=1.0), features, style, mask=mask)
    expected = 2 - 2 * math.exp(-features[0, :, 1, 0].square().sum().item() / 2)
    torch.testing.assert_close(found.item(), expected)


@pytest.mark.parametrize("estimator", ["linear", "quadratic"])
def test_columns_far_from_0_are_told_apart(estimator):
    """Products would drown distances near 1 in float32's rounding of 1e8."""
    loss = GaussianMMD(estimator=estimator)
    features, style = (noise(1, 8, 40, seed=i) * 0.5 + 1e4 for i in range(2))
    features, style = features.float(), style.float()
    found, exact = compared(loss, features, style), compared(loss, features.double(), style.double())
    torch.testing.assert_close(found, exact, rtol=0, atol=1e-5)


# --- Gaussian kernel, some pairs ------------------------------------------------------------------------


def test_one_pair_by_hand():
    # x: 0, 2; y: 1, 4; 2σ² = 2: k(0, 2) + k(1, 4) − k(0, 4) − k(2, 1)
    rows, style = torch.tensor([[0.0], [2.0]]), torch.tensor([[1.0], [4.0]])
    pair = torch.tensor([[0], [1]])
    h = math.exp(-2) + math.exp(-4.5) - math.exp(-8) - math.exp(-0.5)
    found = gaussian_mmd_of_pairs(rows, style, pair, pair, bandwidth=1.0)
    torch.testing.assert_close(found.item(), h)
    # The mean of 4, 9, 16 and 1 is 7.5.
    mean = gaussian_mmd_of_pairs(rows, style, pair, pair, bandwidth="mean")
    found = gaussian_mmd_of_pairs(rows, style, pair, pair, bandwidth=math.sqrt(7.5 / 2))
    torch.testing.assert_close(mean, found)


def test_gradient_of_pairs():
    rows, style = noise(5, 3).requires_grad_(), noise(4, 3, seed=1)
    assert torch.autograd.gradcheck(
        lambda r: gaussian_mmd_of_pairs(r, style, PAIRS, STYLE_PAIRS, bandwidth=1.3), rows
    )


def test_a_position_paired_with_itself_counts_in_the_other_means_only():
    rows, style = noise(5, 3), noise(4, 3, seed=1)

    def k(a, b):
        return (-(a - b).square().sum(dim=1) / (2 * 1.3**2)).exp()

    (x, x_mate), (y, y_mate) = (rows[at] for at in PAIRS), (style[at] for at in STYLE_PAIRS)
    apart = torch.tensor([True, True, True, False, True])
    expected = k(x, x_mate)[apart].mean() + (k(y, y_mate) - k(x, y_mate) - k(x_mate, y)).mean()
    found = gaussian_mmd_of_pairs(rows, style, PAIRS, STYLE_PAIRS, bandwidth=1.3)
    torch.testing.assert_close(found, expected)


def test_blocks_change_nothing(monkeypatch):
    rows, style = noise(5, 3), noise(4, 3, seed=1)

    def found(r):
        return gaussian_mmd_of_pairs(r, style, PAIRS, STYLE_PAIRS, bandwidth="mean")

    whole, whole_slope = found(rows), slope(found, rows)
    monkeypatch.setattr(mmd, "BLOCK", 6)  # two pairs at a time, with one left over
    torch.testing.assert_close(found(rows), whole)
    torch.testing.assert_close(slope(found, rows), whole_slope)


@pytest.mark.parametrize("positions", [6, 7])
def test_a_permutation_has_every_position_in_one_pair(positions):
    pairs = permuted_pairs(positions, 3 * 10, generator(0, 0))
    assert pairs.shape == (2, 30)
    for permutation in pairs.split(3, dim=1):
        assert len(permutation.unique()) == 6
    assert set(pairs.flatten().tolist()) == set(range(positions))
    assert permuted_pairs(positions, 4, generator(0, 0)).tolist() == pairs[:, :4].tolist()


def test_drawn_pairs_follow_the_shares():
    shares = torch.tensor([0.5, 0.0, 0.3, 0.2])
    pairs = drawn_pairs(shares, 20000, generator(0, 0))
    counts = pairs.flatten().bincount(minlength=4) / 40000
    torch.testing.assert_close(counts, shares, rtol=0, atol=4 * math.sqrt(0.25 / 40000))


@pytest.mark.parametrize("mask", [None, torch.tensor([[1.0, 0.0, 0.3, 0.7, 0.4, 1.0, 0.2]])])
def test_pairs_are_unbiased(mask):
    """Their mean over draws is the estimator of all pairs, in value and gradient, within their own noise."""
    features, style = noise(1, 3, 7, 1), noise(1, 3, 5, 1, seed=1) * 0.7 + 0.3
    mask = None if mask is None else mask.double().view(1, 1, 7, 1)
    draws = 3000
    pairs = GaussianMMD(bandwidth=1.3, least_pairs=6)
    exact = GaussianMMD(estimator="quadratic", bandwidth=1.3)
    copies = features.repeat(draws, 1, 1, 1).requires_grad_()
    looked = None if mask is None else mask.repeat(draws, 1, 1, 1)
    found = compared(pairs, copies, *[style] * draws, mask=looked, draws=range(-8, draws - 8))
    found.sum().backward()
    expected = compared(exact, features, style, mask=mask)
    assert abs(found.mean() - expected) < 2 * found.std() / math.sqrt(draws)
    deviation = copies.grad.mean(dim=0) - slope(lambda f: compared(exact, f, style, mask=mask), features)[0]
    errors = copies.grad.std(dim=0) / math.sqrt(draws)
    scores = deviation[errors > 0] / errors[errors > 0]
    assert scores.square().mean() < 2  # 1 is expected; a bias of 2 standard errors would give 5
    assert deviation[errors == 0].abs().sum() == 0
    assert errors.max() < 0.05 * slope(lambda f: compared(exact, f, style, mask=mask), features).abs().max()


def test_more_pairs_less_noise():
    features, style = noise(1, 3, 4, 4), noise(1, 3, 4, 4, seed=1)

    def spread(least_pairs):
        loss = GaussianMMD(bandwidth=1.3, least_pairs=least_pairs)
        return compared(loss, features.repeat(200, 1, 1, 1), *[style] * 200, draws=range(200)).std().item()

    assert spread(8 * 64) < spread(8) / 4  # independent permutations would give 1/√64


# --- Losses ---------------------------------------------------------------------------------------------


def test_equal_draws_take_equal_samples():
    features, style = noise(1, 3, 4, 5), noise(1, 3, 4, 6, seed=1)
    loss = GaussianMMD(least_pairs=10)
    assert loss.stochastic
    found = compared(loss, features.repeat(4, 1, 1, 1), *[style] * 4, draws=[-3, 7, -3, 3])
    assert found[0] == found[2]
    assert len(set(found.tolist())) == 3
    assert compared(loss, features, style, draws=[-3]) == found[0]
    assert compared(GaussianMMD(least_pairs=10, seed=1), features, style, draws=[-3]) != found[0]


def test_draws_are_no_matter_of_all_pairs():
    features, style = noise(1, 3, 4, 5), noise(1, 3, 4, 6, seed=1)
    loss = GaussianMMD(estimator="quadratic")
    assert not loss.stochastic
    assert compared(loss, features, style, draws=[1]) == compared(loss, features, style, draws=[2])


@pytest.mark.parametrize("loss", DETERMINISTIC.values(), ids=DETERMINISTIC)
def test_a_mask_counts_its_half_only(loss):
    features, style = noise(2, 4, 4, 4), noise(2, 4, 3, 3, seed=1).split(1)
    mask = torch.zeros(2, 1, 4, 4, dtype=torch.float64)
    mask[..., :2] = 1.0
    masked = compared(loss, features, *style, mask=mask)
    torch.testing.assert_close(masked, compared(loss, features[..., :2], *style))
    everywhere = compared(loss, features, *style, mask=torch.full_like(mask, 0.3))
    torch.testing.assert_close(everywhere, compared(loss, features, *style))


@pytest.mark.parametrize("loss", ALL.values(), ids=ALL)
@pytest.mark.parametrize("masked", [False, True])
def test_images_do_not_mix(loss, masked):
    features, styles = noise(3, 4, 3, 3), [noise(1, 4, size, 2, seed=size) for size in (2, 3, 4)]
    masks = noise(3, 1, 3, 3, seed=9).sigmoid() if masked else None
    draws = [4, 5, 6]
    together = compared(loss, features, *styles, mask=masks, draws=draws)
    for i, style in enumerate(styles):
        mask = None if masks is None else masks[i : i + 1]
        alone = compared(loss, features[i : i + 1], style, mask=mask, draws=draws[i : i + 1])
        torch.testing.assert_close(together[i : i + 1], alone)
    features.requires_grad_()
    compared(loss, features, *styles, mask=masks, draws=draws)[1].backward()
    assert features.grad[[0, 2]].abs().max() == 0
    assert features.grad[1].abs().max() > 0


# A mean bandwidth is constant in the backward pass only: see the test of that.
DIFFERENTIABLE = {name: loss for name, loss in ALL.items() if getattr(loss, "bandwidth", 1.0) != "mean"}


@pytest.mark.parametrize("loss", DIFFERENTIABLE.values(), ids=DIFFERENTIABLE)
@pytest.mark.parametrize("masked", [False, True])
def test_gradients_against_finite_differences(loss, masked):
    features, style = noise(1, 3, 3, 2), noise(1, 3, 2, 2, seed=1)
    mask = noise(1, 1, 3, 2, seed=9).sigmoid() if masked else None
    assert torch.autograd.gradcheck(lambda f: compared(loss, f, style, mask=mask), features.requires_grad_())


@pytest.mark.parametrize("loss", ALL.values(), ids=ALL)
@pytest.mark.parametrize(("dtype", "tolerance"), [(torch.float32, 1e-5), (torch.float16, 1e-2)])
def test_narrow_types(loss, dtype, tolerance):
    features, style = noise(2, 4, 5, 5).relu(), noise(1, 4, 5, 4, seed=1).relu()
    found = compared(loss, features.to(dtype), *[style.to(dtype)] * 2)
    assert found.dtype == torch.float64
    exact = compared(loss, features, *[style] * 2)
    torch.testing.assert_close(found, exact, rtol=tolerance, atol=tolerance)


@pytest.mark.parametrize("loss", [LinearMMD(), GaussianMMD()], ids=["linear", "pairs"])
def test_gradients_lie_in_memory_like_the_features(loss):
    features = noise(2, 4, 3, 5).contiguous(memory_format=torch.channels_last).requires_grad_()
    compared(loss, features, *noise(2, 4, 3, 3, seed=1).split(1)).sum().backward()
    assert features.grad.is_contiguous(memory_format=torch.channels_last)


@pytest.mark.parametrize(
    ("kind", "wrong", "setting"),
    [
        (LinearMMD, {"normalizer": "sum"}, "normalizer of LinearMMD"),
        (PolynomialMMD, {"normalizer": "paper"}, "normalizer of PolynomialMMD"),
        (PolynomialMMD, {"c": -1.0}, "c of PolynomialMMD"),
        (PolynomialMMD, {"c": math.nan}, "c of PolynomialMMD"),
        (GaussianMMD, {"normalizer": "sum"}, "normalizer of GaussianMMD"),
        (GaussianMMD, {"estimator": "cubic"}, "estimator of GaussianMMD"),
        (GaussianMMD, {"bandwidth": 0}, "bandwidth of GaussianMMD"),
        (GaussianMMD, {"bandwidth": -1.0}, "bandwidth of GaussianMMD"),
        (GaussianMMD, {"bandwidth": math.inf}, "bandwidth of GaussianMMD"),
        (GaussianMMD, {"bandwidth": "median"}, "bandwidth of GaussianMMD"),
        (GaussianMMD, {"least_pairs": 0}, "least_pairs of GaussianMMD"),
        (GaussianMMD, {"least_pairs": 0.5}, "least_pairs of GaussianMMD"),
    ],
)
def test_wrong_settings(kind, wrong, setting):
    with pytest.raises(SettingError, match=f"`{setting}` should"):
        kind(**wrong)


def test_one_position_has_no_pair():
    loss = GaussianMMD()
    with pytest.raises(SettingError, match="should leave tap at least 2 positions for GaussianMMD; found 1"):
        loss.target({"tap": noise(1, 3, 1, 1)})


def test_too_many_positions_for_all_pairs(monkeypatch):
    monkeypatch.setattr(mmd, "QUADRATIC_POSITIONS", 8)
    small, large = noise(1, 3, 4, 2), noise(1, 3, 3, 3)
    message = "`estimator of GaussianMMD` should be linear .* more than 8 positions; found .* 9 .*images.size"
    for features, style in ((small, large), (large, small)):
        with pytest.raises(SettingError, match=message):
            compared(GaussianMMD(estimator="quadratic"), features, style)
    assert compared(GaussianMMD(estimator="quadratic"), small, small) < 0  # unbiased, so it may be
    assert compared(GaussianMMD(), large, large).isfinite()
