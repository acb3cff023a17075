import copy
from functools import partial

import pytest
import torch

from swag_repro.errors import SettingError
from swag_repro.optimisation.optimizers import StopReason
from tests.parts import LBFGS, SGD, Adam, RMSprop

FIRST_ORDER = [
    (partial(Adam, constants="torch", lr=0.05), partial(torch.optim.Adam, lr=0.05)),
    (
        partial(Adam, constants="torch", lr=0.05, betas=(0.8, 0.99), eps=1e-3),
        partial(torch.optim.Adam, lr=0.05, betas=(0.8, 0.99), eps=1e-3),
    ),
    (partial(RMSprop, constants="torch", lr=0.01), partial(torch.optim.RMSprop, lr=0.01)),
    (
        partial(RMSprop, constants="torch", lr=0.1, alpha=0.5, eps=1e-3),
        partial(torch.optim.RMSprop, lr=0.1, alpha=0.5, eps=1e-3),
    ),
    (
        partial(SGD, lr=0.01, momentum=0.8, weight_decay=0.1, clip=1e9, decay=1.0),
        partial(torch.optim.SGD, lr=0.01, momentum=0.8, weight_decay=0.1),
    ),
]
QUASI_NEWTON = [
    (partial(LBFGS, constants="torch", line_search="none", lr=0.5), partial(torch.optim.LBFGS, lr=0.5)),
    (partial(LBFGS, constants="torch", line_search="none", history=3), partial(torch.optim.LBFGS, history_size=3)),
    (partial(LBFGS, constants="torch", line_search="strong_wolfe"), partial(torch.optim.LBFGS, line_search_fn="strong_wolfe")),
    (partial(LBFGS, constants="torch", line_search="strong_wolfe", lr=3.0, history=2), partial(torch.optim.LBFGS, line_search_fn="strong_wolfe", lr=3.0, history_size=2)),
]  # fmt: skip
KINDS = [
    *[ours for ours, _ in FIRST_ORDER[::2]],
    QUASI_NEWTON[0][0],
    QUASI_NEWTON[2][0],
]


def starts(dtype=torch.float64):
    return 2 * torch.randn(3, 2, 4, generator=torch.Generator().manual_seed(0), dtype=dtype)


def loss(x):
    """Return the loss of each point `(A, 2, 4)`: an uneven bowl with a fourth power, so that Hessians change."""
    slopes = torch.linspace(1, 6, 8, dtype=x.dtype).view(2, 4)
    pull = (x - x.roll(1, -1)).square().sum(dim=(1, 2))
    return (slopes * (x - 0.3).square() / 2 + (x - 0.3).pow(4) / 20).sum(dim=(1, 2)) + pull


def closure(points):
    points = points.clone().requires_grad_()
    values = loss(points)
    (gradients,) = torch.autograd.grad(values.sum(), points)
    return values.detach(), gradients


def step(optimizer):
    optimizer.observe(*closure(optimizer.propose()))


def iterates(optimizer, count):
    """Return the first accepted iterates of each image, `(3, count, 2, 4)`."""
    found = [[optimizer.iterate(i)] for i in range(3)]
    while min(map(len, found)) <= count and not optimizer.done:
        step(optimizer)
        for i, each in enumerate(found):
            if not torch.equal(each[-1], optimizer.iterate(i)):
                each.append(optimizer.iterate(i))
    return torch.stack([torch.stack(each[1 : count + 1]) for each in found])


def torch_iterates(make, start, count):
    """Return torch's iterates of one image."""
    x = start.clone().requires_grad_()
    optimizer = make([x])

    def evaluate():
        optimizer.zero_grad()
        value = loss(x.unsqueeze(0))[0]
        value.backward()
        return value

    found = []
    for _ in range(count):
        optimizer.step(evaluate)
        found.append(x.detach().clone())
    return torch.stack(found)


# --- Iterates -------------------------------------------------------------------------------------------


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize(("ours", "theirs"), FIRST_ORDER)
def test_first_order_follows_torch(ours, theirs, dtype):
    expected = torch.stack([torch_iterates(theirs, start, 60) for start in starts(dtype)])
    tolerance = 100 * torch.finfo(dtype).eps
    torch.testing.assert_close(iterates(ours(starts(dtype)), 60), expected, rtol=tolerance, atol=tolerance)


@pytest.mark.parametrize(("ours", "theirs"), QUASI_NEWTON)
def test_lbfgs_follows_torch(ours, theirs):
    """Torch takes one iteration a step here, with 25 evaluations for its search."""
    expected = torch.stack(
        [torch_iterates(partial(theirs, max_iter=1, max_eval=26), start, 10) for start in starts()]
    )
    torch.testing.assert_close(iterates(ours(starts()), 10), expected, rtol=1e-7, atol=1e-9)
    assert (loss(expected[:, -1]) < 1e-2 * loss(starts())).all()


RELATIVE = [
    partial(Adam, lr=0.05),
    partial(RMSprop, lr=0.01),
    *(partial(LBFGS, line_search=line_search) for line_search in ("none", "armijo", "strong_wolfe")),
]


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize("make", RELATIVE, ids=lambda make: f"{make.func.kind}-{make.keywords}")
def test_a_multiple_of_an_objective_takes_the_same_path(make, dtype):
    """The path is equal bit for bit where the factor is a power of 2, else up to rounding."""
    plain = make(starts(dtype))
    scaled = {factor: make(starts(dtype)) for factor in (2.0**-40, 2.0**40, 1e-12, 1e-6, 1e6, 1e12)}
    for _ in range(8):
        step(plain)
        for factor, optimizer in scaled.items():
            values, gradients = closure(optimizer.propose())
            optimizer.observe(values * factor, gradients * factor)
    for factor, optimizer in scaled.items():
        for index in range(3):
            found, expected = optimizer.iterate(index), plain.iterate(index)
            if factor in (2.0**-40, 2.0**40):
                assert torch.equal(found, expected)
            torch.testing.assert_close(found, expected, rtol=1e-4, atol=1e-4)
            best = optimizer.progress[index].best_loss / factor
            assert best == pytest.approx(plain.progress[index].best_loss, rel=1e-3)
    assert all(
        now.best_loss < before for now, before in zip(plain.progress, loss(starts(dtype)), strict=True)
    )


def test_torchs_constants_leave_a_small_objective_where_it_is():
    """The finding behind `relative`: at 1e-8 times the loss every pair falls below torch's least curvature."""
    optimizers = [
        LBFGS(starts(), constants=constants, tolerance_grad=0, tolerance_change=0)
        for constants in ("torch", "relative")
    ]
    for optimizer in optimizers:
        for _ in range(15):
            values, gradients = closure(optimizer.propose())
            optimizer.observe(values * 1e-8, gradients * 1e-8)
    stuck, free = (
        (loss(torch.stack([o.best(i) for i in range(3)])) / loss(starts())).max() for o in optimizers
    )
    assert stuck > 0.99
    assert free < 0.01


def test_rmsprop_by_hand():
    """Mean square 0.01 · 3², then 0.99 · 0.09 + 0.01 · 4²: steps of 10 lr, and of 4 / √0.2491 lr."""
    optimizer = RMSprop(torch.zeros(1, 1, dtype=torch.float64), lr=0.1)
    for gradient in (3.0, -4.0):
        optimizer.observe(torch.ones(1), torch.tensor([[gradient]], dtype=torch.float64))
    torch.testing.assert_close(optimizer.iterate(0).item(), -1 + 0.4 / 0.2491**0.5, rtol=1e-6, atol=0)


def test_sgd_by_hand():
    """Norms above clip · N are scaled down to it; the rate halves after each second step."""
    optimizer = SGD(
        torch.ones(1, 2, dtype=torch.float64),
        lr=0.1,
        momentum=0.5,
        weight_decay=0.0,
        clip=2.5,
        decay=0.5,
        decay_every=2,
    )
    for gradient in ([6.0, 8.0], [3.0, 4.0], [3.0, 4.0]):
        optimizer.observe(torch.ones(1), torch.tensor([gradient], dtype=torch.float64))
    velocities = [0.1, 0.15, 0.125]  # multiples of a gradient (3, 4): 0.1, 0.05 + 0.1, 0.075 + 0.05
    expected = 1 - sum(velocities) * torch.tensor([3.0, 4.0], dtype=torch.float64)
    torch.testing.assert_close(optimizer.iterate(0), expected)


# --- States ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize("make", KINDS)
def test_a_saved_state_goes_on_bit_for_bit(make):
    """States are saved in the middle of line searches, too."""
    optimizer = make(starts())
    for _ in range(9):
        state = copy.deepcopy(optimizer.state_dict())
        resumed = make(torch.zeros_like(starts()))
        resumed.load_state_dict(state)
        step(optimizer)
        step(resumed)
        assert torch.equal(resumed.propose(), optimizer.propose())
    assert resumed.progress == optimizer.progress
    assert all(torch.equal(resumed.best(i), optimizer.best(i)) for i in range(3))


def test_a_state_of_another_optimizer_is_refused():
    with pytest.raises(ValueError, match="state should be rmsprop of 3 images; found adam of 3 images"):
        RMSprop(starts(), lr=0.1).load_state_dict(Adam(starts(), lr=0.1).state_dict())


@pytest.mark.parametrize("make", KINDS)
def test_images_of_a_batch_do_not_mix(make):
    together, alone = make(starts()), make(starts()[1:2])
    for _ in range(10):
        step(together)
        step(alone)
    assert torch.equal(together.iterate(1), alone.iterate(0))


@pytest.mark.parametrize("ours", [ours for ours, _ in FIRST_ORDER])
def test_a_restart_forgets_gradients_and_scales_steps(ours):
    optimizer = ours(starts())
    for _ in range(5):
        step(optimizer)
    optimizer.stop(1, "for now")
    optimizer.restart(1, step_scale=0.5)
    assert optimizer.active == [0, 1, 2]
    fresh = ours(optimizer.best(1).unsqueeze(0), lr=0.5 * ours.keywords["lr"])
    for _ in range(5):
        step(optimizer)
        step(fresh)
    torch.testing.assert_close(optimizer.iterate(1), fresh.iterate(0), rtol=0, atol=0)
    assert optimizer.progress[1].iterations == 10


@pytest.mark.parametrize("make", [*KINDS[:2], partial(LBFGS, line_search="none")])
@pytest.mark.parametrize("where", ["loss", "gradient"])
def test_what_is_not_finite_stops_one_image(make, where):
    optimizer = make(starts())
    step(optimizer)
    before = optimizer.best(1)
    values, gradients = closure(optimizer.propose())
    (values if where == "loss" else gradients[:, 0, 0])[1] = torch.nan
    optimizer.observe(values, gradients)
    assert [image.stopped for image in optimizer.progress] == [None, StopReason.NON_FINITE, None]
    assert torch.equal(optimizer.best(1), before)
    assert optimizer.active == [0, 2]


@pytest.mark.parametrize(
    ("make", "name"),
    [
        (partial(RMSprop, lr=0.0), "lr"),
        (partial(RMSprop, lr=0.1, eps=0.0), "eps"),
        (partial(RMSprop, lr=0.1, alpha=1.0), "alpha"),
        (partial(RMSprop, lr=0.1, alpha=-0.1), "alpha"),
        (partial(Adam, lr=-1.0), "lr"),
        (partial(Adam, lr=0.1, betas=(0.9, 1.0)), "betas"),
        (partial(LBFGS, history=0), "history"),
        (partial(LBFGS, line_search="wolfe"), "line_search"),
        (partial(LBFGS, tolerance_grad=-1.0), "tolerance_grad"),
        (partial(LBFGS, constants="absolute"), "constants"),
    ],
)
def test_bad_settings(make, name):
    with pytest.raises(SettingError, match=f"`optimizer.{name}(.[01])?` should be"):
        make(starts())
