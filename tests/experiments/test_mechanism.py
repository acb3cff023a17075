"""The arms of the experiments `mechanism`, and the shares and intermediate pictures that a run records."""

import itertools

import numpy as np
import pytest
import torch
import torchvision
from PIL import Image

from experiments.stylize import main  # noqa: F401  (the fixture `run` calls it)
from swag_repro.networks.architecture import IMAGENET_MEAN, IMAGENET_STD
from swag_repro.runs.records import all_runs

ARMS = (
    "plain",
    "softmax",
    "weights_of_softmax",
    "gradients_of_softmax",
    "softmax_weights_of_plain",
    "even",
    "softmax_even",
)
TINY = (
    "preset=equation", "network=small_residual", "weights=random", "measures=none", "images.size=32", "images.source.limit=2", "images.resize=squash",
    "compute.batch_size=2", "steps=2", "compute.threads=1", "shares=gradient",
)  # fmt: skip


@pytest.fixture
def cells(run, tmp_path):
    """Runs the arms once: arm → rows."""
    status, printed = run("-m", *TINY, f"arm={','.join(ARMS)}")
    assert status == 0, printed
    return {record.config["arm"]["name"]: record.rows().to_pandas() for record in all_runs(tmp_path / "out")}


def shares(rows, definition):
    """`(pairs, layers)`."""
    own = rows[(rows["statistic"] == "style_share") & (rows["definition"] == definition)]
    return own.pivot_table(index=["content", "style"], columns="layer", values="value").to_numpy()


def test_each_arm_has_the_shares_that_it_is_named_for(cells):
    loss, gradient = (
        {arm: shares(rows, kind) for arm, rows in cells.items()} for kind in ("loss", "gradient")
    )
    for by_arm, arm in itertools.product((loss, gradient), ARMS):
        np.testing.assert_allclose(by_arm[arm].sum(axis=1), 1)
    np.testing.assert_allclose(loss["weights_of_softmax"], loss["softmax"], rtol=1e-4)
    np.testing.assert_allclose(gradient["gradients_of_softmax"], gradient["softmax"], rtol=1e-3)
    np.testing.assert_allclose(loss["softmax_weights_of_plain"], loss["plain"], rtol=1e-4)
    for even in ("even", "softmax_even"):
        np.testing.assert_allclose(loss[even], 1 / 5, rtol=1e-4)
    assert np.abs(loss["plain"] - loss["softmax"]).max() > 0.05  # shares differ without an arm
    # Without any balance the style loss is another number under every smoothing, but not under every weight.
    start = {
        arm: rows[rows["statistic"] == "start_style_loss"]["value"].to_numpy() for arm, rows in cells.items()
    }
    np.testing.assert_allclose(start["plain"], start["even"])
    assert not np.allclose(start["plain"], start["softmax"], rtol=0.01)


def test_the_largest_entries_hold_what_the_equation_says(run, tmp_path):
    """Before and after, by a product of matrices that no code of ours has touched; pictures stay as they are."""
    status, printed = run(
        "-m",
        *TINY,
        "network=resnet18",
        "shares=loss,entries",
        "execution.fold_batchnorm=false",
        "start=style",
        "steps=1",
    )
    assert status == 0, printed
    plain, with_shares = sorted(all_runs(tmp_path / "out"), key=lambda record: record.config["shares"])[::-1]
    assert [row["total_loss"] for row in plain.pairs().to_pylist()] == [
        row["total_loss"] for row in with_shares.pairs().to_pylist()
    ]
    rows = with_shares.rows().to_pandas().query("statistic == 'largest_entries'")
    assert len(rows) == 2 * 5 * 3  # pairs, layers, definitions
    assert rows["value"].between(0.01, 1).all()
    wide = rows.pivot_table(index=["content", "style", "layer"], columns="definition", values="value")
    assert (wide["same"] <= wide["finished"] + 1e-12).all()
    assert (wide["same"] < wide["finished"]).any()
    network = torchvision_resnet18(with_shares.config["weights"]["seed"])
    with torch.no_grad():
        grams = {role: gram_of(network, record_image(with_shares, role)) for role in ("content", "style")}
    difference = (grams["content"] - grams["style"]).flatten().square()
    share = float(
        difference.sort(descending=True).values[: round(0.01 * len(difference))].sum() / difference.sum()
    )
    pair = with_shares.pairs().to_pylist()[0]
    found = wide.loc[(pair["content"], pair["style"], "conv1"), "start"]
    assert found == pytest.approx(share, rel=0.02)  # its pictures are 8-bit


def torchvision_resnet18(seed):
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        return torchvision.models.resnet18().eval()


def record_image(record, role):
    return record_picture(record, f"{role}_image")


def record_picture(record, name):
    """Return the picture of the first pair, `(3, H, W)` in [0, 1]."""
    path = record.path / record.pairs().to_pylist()[0][name]
    return torch.from_numpy(np.array(Image.open(path).convert("RGB"))).permute(2, 0, 1) / 255


def gram_of(network, image):
    mean, std = (torch.tensor(values).view(3, 1, 1) for values in (IMAGENET_MEAN, IMAGENET_STD))
    matrix = network.relu(network.bn1(network.conv1(((image - mean) / std)[None])))[0].flatten(1)
    return (matrix @ matrix.T / matrix.shape[1]).double()


def test_an_arm_without_other_settings_is_the_run_that_it_names(run, tmp_path):
    """Its name is no part of a run's identity."""
    run(*TINY)
    status, printed = run(*TINY, "arm=plain")
    assert status == 0
    assert "skipped" in printed
    assert len(list(all_runs(tmp_path / "out"))) == 1


def test_controls_need_no_network(run, tmp_path):
    """They are the photograph, recoloured or not, with noise: no step is made."""
    status, printed = run("-m", *(one for one in TINY if one != "steps=2"), "arm=recolouring,noise")
    assert status == 0, printed
    records = {record.config["arm"]["name"]: record for record in all_runs(tmp_path / "out")}
    spread = {}
    for name in ("recolouring", "noise"):
        pairs = records[name].pairs().to_pylist()
        assert {(pair["status"], pair["iterations"]) for pair in pairs} == {("finished", 0)}
        picture, content = (record_picture(records[name], role) for role in ("image", "content_image"))
        spread[name] = (picture - content).std().item()
    assert 0.07 < spread["noise"] < 0.1  # 0.1, less the clipped part
    assert spread["recolouring"] > spread["noise"]


def test_the_first_layer_alone_is_conv1(run, tmp_path):
    status, printed = run(*TINY, "arm=first_layer")
    assert status == 0, printed
    [record] = all_runs(tmp_path / "out")
    rows = record.rows().to_pandas()
    assert set(rows[rows["statistic"] == "style_share"]["layer"]) == {"conv1"}


SHARES_OF_CONV1 = {
    "plain_later": 0, "softmax_later": 0, "even_later": 0, "even_first_05": 0.05, "even": 0.2, "even_first_50": 0.5,
    "even_first_84": 0.84,
}  # fmt: skip


def test_the_first_layer_has_the_share_that_the_arm_names(run, tmp_path):
    status, printed = run("-m", *TINY, f"arm={','.join(SHARES_OF_CONV1)}")
    assert status == 0, printed
    found = {record.config["arm"]["name"]: record for record in all_runs(tmp_path / "out")}
    assert set(found) == set(SHARES_OF_CONV1)
    for arm, share in SHARES_OF_CONV1.items():
        rows = found[arm].rows().to_pandas().query("statistic == 'style_share' and definition == 'loss'")
        shares = rows.set_index("layer")["value"].groupby("layer").first()
        assert shares.get("conv1", 0) == pytest.approx(share, abs=1e-4), arm
        assert shares.sum() == pytest.approx(1, abs=1e-4), arm


def test_replicates_differ_by_what_rounding_does(run, tmp_path):
    """The same run from starts that differ by 1e-6."""
    status, printed = run("-m", *TINY, "start_noise=1e-6", "seed=0,1")
    assert status == 0, printed
    totals = [
        record.rows().to_pandas().query("statistic == 'total_loss'")["value"].to_numpy()
        for record in all_runs(tmp_path / "out")
    ]
    assert len(totals) == 2
    assert not np.array_equal(*totals)
    np.testing.assert_allclose(*totals, rtol=0.05)


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        (["objective.balance=distance"], "`objective.balance` should be one of"),
        (
            ["objective.balance=layers", "smoothing@objective.like=softmax"],
            "`objective.balance` should be sides",
        ),
        (["smoothing@objective.like=softmax", "objective.match=norm"], "`objective.match` should be one of"),
        (["shares=both"], "`shares` should be one of"),
        (["measured_steps=[-1]"], "`measured_steps` should be numbers of steps from 0"),
        (["start_noise=-1"], "`start_noise` should be a number from 0"),
        (["optimizer.constants=absolute"], "`optimizer.constants` should be"),
    ],
)
def test_mistakes(run, wrong, message):
    status, printed = run(*TINY, *wrong)
    assert status == 1
    assert message in " ".join(printed.split())
    assert "Traceback" not in printed
