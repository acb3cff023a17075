"""Stylisation as a Python function, by the same settings as the command line."""

from __future__ import annotations

import os
import shutil
from pathlib import Path
from tempfile import TemporaryDirectory

from hydra import compose, initialize_config_dir
from PIL import Image

from experiments.command import CONF, check_overrides
from experiments.made import refuse_save
from experiments.running import CellTask, flush_subnormals
from experiments.stylization.stylization import Stylization
from experiments.sweeps.progress import console
from swag_repro.images.files import check_header
from swag_repro.runs.files import read_picture
from swag_repro.runs.records import RunRecord, read_status

Photo = str | os.PathLike[str] | Image.Image


def stylize(photo: Photo, painting: Photo, *settings: str) -> Image.Image:
    """Return the photograph in the style of the painting, as an RGB image; nothing is left on disk.

    Args:
        photo: A file, or a PIL image.
        painting: A file, or a PIL image.
        settings: Overrides as on the command line: `"images.size=512"`, `"network=vgg16"` or `"preset=fast"`.

    Raises:
        UserError: A file can't be read or is no image, or a setting has no valid value.
        hydra.errors.HydraException: No such setting or choice exists.
    """
    with TemporaryDirectory() as folder:
        inputs = [
            f"{role}={_copy_picture(picture, Path(folder) / role)}"
            for role, picture in (("content", photo), ("style", painting))
        ]
        always = ["measures=none", "tracking=disabled", "progress=false", f"output={folder}"]
        check_overrides("stylize", settings)
        with initialize_config_dir(str(CONF), version_base="1.3"):
            cell = CellTask(compose("stylize", [*settings, *inputs, *always]), [], None, Stylization)
        flush_subnormals()  # as on the command line, so that the picture is the same
        with console.capture():
            experiment = cell.built()
            refuse_save(experiment.config.save, "Python, where the picture is returned")
            _, path = cell.compute(experiment)
        [pair] = RunRecord(path, read_status(path)).pairs().to_pylist()
        return read_picture(path / pair["image"], (path / pair["image"]).read_bytes())


def _copy_picture(picture: Photo, path: Path) -> Path:
    """Copy a picture to a path whose name needs no quotes on a command line."""
    if isinstance(picture, Image.Image):
        picture.save(path, format="PNG")
    else:
        check_header(Path(picture))  # its message names the user's file, not the copy
        shutil.copyfile(picture, path)
    return path
