"""A user's own smoothing, loss and figure, in files of their own, as CONTRIBUTING.md shows."""

import numpy as np
import pandas as pd
import pytest
from PIL import Image

from analysis.commands import main as analyse
from experiments.asking import UsersSettings
from experiments.stylize import main  # noqa: F401  (the fixture `run` calls it)
from swag_repro.runs.records import all_runs

pytestmark = pytest.mark.slow

S = [
    "preset=equation",
    "weights=random",
    "images.size=32",
    "images.source.limit=1",
    "network=resnet18",
    "compute.threads=1",
    "measures=none",
    "steps=4",
]

MODULE = """
import torch
from swag_repro.losses.base import LayerLoss, squares

class SquareRoot:
    def __init__(self, *, scale: float, name: str = "square_root") -> None:
        self.scale, self.name = scale, name

    def __call__(self, features, reference=None):
        return (features * self.scale).abs().add(1e-6).sqrt()

    def __str__(self):
        return f"{self.name}(scale={self.scale:g})"

class MaximumLoss(LayerLoss):
    def keep(self, matrix):
        return matrix.amax(dim=2)

    def distance(self, matrix, kept, *, shares, draws):
        return squares(matrix.amax(dim=2) - torch.cat(kept)) / matrix.shape[1]
"""

FIGURE = """
import seaborn as sns
from matplotlib.figure import Figure
from analysis import tables

def load(overrides, runs, *, partial):
    return tables.load_tables(overrides, runs, "stylize", partial=partial)

def make(data):
    figure = Figure(layout="constrained")
    numbers = data.measures.join(data.runs[["smoothing.name", "objective.name"]], on="cell")
    ssim = numbers[numbers["statistic"] == "ssim"]
    sns.barplot(ssim, x="smoothing.name", y="value", hue="objective.name", ax=figure.subplots())
    return figure

def save(figure, data, folder, name):
    folder.mkdir(parents=True, exist_ok=True)
    figure.savefig(folder / f"{name}.png")
    return [folder / f"{name}.png"]
"""

FILES = {
    "ssim_bars.py": FIGURE,
    "users.py": MODULE,
    "conf/smoothing/square_root.yaml": "_target_: users.SquareRoot\nname: square_root\nscale: 2.0\n",
    "conf/loss/maximum.yaml": "_target_: users.MaximumLoss\n",
    "conf/objective/maximum.yaml": (
        "defaults:\n  - gram\n  - override /loss@style: maximum\nname: maximum\nlabel: Maximum\n"
    ),
}


@pytest.fixture
def users(tmp_path, monkeypatch):
    """The folder of a user's files."""
    for name, text in FILES.items():
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text(text)
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.setattr(UsersSettings, "folder", None)
    return tmp_path


def test_a_smoothing_and_a_loss_of_one_s_own(run, users):
    status, printed = run(
        "-m", f"--config-dir={users / 'conf'}", *S, "smoothing=none,square_root", "objective=gram,maximum"
    )
    assert status == 0, printed
    rows = [record.rows().to_pandas() for record in all_runs(users / "out")]
    names = {(row["smoothing"].iloc[0], row["loss"].iloc[0]) for row in rows}
    assert names == {(s, o) for s in ("none", "square_root(scale=2)") for o in ("gram", "maximum")}
    losses = [row.set_index("statistic")["value"] for row in rows]
    assert all(loss["total_loss"] < loss["first_total_loss"] for loss in losses)
    assert len(np.unique([loss["total_loss"] for loss in losses])) == 4


def test_from_a_picture_to_a_figure(run, users, capfd):
    """Stylised, judged, collected, queried and drawn, with a smoothing, a loss and a figure of one's own."""
    settings = [
        "images.size=32",
        "images.source.limit=2",
        "network=resnet18",
        "weights=random",
        "steps=3",
        "compute.threads=1",
    ]
    judge = [
        "network@measures.network=pseudo_vgg",
        "weights@measures.weights=random",
        "measures.projections=4",
    ]
    sweep = [*settings, *judge, "smoothing=none,square_root", "objective=gram,maximum"]
    status, printed = run("-m", f"--config-dir={users / 'conf'}", *sweep)
    assert status == 0, printed
    folders = ["--output", str(users / "out"), "--results", str(users / "results")]
    assert analyse(["collect", *folders]) == 0
    runs, pairs, numbers = (
        pd.read_parquet(users / "results" / f"{name}.parquet") for name in ("runs", "pairs", "table")
    )
    judged = numbers.query("statistic == 'style_distance'").merge(
        runs, left_on="of_run", right_on="run_id", suffixes=("", "_of")
    )
    table = judged.merge(
        pairs, left_on=["of_run", "content", "style"], right_on=["run_id", "content", "style"]
    )
    assert len(table) == 8
    assert set(table["smoothing.name"]) == {"none", "square_root"}
    assert set(table["objective.name"]) == {"gram", "maximum"}
    assert set(table["status"]) <= {"finished", "unchanged"}
    assert table["value"].gt(0).all()
    output = [f"output={users / 'out'}", "tracking=disabled"]
    named = ["figure", "ssim_bars", "--config-dir", str(users / "conf"), *folders, *sweep, *output]
    assert analyse(named) == 0, capfd.readouterr().err
    with Image.open(users / "results" / "ssim_bars" / "ssim_bars.png") as drawn:
        assert drawn.size[0] > 100
    assert analyse(["figure", "no_such_figure", *folders]) == 1
    assert "`figure` should be one of fig1" in capfd.readouterr().err


def test_what_the_user_got_wrong_is_said(run, users):
    arguments = [f"--config-dir={users / 'conf'}", *S, "smoothing=square_root"]
    status, printed = run(*arguments, "smoothing.scale=large")
    assert status == 1
    assert "`smoothing.scale` should be a number; found 'large'" in printed
    status, printed = run(*arguments, "smoothing=squareroot")
    assert "`smoothing` should be one of " in printed
