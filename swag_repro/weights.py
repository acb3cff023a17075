"""The sources of a network's weights: a seed, torchvision's ImageNet weights, a file, or a training."""

from __future__ import annotations

import logging
import pickle
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any, Protocol, runtime_checkable
from urllib.error import URLError
from urllib.parse import urlparse

import torch
from torch import Tensor, nn
from torchvision.models import WeightsEnum, get_weight

from swag_repro.errors import WeightsError, check_choice, check_seed, remedy_for
from swag_repro.networks import Architecture
from swag_repro.networks.architecture import TIMM
from swag_repro.runs.files import MALFORMED, digest_of
from swag_repro.runs.identity import Identity
from swag_repro.runs.records import is_finished
from swag_repro.state_dicts import load_weights, read_tensors

WEIGHTS, SNAPSHOTS = "weights.safetensors", "snapshots"
"""Names in a training's run directory: of its last weights, and of the folder of earlier ones."""


def snapshot_name(share: float) -> str:
    """Return the path, in a training's run directory, of the weights after a share of it, from 0 to 1."""
    return f"{SNAPSHOTS}/{share:g}.safetensors"


@runtime_checkable
class Weights(Protocol):
    """A source of weights: one file of `conf/weights`."""

    name: str

    def build(self, architecture: Architecture) -> nn.Module:
        """Return the network with these weights."""

    def digest(self, architecture: Architecture) -> str | None:
        """Return what tells the weights' values from others; None where the settings tell them."""


# Initialisations of convolutions, whose biases become 0. `torchvision` keeps the builder's values.
INITIALIZATIONS: Mapping[str, Callable[[Tensor], object] | None] = {
    "torchvision": None,
    "kaiming_normal_fan_out": partial(nn.init.kaiming_normal_, mode="fan_out", nonlinearity="relu"),
    "kaiming_normal_fan_in": partial(nn.init.kaiming_normal_, mode="fan_in", nonlinearity="relu"),
    "xavier_normal": nn.init.xavier_normal_,
    "orthogonal": nn.init.orthogonal_,
}


@dataclass(frozen=True, kw_only=True)
class RandomWeights:
    """Fresh weights, called `r-` in SWAG's figures. The same seed gives the same weights.

    Raises:
        SettingError: an unknown initialisation, or a seed that is no whole number from 0.
    """

    seed: int
    init: str
    name: str = "random"

    def __post_init__(self) -> None:
        check_seed("weights.seed", self.seed)
        check_choice("weights.init", self.init, INITIALIZATIONS)

    def build(self, architecture: Architecture) -> nn.Module:
        """Return the network, initialised under `seed`; the global random state stays as it was."""
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(self.seed)
            network = architecture.build()
            initialize = INITIALIZATIONS[self.init]
            if initialize is not None:
                _initialize(network, initialize)
        return network

    def digest(self, architecture: Architecture) -> None:
        """Return None: seed and initialisation are settings."""


def _initialize(network: nn.Module, initialize: Callable[[Tensor], object]) -> None:
    for module in network.modules():
        if isinstance(module, nn.Conv2d):
            initialize(module.weight)
            if module.bias is not None:
                nn.init.zeros_(module.bias)


@dataclass(frozen=True, kw_only=True)
class ImageNetWeights:
    """The ImageNet weights that the architecture names, called `p-` in SWAG's figures.

    Their library, torchvision or timm, downloads them once.
    """

    name: str = "imagenet"

    def build(self, architecture: Architecture) -> nn.Module:
        """Return the network with its library's weights.

        Raises:
            WeightsError: there are none for this architecture, they can't be downloaded, or the file in
                torch's cache isn't the one that torchvision announces.
        """
        if (name := _imagenet(architecture)).startswith(TIMM):
            return _of_timm(architecture, name)
        weights = get_weight(name)
        keywords: dict[str, object] = {"weights": weights}
        if "init_weights" in getattr(architecture.builder, "keywords", {}):
            keywords["init_weights"] = False  # torchvision refuses to initialise what it then overwrites
        with _download_problems(weights):
            return architecture.build(**keywords)

    def digest(self, architecture: Architecture) -> str:
        """Return the start of the file's SHA-256, as torchvision announces it; or timm's name and tag."""
        name = _imagenet(architecture)
        return name if name.startswith(TIMM) else announced_hash(cached_file(get_weight(name)))


def _imagenet(architecture: Architecture) -> str:
    if architecture.imagenet is None:
        raise WeightsError(
            "weights",
            f"can't be imagenet for {architecture.name}",
            "no such weights in its library",
            "Use weights=random, or weights=file with weights.path.",
        )
    return architecture.imagenet


def _of_timm(architecture: Architecture, name: str) -> nn.Module:
    logging.getLogger("huggingface_hub").setLevel(logging.ERROR)  # it warns of each try; the error tells all
    try:
        return architecture.build(weights=name)
    except Exception as error:  # of several packages, each with errors of its own
        remedy = "Try again where the hub can be reached, or use weights=random or weights=file."
        problem = f"{type(error).__name__} ({(str(error).splitlines() or [''])[0].rstrip('.')})"
        raise WeightsError("weights", f"should be {name} of timm's hub", problem, remedy) from error


def cached_file(weights: WeightsEnum) -> Path:
    """Return the path at which torch keeps the file of these weights; the file may be missing."""
    return Path(torch.hub.get_dir()) / "checkpoints" / Path(urlparse(weights.url).path).name


def announced_hash(file: Path) -> str:
    """Return the start of the SHA-256 that torchvision writes into the name of a file of weights."""
    return file.stem.rsplit("-", 1)[-1]


@contextmanager
def _download_problems(weights: WeightsEnum) -> Iterator[None]:
    """Raise a `WeightsError` with a remedy if the download within fails, or if a cached file is damaged.

    torchvision doesn't check a cached file.
    """
    cached = cached_file(weights)
    remedy = f"Fetch {weights.url} elsewhere and put it at {cached}, or use weights=random or weights=file."
    try:
        if cached.exists():
            _check_sha256(cached, announced_hash(cached), "weights", f"Delete {cached} and try again.")
        yield
    except (URLError, TimeoutError, ConnectionError) as error:
        raise WeightsError(
            "weights", "should be downloadable", f"{error} for {weights.url}", remedy
        ) from error
    except (RuntimeError, OSError, pickle.UnpicklingError, EOFError) as error:
        raise WeightsError("weights", "should be torchvision's file", str(error), remedy) from error


@dataclass(frozen=True, kw_only=True)
class FileWeights:
    """A state dict in a file of `torch.save` or safetensors. Only tensors are read; nothing is executed.

    Attributes:
        path: the file.
        sha256: the file's SHA-256, in hex; None accepts any.
        part: which of a checkpoint's state dicts, such as `model_ema`; None for the only one.
    """

    path: str
    sha256: str | None = None
    part: str | None = None
    name: str = "file"

    def build(self, architecture: Architecture) -> nn.Module:
        """Return the network with the file's weights; a head that the file lacks keeps its fresh weights.

        Raises:
            WeightsError: no such file, another sha256, or not one state dict of this network.
        """
        self.digest(architecture)
        network, content = architecture.build(), read_tensors(Path(self.path).expanduser())
        load_weights(network, content, architecture, source=self.path, part=self.part)
        return network

    def digest(self, architecture: Architecture) -> str:  # noqa: ARG002  (part of the protocol)
        """Return the file's SHA-256 in hex, and the part that was chosen.

        Raises:
            WeightsError: no such file, or another sha256.
        """
        path = Path(self.path).expanduser()
        remedy = remedy_for(path, "Check weights.path and weights.sha256.")
        found = _check_sha256(path, self.sha256 or "", "weights.path", remedy)
        return found if self.part is None else f"{found} {self.part}"


class StoredWeights(ABC):
    """Weights in a file that is found by the network's name."""

    @abstractmethod
    def file(self, architecture: Architecture) -> FileWeights:
        """Return the file with the weights of this network."""

    def build(self, architecture: Architecture) -> nn.Module:
        """Return the network with its weights.

        Raises:
            WeightsError: there is no such file, or it is of another network.
        """
        return self.file(architecture).build(architecture)

    def digest(self, architecture: Architecture) -> str:
        """Return the file's SHA-256 in hex.

        Raises:
            WeightsError: there is no such file.
        """
        return self.file(architecture).digest(architecture)


@dataclass(frozen=True, kw_only=True)
class RunWeights(StoredWeights):
    """Weights that a run of `train_classifier` has trained.

    Attributes:
        run: its id; None for the one finished training of this network with this seed.
        seed: the seed of the training; used only without `run`.
        at: share of the training, from 0 to 1, after which the weights were kept; None for its end.
        output: the folder of the run directories.
    """

    run: str | None
    seed: int | None
    at: float | None
    output: str
    name: str

    def file(self, architecture: Architecture) -> FileWeights:
        """Return the file of the run's last weights, or of those at the share `at` of the training.

        Raises:
            WeightsError: there is no such finished run, or several, or it has no weights at this share, or
                trained another network.
        """
        directory = self._directory(architecture)
        path = directory / (WEIGHTS if self.at is None else snapshot_name(self.at))
        if not path.is_file():
            kept = sorted(path.stem for path in (directory / SNAPSHOTS).glob("*"))
            rule = f"should be a share of the training of {directory.name} whose weights were kept"
            raise WeightsError("weights.at", rule, self.at, f"It kept {', '.join(kept) or 'the last only'}.")
        return FileWeights(path=str(path), name=self.name)

    def _directory(self, architecture: Architecture) -> Path:
        runs = Path(self.output).expanduser() / "runs"
        return self._only_one(runs, architecture) if self.run is None else self._of_run(runs, architecture)

    def _of_run(self, runs: Path, architecture: Architecture) -> Path:
        directory = runs / str(self.run)
        training = _training_of(directory)
        if training is None or not is_finished(directory):
            rule = "should be the id of a finished training"
            raise WeightsError("weights.run", rule, f"none of this id in {runs}", _TRAIN_ONE)
        if (found := training[0]) != architecture.name:
            raise WeightsError("weights.run", f"should have trained {architecture.name}", found, _TRAIN_ONE)
        return directory

    def _only_one(self, runs: Path, architecture: Architecture) -> Path:
        directories = (path.parent for path in sorted(runs.glob("*/identity.json")))
        fitting = [path for path in directories if self._fits(path, architecture) and is_finished(path)]
        if len(fitting) != 1:
            which = f"{architecture.name} with seed {self.seed}"
            listed = ", ".join(path.name for path in fitting) or "none"
            rule = f"should be given unless there is one finished training of {which}"
            raise WeightsError("weights.run", rule, f"{listed} in {runs}", _TRAIN_ONE)
        return fitting[0]

    def _fits(self, directory: Path, architecture: Architecture) -> bool:
        training = _training_of(directory)
        return training is not None and training[0] == architecture.name and self.seed in (None, training[1])


_TRAIN_ONE = "`swag train` trains one."


def _training_of(directory: Path) -> tuple[Any, Any] | None:
    """Return the network's name and the seed of a training, finished or not; None for other directories."""
    try:
        identity = Identity.from_json((directory / "identity.json").read_text(encoding="utf-8"))
        training = identity.config["network"]["name"], identity.config["seed"]
    except (*MALFORMED, LookupError):
        return None
    return training if identity.experiment == "train_classifier" else None


def _check_sha256(path: Path, announced: str, setting: str, remedy: str) -> str:
    try:
        found = digest_of(path)
    except OSError as error:
        raise WeightsError(
            setting, "should be a readable file", f"{path} ({error.strerror})", remedy
        ) from error
    if not found.startswith(announced.lower()):
        raise WeightsError(setting, f"should have the sha256 {announced}", f"{found} for {path}", remedy)
    return found
