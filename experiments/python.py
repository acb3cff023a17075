"""What a notebook needs, as Python functions with the settings of the command line; `swag_repro` names them.

Settings are overrides as one types them behind a command of `swag`: `"images.size=512"`. What is left out has
the default of `conf/`.
"""

from __future__ import annotations

import os
import re
import shutil
from collections.abc import Sequence
from pathlib import Path
from tempfile import TemporaryDirectory

import pandas as pd
import torch
from hydra import compose
from PIL import Image
from torch import Tensor

from experiments.asking import initialized
from experiments.building import build, build_network, build_pictures, build_resize
from experiments.command import check_overrides
from experiments.config import Config, checked
from experiments.measurements import statistic_rows
from experiments.pictures.pairs import choose_pictures
from experiments.results import refuse_save
from experiments.running import CellTask, flush_subnormals
from experiments.stylization.stylization import Stylization
from experiments.sweeps.progress import console
from swag_repro.errors import SettingError
from swag_repro.images import existing
from swag_repro.images import load_image as read_image
from swag_repro.images.files import check_header
from swag_repro.losses import Loss, Objective, Side, Style
from swag_repro.networks import Architecture, Execution, TappedNetwork
from swag_repro.runs.files import read_picture
from swag_repro.runs.records import RunRecord, read_status
from swag_repro.smoothing import NoSmoothing, Smoothing
from swag_repro.weights import Weights

Photo = str | os.PathLike[str] | Image.Image
"""A file, a PIL image, or the name of a picture in the image set, such as `chelsea` or `starry_night`."""


def stylize(photo: Photo, painting: Photo, *settings: str) -> Image.Image:
    """Return the photograph in the style of the painting, as an RGB image; nothing is left on disk.

    It is the picture of `swag stylize`, to the last bit.

    Args:
        photo: A file, a PIL image, or the name of a picture that ships, such as `chelsea`.
        painting: Likewise, such as `starry_night`.
        settings: Those of `swag stylize`: `"images.size=512"`, `"network=vgg16"` or `"preset=fast"`.

    Raises:
        UserError: A file can't be read or is no image, or a setting does not exist or has no valid value.

    >>> settings = ["network=small_residual", "weights=trained", "images.size=32", "steps=1"]
    >>> stylize("chelsea", "starry_night", *settings).size
    (48, 32)
    """
    with TemporaryDirectory() as folder:
        inputs = [
            f"{role}={_word(picture, Path(folder) / role)}"
            for role, picture in (("content", photo), ("style", painting))
        ]
        always = ["measures=none", "tracking=disabled", "progress=false", f"output={folder}"]
        check_overrides("stylize", settings)
        with initialized():
            cell = CellTask(compose("stylize", [*settings, *inputs, *always]), [], None, Stylization)
        flush_subnormals()  # as on the command line, so that the picture is the same
        with console.capture():
            experiment = cell.built()
            refuse_save(experiment.config.save, "Python, where the picture is returned")
            _, path = cell.compute(experiment)
        [pair] = RunRecord(path, read_status(path)).pairs().to_pylist()
        return read_picture(path / pair["image"], (path / pair["image"]).read_bytes())


def load_image(picture: Photo, *settings: str) -> Tensor:
    """Return a picture as a batch of one image, `(1, 3, H, W)`, RGB in [0, 1], float32.

    Args:
        picture: A file, a PIL image, or the name of a picture that ships, such as `chelsea`.
        settings: Those of its size: `"images.size=512"` (pixels of the short side), `"images.resize=none"`.

    Raises:
        UserError: It can't be read or is no image, or a setting does not exist or has no valid value.

    >>> load_image("chelsea", "images.size=32").shape
    torch.Size([1, 3, 32, 48])
    """
    config = _config("stylize", settings, "images")
    known = build_pictures(config.images.source)
    named = {one.name: one for one in known}
    with TemporaryDirectory() as folder:
        word = _word(picture, Path(folder) / "picture")
        found = named[word] if word in named else choose_pictures("content", word, known)[0]
        return read_image(found, build_resize(config.images)).unsqueeze(0)


def load_network(name: str, *settings: str) -> TappedNetwork:
    """Return a network that maps images to the activations of its style layers; its weights are frozen.

    Called with `(B, 3, H, W)`, RGB in [0, 1], it returns layer → `(B, D, H', W')`; gradients reach the
    images. It is on the CPU; `.to("cuda")` moves it.

    Args:
        name: A file of `conf/network`, a classifier of torchvision, or `timm/NAME`.
        settings: Those of the network and its weights. The default are weights that ship, of `resnet50_half`
            and `vgg16`; others are `"weights=imagenet"`, or `"weights=random"` with `"weights.seed=1"`.
            `"network.style_taps=[conv1]"` reads other layers, `"batchnorm=batch"` normalises each image by
            its own statistics.

    Raises:
        UserError: There is no such network, it has no such weights, or a setting does not exist or has no
            valid value.

    >>> network = load_network("small_residual", "weights=random")
    >>> activations = network(torch.zeros(1, 3, 32, 32))
    >>> activations["conv4_2"].shape
    torch.Size([1, 64, 8, 8])
    """
    config = _config(
        "stylize", [f"network={name}", *settings], "network", "weights", "batchnorm", "precision"
    )
    architecture, weights = build(config.network, Architecture), build(config.weights, Weights)
    taps = architecture.style_taps
    return TappedNetwork.of(
        architecture,
        build_network(weights, architecture, taps),
        taps,
        batchnorm=config.batchnorm,
        dtype=getattr(torch, config.precision),
        execution=Execution(fold_batchnorm=config.batchnorm == "eval", in_place=True),
    )


def load_smoothing(name: str, *settings: str) -> Smoothing:
    """Return a smoothing: a function of activations `(B, D, ...)` that returns the same shape.

    Args:
        name: A file of `conf/smoothing`: `swag` (the paper's softmax), `softmax` (T = peak/2), `log1p`, ...
        settings: Its own: `"smoothing.temperature=peak/4"`. The softmax sums to 1 over each image, as in the
            paper; with `"smoothing.mean_one=true"` its mean is 1, as stylisations take it.

    Raises:
        UserError: There is no such smoothing, or a setting does not exist or has no valid value.

    >>> swag = load_smoothing("swag")
    >>> swag(torch.tensor([[[1.0, 1.0, 1.0, 1.0]]]))
    tensor([[[0.2500, 0.2500, 0.2500, 0.2500]]])
    """
    config = _config("measure_activations", [f"smoothing={name}", *settings], "smoothing")
    made: Smoothing = build(config.smoothing, Smoothing)
    return made


def statistics_of(network: TappedNetwork, images: Tensor, smoothing: Smoothing | None = None) -> pd.DataFrame:
    """Return the statistics of SWAG's Figure 3, and others, of each image at each layer.

    Args:
        network: What `load_network` returns.
        images: `(B, 3, H, W)`, RGB in [0, 1], such as `load_image` returns.
        smoothing: Applied to the activations before they are measured; None for none.

    Returns:
        One row for each number: `image` (its place in the batch, from 0), `layer`, `depth` (convolutions up
        to it), `position` (from 1), `quantity` (`activation`, `gram` or `gram_per_dm`), `statistic`,
        `definition` (of an entropy: `softmax` or `linear`) and `value`, as in the tables of `swag measure`.

    Raises:
        UserError: The images are no such tensor, are too small for the network, or give NaN or infinity.

    >>> network = load_network("small_residual", "weights=random")
    >>> table = statistics_of(network, load_image("chelsea", "images.size=32"))
    >>> table.query("quantity == 'gram' and definition == 'softmax'")["layer"].tolist()
    ['conv1', 'conv2_2', 'conv3_2', 'conv4_2', 'conv5_2']
    """
    _check_images("images", images)
    rows = statistic_rows(network, images.to(network.mean.device), smoothing or NoSmoothing())
    return pd.DataFrame([{"image": number, **row} for number, row in rows])


def style_loss(
    network: TappedNetwork,
    images: Tensor,
    style: Tensor,
    loss: str,
    *settings: str,
    smoothing: Smoothing | None = None,
) -> dict[str, Tensor]:
    """Return how far images are from a style at each layer, by a loss as its equation has it.

    No layer has a weight here, and nothing is balanced. Gradients reach `images`.

    Args:
        network: What `load_network` returns.
        images: `(B, 3, H, W)`, RGB in [0, 1].
        style: `(1, 3, H', W')`, RGB in [0, 1].
        loss: A file of `conf/loss`, such as `gram`, `mmd_linear` or `sliced_wasserstein`.
        settings: The loss's own: `"objective.style.normalizer=mean"`.
        smoothing: Applied to the activations of both before they are compared; None for none.

    Returns:
        Layer → `(B,)` float64, 0 or more; of losses that read several layers at once, part → `(B,)`.

    Raises:
        UserError: There is no such loss, a setting does not exist or has no valid value, a tensor is no such
            image, or the smoothing sums to 1 where sizes differ.

    >>> network = load_network("small_residual", "weights=random")
    >>> photo, painting = (load_image(name, "images.size=32") for name in ("chelsea", "starry_night"))
    >>> all(value > 0 for value in style_loss(network, photo, painting, "gram").values())
    True
    >>> all(value < 1e-9 for value in style_loss(network, painting, painting, "gram").values())
    True
    """
    _check_images("images", images)
    _check_images("style", style)
    if images.shape[1:] != style.shape[1:] and getattr(smoothing, "mean_one", True) is False:
        rule = "should be true where images differ in size: sums of 1 over more positions are smaller numbers"
        remedy = "load_smoothing(NAME, 'smoothing.mean_one=true') returns such a smoothing."
        raise SettingError("smoothing.mean_one", rule, "false", remedy)
    config = _config(
        "stylize", [f"loss@objective.style={loss}", *settings], "objective.style", "loss@objective.style"
    )
    device = network.mean.device
    objective = Objective(
        content=Side(loss=build(config.objective.content, Loss), taps={}, weight=0.0),
        style=Side(
            loss=build(config.objective.style, Loss), taps=dict.fromkeys(network.layouts, 1.0), weight=1.0
        ),
        smoothing=smoothing or NoSmoothing(),
        total_variation_weight=0.0,
        balance="none",
    )
    images = images.to(device)
    targets = objective.targets(network, images.detach(), [[Style(style[0].to(device))]] * len(images))
    return objective.style_parts(network, images, targets)


def _config(entry: str, settings: Sequence[str], *taken: str) -> Config:
    """Return the config of an entry point with these settings; refuse those that nothing here would read.

    Args:
        entry: The entry point.
        settings: Overrides.
        taken: The beginnings of the keys that are read.
    """
    for setting in settings:
        key = setting.lstrip("+~").partition("=")[0]
        if not re.match(rf"({'|'.join(map(re.escape, taken))}|hydra\.searchpath)(\.|$)", key):
            rule = f"should begin with one of {', '.join(taken)} here"
            raise SettingError("settings", rule, repr(setting), "Leave it out, or give it to stylize.")
    check_overrides(entry, settings)
    with initialized():
        return checked(compose(entry, list(settings)), entry)


def _word(picture: Photo, path: Path) -> str:
    """Return what names a picture on a command line: its name, or a path to a copy that needs no quotes."""
    if isinstance(picture, Image.Image):
        picture.save(path, format="PNG")
    elif isinstance(picture, str) and re.fullmatch(r"[\w-]+", picture) and existing(picture) is None:
        return picture
    else:
        check_header(Path(picture))  # its message names the user's file, not the copy
        shutil.copyfile(picture, path)
    return str(path)


def _check_images(name: str, images: object) -> None:
    """Raise unless the value is a tensor of RGB images `(B, 3, H, W)` of floats."""
    if (
        isinstance(images, Tensor)
        and images.is_floating_point()
        and images.dim() == 4
        and images.shape[1] == 3
    ):
        return
    found = (
        f"{images.dtype} of shape {tuple(images.shape)}"
        if isinstance(images, Tensor)
        else f"a {type(images).__name__}"
    )
    rule, remedy = "should be a tensor (B, 3, H, W) of floats, RGB in [0, 1]", "load_image returns one."
    raise SettingError(name, rule, found, remedy)
