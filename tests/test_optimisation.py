import io
import math
from functools import partial
from itertools import pairwise

import pytest
import torch
from torch import nn

from swag_repro.errors import SettingError
from swag_repro.losses import Side, Style
from swag_repro.losses.base import LayerLoss
from swag_repro.networks import TappedNetwork
from swag_repro.optimisation import Losses, PairStatus, TooLargeError
from swag_repro.smoothing import NoSmoothing
from tests.parts import (
    LBFGS,
    Adam,
    ContentLoss,
    GramLoss,
    Guards,
    LaplacianPyramid,
    Objective,
    Optimisation,
    Plateau,
    RMSprop,
    Softmax,
)

# This optimiser ends where the gradient is only rounding.
TORCHS = partial(LBFGS, constants="torch", tolerance_grad=1e-7, tolerance_change=1e-9)

SIZE, PAIRS = 24, 8
IMAGES = torch.rand(2 * PAIRS, 3, SIZE // 4, SIZE // 4, generator=torch.Generator().manual_seed(0))
IMAGES = nn.functional.interpolate(IMAGES, SIZE, mode="bicubic").clamp(0, 1)
CONTENTS, STYLES = IMAGES[:PAIRS], [[Style(image)] for image in IMAGES[PAIRS:]]


class Small(nn.Module):
    def __init__(self):
        super().__init__()
        self.shallow = nn.Sequential(nn.Conv2d(3, 8, 3, padding=1), nn.ReLU(inplace=True))
        self.deep = nn.Sequential(nn.MaxPool2d(4), nn.Conv2d(8, 128, 3, padding=1), nn.ReLU(inplace=True))

    def forward(self, x):
        return self.deep(self.shallow(x))


class Watched:
    """A network that counts the images it is given, and spoils the features of some."""

    def __init__(self, spoil=lambda features, _: features):
        torch.manual_seed(0)
        self.network = TappedNetwork(Small(), {"shallow": "shallow", "deep": "deep"})
        self.spoil = spoil
        self.sizes = []

    def __call__(self, images):
        if images.requires_grad:
            self.sizes.append(len(images))
        features = self.network(images)
        return {tap: self.spoil(values, len(self.sizes)) for tap, values in features.items()}


def objective(*, style=None, smoothing=None, content_weight=1.0, style_weight=10.0):
    return Objective(
        content=Side(loss=ContentLoss(), taps={"deep": 1.0}, weight=content_weight),
        style=Side(loss=style or GramLoss(), taps={"shallow": 1.0, "deep": 1.0}, weight=style_weight),
        smoothing=smoothing or NoSmoothing(),
    )


class Noisy(LayerLoss):
    """Difference of means, a tenth off by chance: another chance for each draw."""

    stochastic = True

    def keep(self, matrix):
        return matrix.mean(dim=2)

    def distance(self, matrix, kept, *, shares, draws):  # noqa: ARG002
        chance = [torch.rand((), generator=torch.Generator().manual_seed(8 + draw)) for draw in draws]
        difference = (matrix.mean(dim=2) - torch.cat(kept)).square().sum(dim=1)
        return difference.double() * (0.95 + 0.1 * torch.stack(chance).double())


def optimisation(pairs=2, *, network=None, optimizer=LBFGS, steps=20, first=0, **settings):
    chosen = slice(first, first + pairs)
    settings.setdefault("start", CONTENTS[chosen])
    return Optimisation(
        network or Watched(),
        settings.pop("objective", objective()),
        CONTENTS[chosen],
        STYLES[chosen],
        optimizer=optimizer,
        steps=steps,
        **settings,
    )


def run(optimisation):
    for _ in optimisation:
        pass
    return optimisation


# --- The optimisation -----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "optimizer", [LBFGS, partial(LBFGS, line_search="strong_wolfe"), partial(Adam, lr=0.02)]
)
def test_losses_fall(optimizer):
    done = run(optimisation(optimizer=optimizer, steps=30))
    for pair in done.results:
        assert pair.status == PairStatus.FINISHED
        assert pair.reason == "all 30 steps taken"
        assert pair.best.total < 0.5 * pair.first.total
        assert pair.iterations == 30 <= pair.evaluations
    assert done.images.shape == (2, 3, SIZE, SIZE)
    assert 0 <= done.images.min() <= done.images.max() <= 1


def test_best_losses_belong_to_the_images():
    optimizers = []

    def remembered(start):
        optimizers.append(LBFGS(start))
        return optimizers[0]

    done, network = run(optimisation(steps=5, optimizer=remembered)), Watched()
    targets = objective().targets(network, CONTENTS[:2], STYLES[:2])
    best = torch.stack([optimizers[0].best(pair) for pair in range(2)])
    assert torch.equal(done.images, best.clamp(0, 1))
    terms = objective()(network, best, targets)
    for pair, result in enumerate(done.results):
        expected = Losses(*(float(term[pair]) for term in terms))
        assert result.best == pytest.approx(expected, rel=1e-5)


def test_a_batch_of_eight_gives_each_image_what_it_gets_alone():
    together = optimisation(PAIRS, steps=25)
    alone = [optimisation(1, first=pair, steps=25) for pair in range(PAIRS)]
    for _ in range(4):
        step, singles = together.advance(), [single.advance() for single in alone]
        for pair, single in zip(step.pairs, singles, strict=True):
            assert pair.losses == pytest.approx(single.pairs[0].losses, rel=1e-3)
    torch.testing.assert_close(
        together.images, torch.cat([single.images for single in alone]), rtol=0, atol=1e-3
    )
    run(together)
    for pair, single in zip(together.results, map(run, alone), strict=True):
        assert pair.best.total == pytest.approx(single.results[0].best.total, rel=0.02)


def test_steps_count_iterations_and_closures():
    steps = list(optimisation(1, optimizer=partial(LBFGS, line_search="none"), steps=5))
    assert [step.evaluations for step in steps] == [1, 2, 3, 4, 5, 6]
    assert [step.step for step in steps] == [0, 1, 2, 3, 4, 5]
    assert all(earlier.seconds < later.seconds for earlier, later in pairwise(steps))


def test_evaluations_are_bounded():
    done = run(optimisation(steps=100, evaluations=7))
    assert [(pair.evaluations, pair.reason) for pair in done.results] == [(7, "all 7 evaluations made")] * 2


def test_a_pair_that_has_ended_is_not_evaluated():
    network, styles = Watched(), [STYLES[0], [Style(CONTENTS[1])], STYLES[2]]
    content_is_style = Optimisation(
        network, objective(), CONTENTS[:3], styles, start=CONTENTS[:3], optimizer=TORCHS, steps=4
    )
    run(content_is_style)
    assert network.sizes[0] == 3
    assert set(network.sizes[1:]) == {2}
    assert content_is_style.results[1].evaluations == 1
    assert torch.equal(content_is_style.images[1], CONTENTS[1])


# --- Losses that draw samples ----------------------------------------------------------------------------


def stochastic(**settings):
    return optimisation(
        **{
            "objective": objective(style=Noisy()),
            "optimizer": partial(Adam, lr=0.01),
            "steps": 30,
            **settings,
        }
    )


def test_a_stochastic_loss_falls_and_its_newest_image_is_kept():
    optimizers = []

    def remembered(start):
        optimizers.append(Adam(start, lr=0.01))
        return optimizers[0]

    done = run(stochastic(optimizer=remembered))
    newest = torch.stack([optimizers[0].iterate(pair) for pair in range(2)])
    assert torch.equal(done.images, newest.clamp(0, 1))
    for pair in done.results:
        assert pair.status == PairStatus.FINISHED
        assert pair.best.total < 0.5 * pair.first.total


def test_losses_of_a_stochastic_end_are_means_over_samples():
    """A tenth off by chance in each evaluation, but not in what is reported."""
    style = Noisy()
    done, network = run(stochastic(objective=objective(style=style))), Watched()
    targets = objective(style=style).targets(network, CONTENTS[:2], STYLES[:2])
    each = [objective(style=style)(network, done.images, targets, [draw] * 2).style for draw in range(-8, 0)]
    spread = torch.stack(each).std(dim=0) / torch.stack(each).mean(dim=0)
    assert (spread > 0.01).all()
    for pair, mean in zip(done.results, torch.stack(each).mean(dim=0).tolist(), strict=True):
        assert pair.best.style == pytest.approx(mean, rel=0.01)


def test_a_stochastic_loss_needs_an_optimiser_that_expects_it():
    with pytest.raises(SettingError, match="`optimizer` should be adam or rmsprop"):
        stochastic(optimizer=LBFGS)


def test_the_last_image_instead_of_the_best():
    """A step too long overshoots: its image is returned, and the losses are its own."""
    settings = {"optimizer": partial(LBFGS, lr=3.0, line_search="none"), "steps": 4}
    best, last = run(optimisation(1, **settings)), run(optimisation(1, **settings, result="last"))
    assert not torch.equal(best.images, last.images)
    network = Watched()
    targets = objective().targets(network, CONTENTS[:1], STYLES[:1])
    expected = objective()(network, last.images, targets).total
    assert last.results[0].best.total == pytest.approx(float(expected), rel=1e-6)
    assert last.results[0].best.total > best.results[0].best.total
    with pytest.raises(SettingError, match="`result` should be one of best, last"):
        optimisation(result="first")


# --- Stopping early -------------------------------------------------------------------------------------


@pytest.mark.parametrize("style", [None, Noisy()], ids=["exact", "stochastic"])
def test_a_plateau_ends_a_pair(style):
    settings = {"objective": objective(style=style), "optimizer": partial(Adam, lr=0.02), "steps": 2000}
    done = run(optimisation(plateau=Plateau(change=0.01, every=20), **settings))
    patient = run(optimisation(plateau=Plateau(change=0.003, every=20), **settings))
    for pair, longer in zip(done.results, patient.results, strict=True):
        assert pair.reason == "loss changed by less than 1.00% in 20 steps"
        assert pair.status == PairStatus.FINISHED
        assert 40 <= pair.iterations < longer.iterations
        assert pair.best.total < 0.6 * pair.first.total


def test_the_plateau_compares_what_two_checks_found():
    going = optimisation(
        1, optimizer=partial(Adam, lr=0.02), steps=2000, plateau=Plateau(change=0.05, every=10)
    )
    totals = [step.pairs[0].losses.total for step in going]
    checks = [totals[i - 1] for i in range(10, len(totals) + 1, 10)]
    changes = [abs(new - old) / old for old, new in pairwise(checks)]
    assert len(totals) == 10 * len(checks)
    assert changes[-1] < 0.05 <= min(changes[:-1])


def test_a_pair_ends_when_its_image_hardly_moves():
    """The tolerance is relative to the image as the canvas writes it (Demystifying, authors' code)."""
    settings = {"optimizer": partial(Adam, lr=0.02), "steps": 2000}
    plateau = Plateau(change=0.01, every=1, of="image")
    going = optimisation(1, **settings, plateau=plateau, result="last")
    images = [going._optimizer.iterate(0) for _ in going]
    changes = [float((new - old).norm() / new.norm()) for old, new in pairwise(images)]
    assert going.results[0].reason == "image changed by less than 1.00% in 1 steps"
    assert changes[-1] < 0.01 <= min(changes[:-1])


# --- Canvases -------------------------------------------------------------------------------------------


def test_a_pyramid_is_another_way_to_the_same_minimum():
    pixels = run(optimisation(steps=60))
    pyramid = run(optimisation(steps=60, canvas=LaplacianPyramid(levels=3)))
    assert pyramid.images.shape == pixels.images.shape
    for one, other in zip(pyramid.results, pixels.results, strict=True):
        assert one.first.total == pytest.approx(other.first.total, rel=1e-4)
        assert one.best.total < 0.1 * one.first.total
        assert other.best.total < 0.1 * other.first.total


# --- Guards ---------------------------------------------------------------------------------------------


def test_an_explosion_is_recovered():
    """A fixed step far too long for L-BFGS, and for Adam; the other pair shows nothing of it."""
    for optimizer in (partial(LBFGS, lr=60.0, line_search="none"), partial(Adam, lr=5.0)):
        guarded = run(optimisation(optimizer=optimizer, steps=60, guards=Guards(patience=3)))
        unguarded = run(
            optimisation(optimizer=optimizer, steps=60, guards=Guards(patience=1000, recoveries=0))
        )
        for pair, wild in zip(guarded.results, unguarded.results, strict=True):
            assert pair.status == PairStatus.FINISHED
            assert 1 <= pair.recoveries <= 3
            assert pair.best.total < 0.5 * pair.first.total
            assert pair.best.total < wild.best.total


def spoiled_between(first, last, *, pair):
    """NaN in one image's features at these calls; only while all pairs are under way."""

    def spoil(features, call):
        if first <= call <= last and len(features) > pair:
            return features * torch.where(torch.arange(len(features)) == pair, torch.nan, 1.0).view(
                -1, 1, 1, 1
            )
        return features

    return Watched(spoil)


def test_a_loss_that_is_not_finite_is_recovered():
    done = run(
        optimisation(network=spoiled_between(4, 4, pair=1), optimizer=partial(LBFGS, line_search="none"))
    )
    assert [pair.status for pair in done.results] == [PairStatus.FINISHED] * 2
    assert [pair.recoveries for pair in done.results] == [0, 1]
    assert done.results[1].best.total < 0.5 * done.results[1].first.total


@pytest.mark.parametrize("optimizer", [partial(LBFGS, line_search="none"), partial(Adam, lr=0.02)])
def test_what_cannot_be_recovered_diverges_with_its_best_image(optimizer):
    network = spoiled_between(6, math.inf, pair=1)
    going = optimisation(network=network, optimizer=optimizer)
    for _ in range(5):
        going.advance()
    best, losses = going.images[1].clone(), going.results[1].best
    run(going)
    other, diverged = going.results
    assert other.status == PairStatus.FINISHED
    assert diverged.status == PairStatus.DIVERGED
    assert diverged.reason == "loss or gradient is not finite, after 3 recoveries"
    assert diverged.recoveries == 3
    assert diverged.best == losses
    assert torch.equal(going.images[1], best)
    undisturbed = run(optimisation(optimizer=optimizer)).images[0]
    torch.testing.assert_close(going.images[0], undisturbed, rtol=0, atol=1e-2)


def test_a_loss_that_was_never_finite_diverges_at_once():
    done = run(optimisation(network=spoiled_between(1, math.inf, pair=1)))
    assert done.results[1].status == PairStatus.DIVERGED
    assert done.results[1].reason == "loss or gradient is not finite at the start"
    assert done.results[1].evaluations == 1
    assert torch.equal(done.images[1], CONTENTS[1])
    assert done.results[0].status == PairStatus.FINISHED


def test_an_unchanged_image_is_flagged():
    one_hot = objective(smoothing=Softmax(temperature=1e-4), content_weight=1.0)
    done = run(optimisation(objective=one_hot, optimizer=partial(Adam, lr=1e-6), steps=5))
    assert [pair.status for pair in done.results] == [PairStatus.UNCHANGED] * 2
    assert torch.equal(done.images, done.images.clamp(0, 1))


def test_a_start_at_the_minimum_is_flagged():
    """Torch's constants stop it at once; without units, only rounding is left to follow, and leads nowhere."""
    at_once = optimisation(objective=objective(style_weight=0.0), optimizer=TORCHS)
    assert [(pair.status, pair.reason) for pair in run(at_once).results] == [
        (PairStatus.UNCHANGED, "gradient below tolerance")
    ] * 2
    free = run(optimisation(objective=objective(style_weight=0.0)))
    assert [pair.status for pair in free.results] == [PairStatus.UNCHANGED] * 2


# --- Resuming -------------------------------------------------------------------------------------------


def check_resumes(make, stop):
    """Check that a run that is stopped, saved and loaded ends as it would have; return it."""
    whole = make()
    for _ in range(stop):
        whole.advance()
    file = io.BytesIO()
    torch.save(whole.state_dict(), file)
    run(whole)
    file.seek(0)
    resumed = make()
    resumed.load_state_dict(torch.load(file, weights_only=True))
    assert resumed.results[0].evaluations == stop
    run(resumed)
    assert torch.equal(resumed.images, whole.images)
    assert resumed.results == whole.results
    return whole


@pytest.mark.parametrize(
    "optimizer",
    [
        partial(LBFGS, line_search="strong_wolfe"),
        partial(LBFGS, lr=60.0, line_search="none"),
        partial(Adam, lr=0.05),
        partial(RMSprop, lr=0.01),
    ],
    ids=["wolfe", "exploding", "adam", "rmsprop"],
)
@pytest.mark.parametrize("stop", [1, 7, 18])
def test_a_resumed_run_ends_with_the_same_bits(optimizer, stop):
    check_resumes(lambda: optimisation(optimizer=optimizer, steps=20, guards=Guards(patience=3)), stop)


def test_a_resumed_run_draws_the_samples_and_makes_the_checks_that_were_next():
    settings = {"plateau": Plateau(change=0.002, every=8), "canvas": LaplacianPyramid(levels=2), "steps": 400}
    whole = check_resumes(lambda: stochastic(**settings), 13)
    assert 16 < whole.results[0].iterations < 400
    settings["plateau"] = Plateau(change=0.02, every=3, of="image")
    assert 6 <= check_resumes(lambda: stochastic(**settings), 4).results[0].iterations < 400


def test_a_state_of_another_batch_is_refused():
    state = optimisation(2).state_dict()
    with pytest.raises(ValueError, match="state should be lbfgs of 3 images"):
        optimisation(3).load_state_dict(state)


# --- Wrong input ----------------------------------------------------------------------------------------


def test_out_of_memory_names_the_remedy():
    def full(features, call):
        if call:
            raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2 GiB.")
        return features

    starved = optimisation(network=Watched(full))
    with pytest.raises(TooLargeError, match=r"2 of 24×24 pixels .*Choose a smaller compute.batch_size"):
        starved.advance()


def test_other_errors_pass():
    def wrong(features, call):
        if call:
            raise RuntimeError("shapes differ")
        return features

    with pytest.raises(RuntimeError, match="shapes differ"):
        optimisation(network=Watched(wrong)).advance()


def test_wrong_settings():
    with pytest.raises(SettingError, match="`steps` should be a whole number from 0"):
        optimisation(steps=-1)
    with pytest.raises(ValueError, match="start should be"):
        optimisation(start=CONTENTS[:1])
    for wrong in ({"explosion": 1.0}, {"patience": 0}, {"recoveries": -1}, {"step_scale": 1.0}):
        with pytest.raises(SettingError, match=f"`guards.{next(iter(wrong))}` should be"):
            Guards(**wrong)
    for wrong in ({"change": 0.0}, {"every": 0}, {"of": "weather"}):
        with pytest.raises(SettingError, match=f"`stop.{next(iter(wrong))}` should be"):
            Plateau(**wrong)
