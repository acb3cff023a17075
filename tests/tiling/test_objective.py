import pytest
import torch

from swag_repro.errors import SettingError
from swag_repro.losses import NORMALIZERS, Side, Style
from swag_repro.networks import TappedNetwork
from swag_repro.networks.small import small_resnet
from swag_repro.smoothing import Log1p, NoSmoothing, Power, Scale, peak
from swag_repro.tiling import (
    POINTWISE,
    TiledObjective,
    can_be_tiled,
    of_part,
    reads_whole_layers,
    shared,
    whole,
)
from tests.parts import (
    BatchNormLoss,
    BorrowedShares,
    ContentLoss,
    GaussianMMD,
    GramLoss,
    Objective,
    RandomTransformations,
    RobustGramLoss,
    Softmax,
)

TILE = 16
TAPS = {"conv1": "stem", "conv2_1": "layer1.0", "conv3_1": "layer2.0"}
LOSSES = {
    **{f"gram {name}": GramLoss(normalizer=name) for name in NORMALIZERS},
    "precise": GramLoss(precise=True),
    "robust": RobustGramLoss(),
    "bn": BatchNormLoss(),
    "bn of the authors": BatchNormLoss(normalizer="demystifying"),
}
SMOOTHINGS = {
    "none": NoSmoothing(),
    "softmax": Softmax(temperature=1.0),
    "softmax mean one": Softmax(temperature="peak/2", mean_one=True),
    "channels": Softmax(temperature="peak/2", over="channels"),
    "scale": Scale(factor=0.001),
    "log1p": Log1p(),
    "power": Power(exponent=0.5),
}


@pytest.fixture(scope="module")
def network():
    torch.manual_seed(0)
    return TappedNetwork(
        small_resnet(
            width=8, units=2, unit="basic", batchnorm=True, downsampling="stride", leak=0.0, num_classes=3
        ),
        TAPS,
        dtype=torch.float64,
    )


def objective(style=None, smoothing=None, **settings):
    return Objective(
        content=Side(
            loss=settings.pop("content", ContentLoss()), taps={"conv2_1": 1.0, "conv3_1": 0.5}, weight=1.0
        ),
        style=Side(
            loss=style or GramLoss(),
            taps={"conv1": 0.5, "conv2_1": 1.0, "conv3_1": 2.0},
            weight=3.0,
            smoothed=settings.pop("smoothed", None),
        ),
        smoothing=smoothing or NoSmoothing(),
        **settings,
    )


def pairs(mixed=False, masked=False):
    """Two pairs of images with styles of another size, of which tiles of 48 px make several."""
    draw = torch.Generator().manual_seed(1)
    image = lambda *shape: torch.rand(*shape, generator=draw, dtype=torch.float64)  # noqa: E731
    contents = image(2, 3, 61, 50)
    mask = image(1, 61, 50) if masked else None
    styles = [
        [Style(image(3, 48, 66) ** 2, weight=w, mask=mask) for w in ((0.3, 0.7) if mixed else (1.0,))]
        for _ in contents
    ]
    return contents, styles, contents * 0.6 + 0.1


def evaluated(of, network, contents, styles, images):
    images = images.clone().requires_grad_()
    terms = of(network, images, of.targets(network, contents, styles))
    terms.total.sum().backward()
    return terms, images.grad


def assert_alike(of, network, data, tolerance=1e-9):
    (terms, gradient), (tiled, of_tiles) = (
        evaluated(each, network, *data) for each in (of, TiledObjective.of(of, TILE))
    )
    for one, other in zip(terms, tiled, strict=True):
        torch.testing.assert_close(other, one, rtol=tolerance, atol=0)
    assert (of_tiles - gradient).norm() < tolerance * gradient.norm()


@pytest.mark.parametrize("loss", LOSSES)
def test_terms_and_gradient_are_those_of_the_whole(loss, network):
    assert_alike(objective(LOSSES[loss]), network, pairs())


@pytest.mark.parametrize("smoothing", SMOOTHINGS)
def test_smoothings_are_of_whole_layers(smoothing, network):
    assert_alike(objective(smoothing=SMOOTHINGS[smoothing]), network, pairs())


def test_moments_of_what_hardly_varies_lose_some_digits(network):
    """σ of a channel may vary by 1e-6 of its mean; float64's sums of squares keep four digits of that."""
    assert_alike(objective(BatchNormLoss(), SMOOTHINGS["softmax"]), network, pairs(), tolerance=1e-3)


@pytest.mark.parametrize("balance", ["none", "sides", "layers"])
def test_balances_are_those_of_the_whole(balance, network):
    smoothing = SMOOTHINGS["softmax mean one"]
    assert_alike(objective(smoothing=smoothing, balance=balance, smoothed=("conv3_1",)), network, pairs())


@pytest.mark.parametrize("loss", ["gram paper", "bn"])
def test_masks_and_mixes_are_those_of_the_whole(loss, network):
    assert_alike(objective(LOSSES[loss]), network, pairs(mixed=True, masked=True))


def test_parts_of_the_style_are_those_of_the_whole(network):
    of, (contents, styles, images) = objective(smoothing=SMOOTHINGS["softmax"]), pairs()
    tiled = TiledObjective.of(of, TILE)
    found = [
        each.style_parts(network, images, each.targets(network, contents, styles)) for each in (of, tiled)
    ]
    assert found[0].keys() == found[1].keys()
    for part, value in found[0].items():
        torch.testing.assert_close(found[1][part], value, rtol=1e-9, atol=0)


def test_no_layer_is_whole_while_it_is_evaluated(network):
    """Only the content's layers are whole, because they are kept."""
    contents, styles, images = pairs()
    tiled = TiledObjective.of(objective(), TILE)
    targets = tiled.targets(network, contents, styles)
    largest = max(layer.numel() for layer in network(contents).values())
    seen = []

    def watched(_module, _inputs, output):
        seen.append(max(layer.numel() for layer in output.values()))

    with network.extractor.register_forward_hook(watched):
        tiled(network, images.requires_grad_(), targets).total.sum().backward()
    assert 0 < max(seen) < largest


@pytest.mark.parametrize(
    ("settings", "named"),
    [
        ({"style": GaussianMMD()}, "GaussianMMD"),
        ({"like": BorrowedShares(smoothing=NoSmoothing())}, "objective.like"),
    ],
)
def test_what_can_not_be_cut_is_told(settings, named, network):
    of = objective(**settings)
    assert not can_be_tiled(of, network)
    with pytest.raises(SettingError, match=f"`tile` should be null .*{named}"):
        TiledObjective.of(of, TILE)


def test_transformations_move_what_tiles_hold(network):
    of = objective()
    moved = Objective(
        content=Side(loss=ContentLoss(), taps={"conv2_1": 1.0}, weight=0.0),
        style=of.style,
        smoothing=NoSmoothing(),
        transformations=RandomTransformations(),
    )
    assert not can_be_tiled(moved, network)
    with pytest.raises(SettingError, match="beside transformations"):
        TiledObjective.of(moved, TILE)


def layer():
    return torch.randn(2, 6, 5, 4, generator=torch.Generator().manual_seed(0)).relu() * 3


@pytest.mark.parametrize("name", SMOOTHINGS)
def test_a_part_of_a_layer_tells_whether_layers_are_read_whole(name):
    x, smoothing = layer(), SMOOTHINGS[name]
    alone = smoothing(x[..., 1:3], peak(x))
    alike = torch.allclose(alone, smoothing(x, peak(x))[..., 1:3], atol=0)
    assert reads_whole_layers(smoothing) is not alike


@pytest.mark.parametrize("name", ["softmax", "softmax mean one"])
def test_softmax_comes_in_parts(name):
    x, smoothing, common = layer(), SMOOTHINGS[name], None
    for part in x.split(2, dim=-1):
        common = shared(smoothing, part, peak(x), common)
    parts = [of_part(smoothing, part, peak(x), common, 6 * 5 * 4) for part in x.split(2, dim=-1)]
    torch.testing.assert_close(torch.cat(parts, dim=-1), smoothing(x))


def test_a_smoothing_of_one_s_own_is_added(monkeypatch):
    class Centred:
        def __call__(self, features, _reference=None):
            return features - features.mean()

    of = objective(smoothing=Centred())
    with pytest.raises(SettingError, match="`tile` should be null for a smoothing .*Centred"):
        TiledObjective.of(of, TILE)
    monkeypatch.setattr("swag_repro.tiling.POINTWISE", {*POINTWISE, Centred})
    assert TiledObjective.of(of, TILE).tile == TILE


def test_a_tile_has_at_least_one_pixel():
    with pytest.raises(SettingError, match="`tile` should be a whole number from 1; found 0"):
        TiledObjective.of(objective(), 0)


def test_whole_takes_the_tiles_away(network):
    of = objective()
    assert whole(TiledObjective.of(of, TILE)) == of == whole(of)
    assert can_be_tiled(of, network)
