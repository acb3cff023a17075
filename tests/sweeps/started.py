"""Sweeps whose plans are written, and which nobody computes."""

from experiments.sweeps.sweep import Sweep


def started(
    output, grid, *, name="now", entry="stylize", workers=2, label="n", command=("a=x",), directory=None
):
    """Return a sweep of these cells in an output folder, or in a directory elsewhere."""
    sweep = Sweep(
        directory=directory or output / "sweeps" / name,
        output=output,
        entry=entry,
        program=entry,
        label=label,
        grid=grid,
        command=list(command),
        launcher="joblib",
        workers=workers,
    )
    sweep.write()
    return sweep
