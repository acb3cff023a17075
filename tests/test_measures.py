import math
from dataclasses import replace

import pytest
import torch
import torchvision.transforms.functional as TF
from hydra import compose, initialize_config_module
from hydra.utils import instantiate
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.linalg import sqrtm
from scipy.stats import wasserstein_distance
from torch import nn
from torchvision.models import AlexNet_Weights, resnet18, vgg16

from analysis.tables import MEASURES
from swag_repro.errors import SettingError
from swag_repro.images import bundled, load_image
from swag_repro.measures import HeldOut, Measures, WeightedNetwork, art_fid
from swag_repro.measures.distances import (
    frechet_distance,
    lpips,
    mean_over,
    read_features,
    relative_gram_distance,
    relative_sliced_wasserstein,
    shrunk,
    ssim,
    structural_divergence,
    why_no_lpips,
)
from swag_repro.measures.held_out import check_held_out
from swag_repro.networks import Architecture, TappedNetwork
from swag_repro.pretrained import PretrainedWeights
from swag_repro.weights import FileWeights
from tests.parts import RandomWeights, Resize

TAPS = ("shallow", "deep")
SLICED = {"projections": 20, "seed": 0}
ON_FEATURES = {
    "gram": relative_gram_distance,
    "sliced": lambda f, s: relative_sliced_wasserstein(f, s, **SLICED),
    "frechet": frechet_distance,
    "structure": structural_divergence,
}
STYLE = ("gram", "sliced", "frechet")


def drawn(*shape, seed=0):
    return torch.rand(shape, generator=torch.Generator().manual_seed(seed))


@torch.inference_mode()
def each_pair(network, taps, distance, images, references):
    """A distance of each image to its reference, as `HeldOut` measures it."""
    pairs = zip(images, references, strict=True)
    return torch.cat(
        [mean_over(taps, distance, read_features(network, a), read_features(network, b)) for a, b in pairs]
    )


def style_distance(network, taps, images, styles):
    return each_pair(network, taps, relative_gram_distance, images, styles)


def sliced_wasserstein(network, taps, images, styles, **settings):
    def distance(features, others):
        return relative_sliced_wasserstein(features, others, **settings)

    return each_pair(network, taps, distance, images, styles)


def sifid(network, tap, images, styles):
    return each_pair(network, [tap], frechet_distance, images, styles)


def cfsd(network, tap, images, contents):
    return each_pair(network, [tap], structural_divergence, images, contents)


def permuted_positions(features, seed=0):
    order = torch.randperm(features[0, 0].numel(), generator=torch.Generator().manual_seed(seed))
    return features.flatten(2)[..., order].view_as(features)


@pytest.fixture(scope="module")
def network():
    with torch.random.fork_rng():
        torch.manual_seed(0)
        layers = nn.Sequential(
            nn.Conv2d(3, 16, 3, padding=1),
            nn.ReLU(),
            nn.MaxPool2d(2),
            nn.Conv2d(16, 24, 3, padding=1),
            nn.ReLU(),
        )
    return TappedNetwork(layers, {"shallow": "1", "deep": "4"})


@pytest.fixture(scope="module")
def content():
    return TF.resize(load_image(bundled(limit=1)[0], Resize(size=96, policy="squash")), [48, 48])


@pytest.fixture(scope="module")
def style():
    return TF.resize(load_image(bundled(limit=1)[1], Resize(size=96, policy="squash")), [40, 56])


@pytest.fixture(scope="module")
def by_network(network):
    return {
        "style_distance": lambda images, others: style_distance(network, TAPS, images, others),
        "sliced_wasserstein": lambda images, others: sliced_wasserstein(
            network, TAPS, images, others, **SLICED
        ),
        "sifid": lambda images, others: sifid(network, "shallow", images, others),
        "cfsd": lambda images, others: cfsd(network, "deep", images, others),
        "ssim": lambda images, others: 1 - ssim(images, torch.stack(list(others))),
    }


NAMES = ("style_distance", "sliced_wasserstein", "sifid", "cfsd", "ssim")


@pytest.mark.parametrize("name", NAMES)
def test_an_image_is_at_distance_zero_from_itself(by_network, content, name):
    distance = by_network[name](content[None], [content])
    assert distance.shape == (1,)
    assert distance.dtype == torch.float64
    assert distance.item() == pytest.approx(0, abs=1e-12)


@pytest.mark.parametrize("name", NAMES)
def test_each_pair_is_measured_by_itself(by_network, content, name):
    noisy = (content + 0.2 * drawn(*content.shape)).clamp(0, 1)
    images, others = torch.stack([content, noisy, noisy]), [noisy, noisy, content]
    together = by_network[name](images, others)
    alone = [
        by_network[name](image[None], [other]).item() for image, other in zip(images, others, strict=True)
    ]
    assert together.tolist() == alone
    assert together[1].item() == pytest.approx(0, abs=1e-12)
    assert together[0] > 1e-5
    assert together[2] > 1e-5


@pytest.mark.parametrize("name", ["cfsd", "ssim"])
@pytest.mark.parametrize("damage", ["noise", "blur"])
def test_content_measures_grow_with_damage(by_network, content, name, damage):
    noise = torch.randn(content.shape, generator=torch.Generator().manual_seed(0))
    damaged = {
        "noise": [(content + amount * noise).clamp(0, 1) for amount in (0, 0.02, 0.05, 0.1, 0.3)],
        "blur": [content, *(TF.gaussian_blur(content, [15, 15], [sigma]) for sigma in (0.5, 1.0, 2.0, 4.0))],
    }[damage]
    distances = by_network[name](torch.stack(damaged), [content] * 5)
    assert (distances.diff() > 0).all()


@pytest.mark.parametrize("name", ["style_distance", "sliced_wasserstein", "sifid"])
def test_style_measures_fall_towards_the_style(by_network, content, style, name):
    target = TF.resize(style, [48, 48])
    mixed = torch.stack([torch.lerp(content, target, share) for share in (0.0, 0.25, 0.5, 0.75, 1.0)])
    distances = by_network[name](mixed, [target] * 5)
    assert (distances.diff() < 0).all()
    assert by_network[name](mixed, [style] * 5).isfinite().all()  # of another size


def test_style_layers_count_alike(network, content, style):
    each = [style_distance(network, [tap], content[None], [style]) for tap in TAPS]
    assert style_distance(network, TAPS, content[None], [style]) == pytest.approx(sum(each) / 2)


# The equations


def test_gram_distance_of_an_example_by_hand():
    features = torch.tensor([[[1.0, 1.0], [0.0, 0.0]]])  # G/M = diag(1, 0)
    wanted = torch.tensor([[[2.0, 0.0, 0.0, 0.0], [0.0, 2.0, 0.0, 0.0]]])  # G/M = diag(1, 1)
    assert relative_gram_distance(features, wanted).item() == pytest.approx(1 / 2)
    assert relative_gram_distance(wanted, features).item() == pytest.approx(1)


@pytest.mark.parametrize("name", ["gram", "sliced"])
def test_relative_distances_of_zeros(name):
    zeros, features = torch.zeros(1, 4, 3, 3), drawn(1, 4, 3, 3)
    assert ON_FEATURES[name](zeros, features).item() == pytest.approx(1)
    assert ON_FEATURES[name](zeros, zeros).item() == 0
    assert ON_FEATURES[name](features, zeros).item() == math.inf


@given(scale=st.floats(1e-3, 1e3), seed=st.integers(0, 100))
@settings(max_examples=20)
def test_scale_invariance(scale, seed):
    features, others = drawn(2, 5, 4, 3, seed=seed), drawn(2, 5, 4, 3, seed=seed + 1)
    for name in ("gram", "sliced", "structure"):
        assert ON_FEATURES[name](scale * features, scale * others) == pytest.approx(
            ON_FEATURES[name](features, others), rel=1e-3, abs=1e-7
        )
    assert frechet_distance(scale * features, scale * others) == pytest.approx(
        scale**2 * frechet_distance(features, others), rel=1e-4
    )


@given(seed=st.integers(0, 100))
@settings(max_examples=20)
def test_positions_matter_to_structure_only(seed):
    features, others = drawn(1, 6, 5, 5, seed=seed), drawn(1, 6, 5, 5, seed=seed + 1)
    moved = permuted_positions(features, seed)
    for name in STYLE:
        assert ON_FEATURES[name](moved, features).item() == pytest.approx(0, abs=1e-9)
        assert ON_FEATURES[name](moved, others) == pytest.approx(
            ON_FEATURES[name](features, others), rel=1e-4
        )
    assert structural_divergence(moved, features).item() > 1e-3
    together = structural_divergence(moved, permuted_positions(others, seed))
    assert together == pytest.approx(structural_divergence(features, others), rel=1e-4)


@given(seed=st.integers(0, 100), name=st.sampled_from(sorted(ON_FEATURES)))
@settings(max_examples=30)
def test_distances_are_not_negative(seed, name):
    assert (ON_FEATURES[name](drawn(3, 4, 3, 3, seed=seed), drawn(3, 4, 3, 3, seed=seed + 1)) > 0).all()


def test_frechet_distance_is_symmetric_and_agrees_with_scipy():
    features, others = drawn(1, 5, 12, 10).double(), drawn(1, 5, 6, 8, seed=1).double() ** 2
    (mean, covariance), (mean_other, covariance_other) = (
        (f.mean(dim=1).numpy(), torch.cov(f).numpy()) for f in (features.flatten(2)[0], others.flatten(2)[0])
    )
    root = sqrtm(covariance @ covariance_other).real
    expected = ((mean - mean_other) ** 2).sum() + (covariance + covariance_other - 2 * root).trace()
    assert frechet_distance(features, others).item() == pytest.approx(expected)
    assert frechet_distance(others, features).item() == pytest.approx(expected)


def test_frechet_distance_of_a_single_position_is_that_of_the_means():
    assert frechet_distance(torch.zeros(1, 3, 1, 1), torch.ones(1, 3, 1, 1)).item() == pytest.approx(3)


@pytest.mark.parametrize(("size", "other"), [(6, 6), (6, 4), (5, 7), (1, 3)])
def test_sliced_wasserstein_of_one_channel_is_exact(size, other):
    # In one dimension W₂² = ∫ (Q − Q')²; here each value is repeated until both have as many.
    found, wanted = drawn(1, 1, size), drawn(1, 1, other, seed=1)
    many = [f.flatten().sort().values.repeat_interleave(n) for f, n in ((found, other), (wanted, size))]
    expected = (many[0] - many[1]).square().mean() / wanted.square().mean()
    assert ON_FEATURES["sliced"](found, wanted).item() == pytest.approx(expected.item(), rel=1e-5)


def test_sliced_wasserstein_of_a_shift():
    # All one-dimensional distances between a set and its copy shifted by v are θᵀv.
    features, shift = drawn(1, 3, 50), torch.tensor([1.0, -2.0, 0.5]).view(1, 3, 1)
    distance = relative_sliced_wasserstein(features + shift, features, projections=4000, seed=1)
    expected = shift.square().sum() / features.square().sum(dim=1).mean()
    assert distance.item() == pytest.approx(expected.item(), rel=0.1)
    one = features[:, :1]
    assert wasserstein_distance((one + 1).flatten(), one.flatten()) == pytest.approx(1)
    assert ON_FEATURES["sliced"](one + 1, one).item() == pytest.approx(
        1 / one.square().mean().item(), rel=1e-5
    )


def test_sliced_wasserstein_depends_on_its_seed_only():
    features, others = drawn(1, 8, 30), drawn(1, 8, 30, seed=1)
    first, again, other = (
        relative_sliced_wasserstein(features, others, projections=3, seed=seed) for seed in (0, 0, 1)
    )
    assert first == again
    assert first != other


def test_structural_divergence_of_an_example_by_hand():
    apart = torch.tensor([[[1.0, 0.0], [0.0, 3.0]]])  # the cosines are 1 with itself, 0 with the other
    alike = torch.tensor([[[1.0, 2.0], [1.0, 2.0]]])  # the cosines are all 1
    p = math.e / (math.e + 1)
    expected = p * math.log(2 * p) + (1 - p) * math.log(2 * (1 - p))  # KL(p ‖ ½)
    assert structural_divergence(alike, apart).item() == pytest.approx(expected, rel=1e-6)


def test_structural_divergence_in_parts_is_the_whole(monkeypatch):
    features, others = drawn(2, 6, 9, 7), drawn(2, 6, 9, 7, seed=1)
    whole = structural_divergence(features, others)
    monkeypatch.setattr("swag_repro.measures.distances.SIMILARITIES", 500)
    assert structural_divergence(features, others) == pytest.approx(whole)


def test_structure_needs_the_same_positions():
    with pytest.raises(ValueError, match="positions differ"):
        structural_divergence(drawn(1, 4, 3, 3), drawn(1, 4, 3, 4))


@pytest.mark.parametrize("size", [1, 2, 6, 10, 11, 32])
def test_ssim_of_any_size(size):
    images, contents = drawn(2, 3, size, size + 3), drawn(2, 3, size, size + 3, seed=1)
    assert ssim(images, images).tolist() == [1, 1]
    assert ssim(images, contents) == pytest.approx(ssim(contents, images))
    assert (ssim(images, contents) < 0.9).all()


# Which network measures


def architecture(name, builder=vgg16, imagenet=None):
    return Architecture(
        name=name,
        label=name,
        builder=builder,
        taps={"conv1": "relu", "conv2_2": "layer1.1", "conv3_2": "layer2.1"},
        style_taps=["conv1", "conv2_2", "conv3_2"],
        content_tap="conv3_2",
        statistic_taps=["conv1"],
        imagenet=imagenet,
    )


def settings_of(weights=None, projections=4):
    return Measures(
        network=architecture("vgg19", imagenet="VGG19_Weights.IMAGENET1K_V1"),
        alternative=architecture("resnet18", resnet18, "ResNet18_Weights.IMAGENET1K_V1"),
        weights=weights or RandomWeights(seed=0),
        projections=projections,
        seed=0,
        size=None,
    )


def test_the_optimised_network_cannot_measure():
    vgg, resnet = architecture("vgg19"), architecture("resnet50")
    check_held_out(
        WeightedNetwork(vgg, RandomWeights(seed=0)), WeightedNetwork(resnet, RandomWeights(seed=0))
    )
    check_held_out(WeightedNetwork(vgg, RandomWeights(seed=0)), WeightedNetwork(vgg, RandomWeights(seed=1)))
    with pytest.raises(SettingError, match=r"not be the network that is optimised.*vgg19\(random\) for both"):
        check_held_out(
            WeightedNetwork(vgg, RandomWeights(seed=0)), WeightedNetwork(vgg, RandomWeights(seed=0))
        )


def test_a_copy_of_a_weight_file_is_the_same_network(tmp_path):
    for name, content in {"a": b"weights", "b": b"weights", "c": b"others"}.items():
        (tmp_path / name).write_bytes(content)
    a, b, c = (
        WeightedNetwork(architecture("vgg19"), FileWeights(path=str(tmp_path / name)))
        for name in ("a", "b", "c")
    )
    assert a.equals(b)
    assert not a.equals(c)
    assert str(a) == "vgg19(file)"


@pytest.mark.parametrize(
    ("optimised", "measuring"),
    [
        ("vgg19", "resnet18"),
        ("vgg16", "resnet18"),
        ("vgg19_avg", "resnet18"),
        ("resnet50", "vgg19"),
        ("pseudo_vgg", "vgg19"),
    ],
)
def test_a_vgg_is_measured_by_the_alternative(optimised, measuring):
    chosen = settings_of().choose(WeightedNetwork(architecture(optimised), RandomWeights(seed=0)))
    assert chosen.architecture.name == measuring


def test_no_projection_is_refused():
    with pytest.raises(SettingError, match="measures.projections"):
        settings_of(projections=0)


def test_the_default_config():
    with initialize_config_module("conf", version_base="1.3"):
        default = instantiate(compose("measure_activations", ["+measures=default"]).measures, _convert_="all")
        other = [
            "+measures=default",
            "network@measures.network=inception_v3",
            "weights@measures.weights=random",
        ]
        changed = instantiate(compose("measure_activations", other).measures, _convert_="all")
    assert (default.network.name, default.alternative.name) == ("vgg16", "resnet50_half")
    assert default.weights == PretrainedWeights(name="pretrained")
    assert (changed.network.name, changed.weights.name) == ("inception_v3", "random")


# All measures of a picture


@pytest.fixture(scope="module")
def held_out():
    given = settings_of()
    return given.build(given.choose(WeightedNetwork(architecture("vgg16"), RandomWeights(seed=0))))


def test_larger_pictures_are_shrunk_before_they_are_measured(held_out, content, style):
    seen = replace(held_out, size=16)
    (found,) = seen(content[None], content.flip(2)[None], [style])
    small = [shrunk(image, 16) for image in (content, content.flip(2), style)]
    assert [min(image.shape[1:]) for image in small] == [16, 16, 16]
    (as_they_are,) = held_out(small[0][None], small[1][None], [small[2]])
    assert found == as_they_are
    assert shrunk(content, min(content.shape[1:])) is content
    assert shrunk(content, None) is content
    (whole,) = held_out(content[None], content.flip(2)[None], [style])
    assert whole != found


@pytest.mark.parametrize("size", [15, 0, -1])
def test_a_size_too_small_to_measure_is_refused(size):
    with pytest.raises(SettingError, match="measures.size"):
        replace(settings_of(), size=size)


def test_a_picture_has_all_its_measures(held_out, content, style):
    noisy = (content + 0.2 * drawn(*content.shape)).clamp(0, 1)
    pictures = list(held_out(torch.stack([content, noisy]), torch.stack([content] * 2), [style, content]))
    assert len(pictures) == 2
    first, second = ({measure.statistic: measure for measure in picture} for picture in pictures)
    assert list(first) == list(second) == list(MEASURES)
    by_network = ("luminance_wasserstein", "style_distance", "sifid", "cfsd")
    assert {first[name].definition for name in by_network} == {"resnet18(random)"}
    assert [first[name].layer for name in by_network] == ["conv2_2", None, "conv1", "conv2_2"]
    assert (first["cfsd"].value, first["ssim"].value) == (0, 1)
    assert (second["cfsd"].value, second["ssim"].value) != (0, 1)
    expected = style_distance(held_out.network, held_out.style_taps, content[None], [style])
    assert first["style_distance"].value == pytest.approx(expected.item())
    assert all(
        (measure.value is None) == (measure.reason is not None) for measure in (*pictures[0], *pictures[1])
    )


def luminance_wasserstein(held_out, image, style):
    [picture] = held_out(image[None], image[None], [style])
    assert picture[0].statistic == "luminance_wasserstein"
    return picture[0].value


def test_a_distance_of_luminance_does_not_see_colour(held_out, content, style):
    """Y of YIQ is 0.299 R + 0.587 G + 0.114 B: red that becomes green in this proportion leaves it as it is."""
    assert luminance_wasserstein(held_out, style, style) == pytest.approx(0, abs=1e-9)
    image = 0.3 + 0.4 * content
    redder = image + 0.2 * torch.tensor([0.587, -0.299, 0.0]).view(3, 1, 1)
    assert (redder - image).abs().max() > 0.1
    plain = luminance_wasserstein(held_out, image, style)
    assert luminance_wasserstein(held_out, redder, style) == pytest.approx(plain, rel=1e-3)
    noisy = (style + 0.3 * drawn(*style.shape)).clamp(0, 1)
    more = (style + 0.6 * drawn(*style.shape)).clamp(0, 1)
    noises = [luminance_wasserstein(held_out, picture, style) for picture in (noisy, more)]
    assert 0.01 < noises[0] < noises[1]


def test_a_measure_that_cannot_be_had_says_why(held_out, content):
    broken = content.clone()
    broken[0, 0, 0] = math.nan
    (picture,) = held_out(broken[None], content[None], [content])
    reasons = {measure.statistic: measure.reason for measure in picture if measure.statistic != "lpips"}
    assert all("finite" in reason for reason in reasons.values())
    assert all(measure.value is None for measure in picture if measure.statistic != "lpips")


def test_a_style_too_small_to_read_leaves_the_content_measures(network, content):
    held_out = HeldOut(
        network=network,
        label="tiny",
        style_taps=TAPS,
        size=None,
        **SLICED,
    )
    (picture,) = held_out(content[None], content[None], [content[:, :1, :1]])
    values = {measure.statistic: measure.value for measure in picture}
    assert (values["luminance_wasserstein"], values["style_distance"]) == (None, None)
    assert (values["cfsd"], values["ssim"]) == (0, 1)
    assert "images.size" in picture[0].reason


def test_gradients_are_neither_needed_nor_left(held_out, content):
    image = content.clone().requires_grad_()
    (picture,) = held_out(image[None], content[None], [content])
    assert picture[0].value == pytest.approx(0, abs=1e-12)
    assert torch.is_inference_mode_enabled() is False
    assert image.grad is None


# LPIPS


def test_lpips_is_a_distance_or_absent_with_a_reason(content):
    images, contents = torch.stack([content, content.flip(2)]), torch.stack([content] * 2)
    reason, distance = why_no_lpips(images), lpips(images, contents)
    if reason is not None:
        assert distance is None
        assert "torchmetrics" in reason or "AlexNet" in reason or "torchvision" in reason
    else:
        assert distance.dtype == torch.float64
        assert distance[0].item() == pytest.approx(0, abs=1e-6)
        assert distance[1] > 0.01


def test_lpips_of_small_images_is_absent():
    assert lpips(drawn(1, 3, 30, 64), drawn(1, 3, 30, 64)) is None
    assert "31 pixels" in why_no_lpips(drawn(1, 3, 30, 64))


def test_lpips_needs_torchvisions_own_file(tmp_path, monkeypatch):
    pytest.importorskip("torchmetrics")
    monkeypatch.setattr(torch.hub, "get_dir", lambda: str(tmp_path))
    images = drawn(1, 3, 64, 64)
    assert "AlexNet's weights are not at" in why_no_lpips(images)
    name = AlexNet_Weights.IMAGENET1K_V1.url.rsplit("/", 1)[-1]
    monkeypatch.setattr(torch.hub, "get_dir", lambda: str(tmp_path / "other"))
    (tmp_path / "other" / "checkpoints").mkdir(parents=True)
    (tmp_path / "other" / "checkpoints" / name).write_bytes(b"damaged")
    assert "not torchvision's file" in why_no_lpips(images)
    assert lpips(images, images) is None


def test_art_fid_is_one_for_perfect_pictures_and_grows_with_both_of_its_parts():
    generator = torch.Generator().manual_seed(0)
    features = torch.randn(50, 4, generator=generator, dtype=torch.float64)
    none, far = torch.zeros(50), torch.full((50,), 0.5)
    shifted = features + torch.tensor([3.0, 0, 0, 0])
    assert art_fid(none, features, features).item() == pytest.approx(1)
    assert art_fid(far, features, features).item() == pytest.approx(1.5)
    assert art_fid(none, shifted, features).item() == pytest.approx(1 + 9)
    assert art_fid(far, shifted, features).item() == pytest.approx(1.5 * 10)
