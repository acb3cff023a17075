"""A smoothing and a loss of a user's own, in files of their own, as CONTRIBUTING.md shows it."""

import numpy as np
import pytest

from experiments.stylize import main  # noqa: F401  (the fixture `run` calls it)
from swag_repro.runs.records import all_runs

S = [
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

FILES = {
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


def test_what_the_user_got_wrong_is_said(run, users):
    arguments = [f"--config-dir={users / 'conf'}", *S, "smoothing=square_root"]
    status, printed = run(*arguments, "smoothing.scale=large")
    assert status == 1
    assert "`smoothing.scale` should be float; found 'large'" in printed
    status, printed = run(*arguments, "smoothing=squareroot")
    assert "Could not find 'smoothing/squareroot'" in printed
