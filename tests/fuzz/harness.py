"""Mistaken commands, and what becomes of them in this process: all is checked, and nothing is computed."""

from __future__ import annotations

import contextlib
import io
import random
import signal
import traceback
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any, Self

import torch
from hydra import initialize_config_dir
from hydra.errors import HydraException
from omegaconf import OmegaConf
from omegaconf.errors import OmegaConfBaseException
from PIL import Image

from experiments.command import check_overrides
from experiments.feedforward.training import FeedforwardExperiment
from experiments.feedforward.transfer import Transfer
from experiments.frame import Experiment
from experiments.measurements import MeasureActivations, MeasureUnits
from experiments.running import CellTask
from experiments.settings import CONF
from experiments.stylization.stylization import Stylization
from experiments.sweeps.composing import Composer
from experiments.training.training import ClassifierTraining
from swag_repro.errors import UserError

SECONDS = 30
"""Seconds of computing after which a command hangs; waiting for a busy machine doesn't count."""

KINDS: dict[str, type[Experiment]] = {
    kind.reads: kind
    for kind in (
        MeasureActivations, MeasureUnits, Stylization, ClassifierTraining, FeedforwardExperiment, Transfer,
    )
}  # fmt: skip

TINY = ("network=small_residual", "weights=random", "images.size=32")
PAIR = ("content=astronaut", "style=starry_night")
JUDGES = (
    "network@measures.network=resnet18", "network@measures.alternative=resnet18", "weights@measures.weights=random",
)  # fmt: skip
MIX = ("content=[astronaut]", "style=[starry_night,edith]", "pairing=mix")
BASES: dict[str, list[tuple[str, ...]]] = {
    "measure_activations": [
        (*TINY, "smoothing=softmax"), (*TINY, "weights=file", "weights.path={folder}/tiny.pth"),
        (*TINY, "images=folder", "images.path={folder}/data"),
    ],
    "measure_units": [TINY],
    "stylize": [
        (*TINY, *PAIR, "preset=equation", "measures=none"),
        (*TINY, *MIX, "objective=strotss", "optimizer=adam", "canvas=laplacian", "measures=none"),
        (*TINY, *PAIR, "objective=mmd_gaussian", "smoothing=power", "canvas=fourier", "measures=default", *JUDGES),
        (*TINY, *PAIR, "objective=sliced_wasserstein", "smoothing=scale", "optimizer=rmsprop", "measures=none"),
        (*TINY, *PAIR, "objective=bn_poly", "smoothing=softmax", "canvas=normalized", "measures=none"),
        (*TINY, *PAIR, "smoothing@objective.like=softmax", "objective.balance=sides", "measures=none"),
        (*TINY, *PAIR, "preset=demystifying", "objective=mmd_poly", "measures=none"),
        (*TINY, *PAIR, "transformations=random", "objective.content_weight=0", "optimizer=adam", "measures=none"),
        (*TINY, "content={folder}/content.png", "style={folder}/style.png", "measures=none", "keep.every=1"),
    ],
    "train_classifier": [("data=folder", "data.path={folder}/data", "data.size=32")],
    "train_feedforward": [("network=vgg16", "images.size=32", "crop.size=32", "crop.short=40")],
    "transfer": [("content=astronaut", "style=starry_night", "images.size=32")],
}  # fmt: skip
"""Good commands of each entry point, which are then mistaken."""

VALUES = (
    "null", "true", "false", "0", "1", "-1", "2", "7", "0.5", "-0.5", "1e30", "1e-30", "1e8", "nan", "inf", "-inf",
    "nonsense", "''", "' '", "[]", "{}", "[1,2]", "[nonsense]", "[null]", "{a: 1}", "{_target_: nonsense}",
    "{_target_: builtins.dict}", "[[1],[2]]", "'${nope}'", "'${network.name}'", "'${network.nme}'", "'${oc.env:NOPE}'",
    "'${oc.decode:null}'", "'???'", "auto", "none", "random", "'a: b'", "\\x00", "ä", "'{'", "nowhere.png",
    "/nowhere/*.png", "2020-01-01", "0x10", "'1'", "'true'", "99999999999999999999", 5000 * "a", 300 * "a",
    "'~'", "'~nobody/x'", "..", "/", "/dev/null", "/dev/full", "/proc/self/mem", "'=1+1'", "'[bold]x[/]'", "'\\e[31mx'",
    "'${sweep.max_cells}'", "'${output}'", "-0.0", "1_000", ".5", "1e-400", "[0.1,0.2,nan]", "[[]]", "{}{}", "'a,b'", "null,1",
    "3", "4", "8", "16", "32", "64", "0.1", "0.25", "0.9", "1.0", "2.0", "1e-3", "[1]", "[0.5]", "[1.0]", "best", "loss",
)  # fmt: skip
"""Nonsense for most settings; the last are good for some, so that what is accepted is tried as well."""

SCANNED = ("null", "-1", "0", "1e30", "nan", "nonsense", "[]", "{a: 1}", "'${oc.decode:null}'", 300 * "a")
"""What a scan gives to each setting."""

NONSENSE = {
    "nonsense", "nan", "inf", "-inf", "[nonsense]", "{_target_: nonsense}", "'${nope}'", "'${network.nme}'",
    "'${oc.env:NOPE}'", "'a: b'", "'{'", "[[1],[2]]", "{a: 1}",
}  # fmt: skip
"""Good for no setting but those that are free text."""

FREE = (
    "name", "label", "project", "entity", "tags", "path", "sha256", "part", "folder", "root", "dataset", "content", "style",
)  # fmt: skip
"""The last parts of keys of free text."""

HYDRA = (
    "++steps", "++images.size", "+images.size", "++network.taps.x", "++tracking", "hydra.searchpath", "hydra/launcher",
    "smoothing@objective.like", "+measures", "sweep", "preset", "experiment", "hydra.job.chdir", "network@nowhere",
)  # fmt: skip
"""Keys of other forms: those that are added or forced, packages of groups, and Hydra's own."""

ODD = ("nonsense", "=", "a=b=c", "content=[", "+x", "~y", "steps==3", "x.y.z=1", "'", "style=a,b", "=1")
"""Arguments that are no override."""


@dataclass(frozen=True)
class Case:
    """One command: an entry point, its overrides, and whether it must not be accepted."""

    entry: str
    overrides: tuple[str, ...]
    unread: bool

    def __str__(self) -> str:
        return " ".join([self.entry, *self.overrides])


class Hang(BaseException):
    """A command that takes too long; no Exception, because those are caught."""


class Session:
    """A process that checks commands one after the other; their files lie in a folder."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self._composers: dict[str, Composer] = {}

    def __enter__(self) -> Self:
        from swag_repro.networks.small import small_resnet

        network = small_resnet(
            width=16, units=2, unit="basic", batchnorm=True, downsampling="stride", leak=0.0, num_classes=10
        )
        torch.save(network.state_dict(), self.folder / "tiny.pth")
        places = ["content.png", "style.png"]
        places += [f"data/{part}/{kind}/0.png" for part in ("train", "test") for kind in ("cat", "dog")]
        for place in places:
            (self.folder / place).parent.mkdir(parents=True, exist_ok=True)
            Image.effect_noise((40, 44), 60).convert("RGB").save(self.folder / place)
        self._open = ExitStack()
        self._open.enter_context(initialize_config_dir(str(CONF), version_base="1.3"))
        signal.signal(signal.SIGPROF, _hang)
        return self

    def __exit__(self, *_: object) -> None:
        self._open.close()
        signal.signal(signal.SIGPROF, signal.SIG_DFL)

    def cases(self, count: int, seed: int) -> Iterator[Case]:
        """Yield so many commands, the same for the same seed."""
        chance = random.Random(seed)
        for _ in range(count):
            entry = chance.choice(["stylize", *KINDS])
            base = self.base(entry, chance.randrange(len(BASES[entry])))
            keys = self._keys(entry, base)
            mistakes = [_mistake(chance, *keys) for _ in range(chance.choice([1, 1, 2]))]
            overrides = (*base, *(mistake for mistake, _ in mistakes))
            yield Case(entry, overrides, any(unread for _, unread in mistakes))

    def scan(self, entry: str) -> Iterator[Case]:
        """Yield a command for each setting of an entry point and each bad value."""
        base = self.base(entry)
        for key in self._keys(entry, base)[0]:
            for value in SCANNED:
                yield Case(entry, (*base, f"{key}={value}"), _is_nonsense(key, value))

    def base(self, entry: str, number: int = 0) -> tuple[str, ...]:
        """Return the overrides of a good command."""
        shared = [f"output={self.folder / 'out'}", "tracking=disabled", "compute.threads=1"]
        return tuple(one.replace("{folder}", str(self.folder)) for one in (*BASES[entry][number], *shared))

    def judged(self, case: Case) -> tuple[str, str]:
        """Return `run` or `message` if all is well, else what is wrong; and what was said."""
        signal.setitimer(signal.ITIMER_PROF, SECONDS)
        try:
            with contextlib.redirect_stderr(io.StringIO()):
                run_id = self.run_id(case.entry, case.overrides)
        except (UserError, HydraException, OmegaConfBaseException) as error:
            return "message" if 0 < len(str(error)) < 2000 + 5000 else "no clear message", str(error)
        except Hang as error:
            return "hang", str(error)
        except BaseException:
            return "traceback", traceback.format_exc()
        finally:
            signal.setitimer(signal.ITIMER_PROF, 0)
        return "accepted nonsense" if case.unread else "run", run_id

    def run_id(self, entry: str, overrides: tuple[str, ...]) -> str:
        """Return the run's id, after the checks of a dry run.

        Raises:
            UserError, HydraException, OmegaConfBaseException: The command is refused.
        """
        check_overrides(entry, overrides)
        composed = self._composer(entry)(overrides)
        experiment = CellTask(composed, list(overrides), None, KINDS[entry]).built()
        experiment.check()
        return experiment.identity.run_id

    def _composer(self, entry: str) -> Composer:
        return self._composers.setdefault(entry, Composer(entry))

    def _keys(self, entry: str, base: tuple[str, ...]) -> tuple[list[str], list[str]]:
        return _keys_of(self._composer(entry), base)


@cache
def _keys_of(composer: Callable[..., Any], base: tuple[str, ...]) -> tuple[list[str], list[str]]:
    """Return the dotted keys of values, and those of nodes."""
    config = OmegaConf.to_container(composer(base))
    values: list[str] = []
    nodes: list[str] = []

    def walk(node: dict[Any, Any], before: str) -> None:
        for key, value in node.items():
            here = f"{before}{key}"
            if isinstance(value, dict) and value:
                nodes.append(here)
                walk(value, f"{here}.")
            elif here != "output":
                values.append(here)

    walk(config, "")
    return values, nodes


def _mistake(chance: random.Random, values: list[str], nodes: list[str]) -> tuple[str, bool]:
    """Return an override, and whether it must not be accepted."""
    kinds = ["value", "unknown", "node", "delete", "group", "odd", "hydra"]
    kind = chance.choices(kinds, [12, 2, 2, 1, 2, 1, 1])[0]
    value = chance.choice(VALUES)
    if kind == "value":
        key = chance.choice(values)
        return f"{key}={value}", _is_nonsense(key, value)
    if kind == "unknown":
        node = chance.choice(nodes)
        return f"+{node}.nonsense={chance.choice(['1', 'a', 'null'])}", node != "network.taps"
    if kind == "node":
        return f"{chance.choice(nodes)}={value}", False
    if kind == "hydra":
        return f"{chance.choice(HYDRA)}={value}", False
    if kind == "delete":
        return f"~{chance.choice(values + nodes)}", False
    if kind == "group":
        return f"{chance.choice(_groups())}={chance.choice(['2', 'null', 'nonsense', '[]', 'true'])}", False
    return chance.choice(ODD), True


def _is_nonsense(key: str, value: str) -> bool:
    """Return whether a setting must not take this value."""
    is_free = key.rpartition(".")[2] in FREE or key.startswith("network.taps")
    return value in NONSENSE and not is_free


def _hang(*_: object) -> None:
    raise Hang("".join(traceback.format_stack(limit=12)))


@cache
def _groups() -> list[str]:
    return sorted(path.name for path in CONF.iterdir() if path.is_dir() and any(path.glob("*.yaml")))
