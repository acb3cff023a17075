"""The training loop: what it learns, how it repeats and resumes, and what it refuses."""

from dataclasses import replace

import pytest
import torch
from skimage.metrics import structural_similarity

from swag_repro.errors import DataError, SettingError, TrainingError
from swag_repro.feedforward import (
    Cropping,
    FeedforwardTraining,
    Stylizer,
    bundled_corpus,
    equalized,
    folders,
    stages,
)
from swag_repro.images import Resize, load_image, luminance
from swag_repro.images import bundled as bundled_pictures
from swag_repro.losses import BorrowedShares, Style
from swag_repro.networks.small import small_vgg
from swag_repro.training import Machine, World
from tests.feedforward.conftest import (
    ADAIN,
    CROPPING,
    JOHNSON,
    TAPS,
    encoder,
    objective,
    recipe,
    vgg,
    write_pictures,
)
from tests.parts import Softmax

MACHINE = Machine(device=torch.device("cpu"), precision="float32", compiled=False, workers=0, world=World())


def training(corpus, *, generator=ADAIN, cropping=CROPPING, seed=0, of=None, machine=MACHINE, **settings):
    network = generator.network(vgg(), TAPS["second"], seed=seed)
    return FeedforwardTraining(
        generator, network, encoder(), of or objective(balance="sides"), corpus, cropping, recipe(**settings),
        seed=seed, machine=machine, kept=True,
    )  # fmt: skip


def weights(loop):
    return {name: value.clone() for name, value in loop.network.state_dict().items()}


def same(one, other):
    return all(torch.equal(one[name], other[name]) for name in one)


@pytest.mark.parametrize(("generator", "steps"), [(ADAIN, 40), (JOHNSON, 16)], ids=["adain", "johnson"])
def test_losses_fall(corpus, generator, steps):
    loop = training(corpus, generator=generator, cropping=Cropping(short=64, size=64), steps=steps, lr=3e-3)
    totals = []
    for done in loop:
        if done % (steps // 4) == 0:
            totals.append(loop.running().total)
            loop.forget_sums()
    assert totals[-1] < 0.8 * totals[0]
    assert all(value.isfinite().all() for value in loop.network.state_dict().values())


def test_the_encoder_is_left_alone(corpus):
    loop = training(corpus)
    before = {name: value.clone() for name, value in loop.encoder.tapped.state_dict().items()}
    list(loop)
    assert same(before, loop.encoder.tapped.state_dict())
    assert not any(parameter.requires_grad for parameter in loop.encoder.tapped.parameters())


def test_the_same_seed_repeats_and_another_does_not(corpus):
    loops = [training(corpus, seed=seed) for seed in (0, 0, 1)]
    for loop in loops:
        list(loop)
    one, again, other = map(weights, loops)
    assert same(one, again)
    assert not same(one, other)


def test_a_state_goes_on_to_the_same_weights(corpus):
    whole, first, second = (training(corpus, steps=7) for _ in range(3))
    list(whole)
    steps = iter(first)
    while next(steps) < 4:
        pass
    second.load_state(first.state())
    assert list(second) == [5, 6, 7]
    assert same(weights(whole), weights(second))


def test_pairs_weigh_alike_whatever_their_own_distance(corpus):
    """Units are the batch's mean: a pair that is nearly alike has a small term, not that of all others."""
    loop = training(corpus)
    contents = torch.rand(2, 3, 32, 32, generator=torch.Generator().manual_seed(0))
    styles = torch.stack([contents[0] + 1e-3, 1 - contents[1] ** 2]).clamp(0, 1)
    of_content, of_style = loop.encoder(contents), loop.encoder(styles)
    targets = loop.objective.targets_of(of_content, of_style)
    terms = loop.objective(loop.encoder, contents, targets)
    assert terms.style[0] < 1e-3 * terms.style[1]
    assert float(terms.style.mean()) == pytest.approx(2.0, abs=1e-4)  # one loss for each tap


@pytest.mark.parametrize("balance", ["none", "sides", "layers"])
def test_targets_of_features_are_those_of_images(balance):
    of, read = objective(balance=balance), encoder()
    content, style = torch.rand(2, 1, 3, 32, 32, generator=torch.Generator().manual_seed(1)).unbind()
    by_images = of.targets(read, content, [[Style(style[0])]])
    by_features = of.targets_of(read(content), read(style))
    image = (content + style) / 2
    for found, wanted in zip(of(read, image, by_features), of(read, image, by_images), strict=True):
        torch.testing.assert_close(found, wanted)


def test_gradients_of_another_arm_can_not_be_matched():
    like = BorrowedShares(smoothing=Softmax(name="softmax", mean_one=True), match="gradient")
    of, read = objective(balance="sides", like=like), encoder()
    with pytest.raises(SettingError, match="objective.match"):
        of.targets_of(read(torch.rand(1, 3, 32, 32)), read(torch.rand(1, 3, 32, 32)))


def test_a_bad_image_is_left_out_and_counted(tmp_path):
    contents = write_pictures(tmp_path / "content", 120)
    (contents / "007.png").write_bytes(b"no picture")
    corpus = folders(content=str(contents), style=str(write_pictures(tmp_path / "style", 4, seed=1)))
    loop = training(corpus, steps=60)
    list(loop)
    assert loop.unreadable == {7}
    for index in range(8, 14):
        (contents / f"{index:03}.png").write_bytes(b"no picture")
    with pytest.raises(DataError, match="at most 1% unreadable"):
        list(training(corpus, steps=60))


def test_a_training_that_diverges_says_where(corpus):
    loop = training(corpus, lr=1e30, steps=6)
    with pytest.raises(
        TrainingError, match=r"`loss` should stay finite; found NaN or infinity by step \d of 6"
    ):
        [loop.running() for _ in loop]


def test_too_few_images_for_a_batch(corpus):
    with pytest.raises(
        DataError, match=r"`recipe.batch_size` should be at most the number of images, 3; found 4"
    ):
        training(corpus, batch_size=4)


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (
            lambda path: folders(content=str(path / "no"), style=str(path)),
            "`corpus.content` should be a folder",
        ),
        (
            lambda path: folders(content=str(path), style=str(path)),
            "`corpus.content` should hold image files",
        ),
        (lambda path: bundled_corpus(style="mona_lisa"), "`corpus.style` should be one of"),  # noqa: ARG005
        (lambda path: Cropping(short=32, size=64), "`crop.size` should be a whole number from 16 to 32"),  # noqa: ARG005
        (lambda path: recipe(lr=0.0), "`recipe.lr` should be a number above 0"),  # noqa: ARG005
    ],
)
def test_bad_input(make, message, tmp_path):
    with pytest.raises((DataError, SettingError), match=message):
        make(tmp_path)


def test_a_corpus_is_told_by_its_files(tmp_path):
    style = write_pictures(tmp_path / "style", 2, seed=1)
    first = folders(content=str(write_pictures(tmp_path / "a", 3)), style=str(style))
    again = folders(content=str(write_pictures(tmp_path / "b", 3)), style=str(style))
    more = folders(content=str(write_pictures(tmp_path / "a", 4)), style=str(style))
    assert first.digest == again.digest != more.digest
    assert (
        len(bundled_corpus().contents),
        len(bundled_corpus().styles),
        len(bundled_corpus(style="edith").styles),
    ) == (7, 7, 1)


@pytest.mark.slow
def test_a_decoder_that_overfits_four_images_gives_them_back():
    """Each image is its own style: AdaIN changes nothing, and the decoder only has to invert."""
    pictures = [one for one in bundled_pictures() if one.role == "content"][:4]
    resize = Resize(size=64, policy="squash", interpolation="lanczos")
    images = torch.stack([load_image(picture, resize) for picture in pictures])
    torch.manual_seed(0)
    wide = small_vgg(width=32, units=1, num_classes=2).eval()
    read, network = encoder(wide), ADAIN.network(wide, TAPS["second"], seed=0)
    optimizer = torch.optim.Adam(network.parameters(), lr=2e-3)
    features = read(images)["second"]
    for _ in range(600):
        optimizer.zero_grad()
        given = ADAIN.given(images, features, features)
        (network(given) - images).square().mean().backward()
        optimizer.step()
    stylizer = Stylizer(ADAIN, network, lambda x: read(x)["second"], stages(wide, TAPS["second"])[0])
    for image in images:
        found = stylizer(image[None], [Style(image)])[0]
        similarity = structural_similarity(
            found.permute(1, 2, 0).numpy(), image.permute(1, 2, 0).numpy(), channel_axis=2, data_range=1.0
        )
        assert similarity >= 0.8


def test_equalized_luminance_has_no_contrast_left_to_tell():
    dark = torch.rand(3, 64, 64, generator=torch.Generator().manual_seed(0)) ** 4
    found = [
        luminance(equalized(image)).flatten().quantile(torch.tensor([0.25, 0.5, 0.75]))
        for image in (dark, 1 - dark)
    ]
    torch.testing.assert_close(found[0], found[1], rtol=0, atol=0.05)
    torch.testing.assert_close(found[0], torch.tensor([0.25, 0.5, 0.75]), rtol=0, atol=0.05)


def test_contents_are_prepared_and_styles_are_not(corpus):
    grey = replace(CROPPING, stylize=lambda image: torch.full_like(image, 0.5))
    loop = training(corpus, cropping=grey)
    contents, styles = next(iter(loop.batches()))
    assert contents.images.unique().tolist() == [128]
    assert len(styles.images.unique()) > 100
