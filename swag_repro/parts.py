"""Where `experiments`, `analysis`, `conf` and Hydra's plugins lie.

In a clone they lie beside this package. A wheel has them in a folder of this package, so that they hide no
packages of these names that are anybody's own.
"""

from __future__ import annotations

import os
import sys
from importlib import import_module
from pathlib import Path

from swag_repro.errors import UserError

PACKAGES = ("experiments", "analysis", "conf")

FOLDER = Path(__file__).parent / "_parts"
"""The folder that a wheel has, and a clone has not."""

PLACE = FOLDER if FOLDER.is_dir() else FOLDER.parents[1]


def find_parts() -> None:
    """Import the packages, so that this process has them whatever its path becomes.

    Raises:
        UserError: It has imported, or would import, another package of such a name.
    """
    if FOLDER.is_dir() and str(FOLDER) not in sys.path[:1]:
        sys.path.insert(0, str(FOLDER))
    for name in PACKAGES:
        place = Path(next(iter(import_module(name).__path__)))
        if place.parent != PLACE:
            rule = f"should be the package in {PLACE}"
            remedy = "A process has one package of a name: use the command swag beside yours."
            raise UserError(name, rule, place, remedy)


def pass_on() -> None:
    """Let the processes that this one starts import the packages: SLURM's workers.

    Those of joblib get the path of this process; Ray's call `find_parts` (`conf/hydra/launcher/ray.yaml`).
    """
    given = [str(FOLDER)] * FOLDER.is_dir() + [os.environ.get("PYTHONPATH", "")]
    os.environ["PYTHONPATH"] = os.pathsep.join(filter(None, given))
    os.environ["PYTHONSAFEPATH"] = "1"  # else a package of the working folder would come first
