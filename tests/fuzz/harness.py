"""Mistaken commands, and what the entry points make of them, in this process."""

from __future__ import annotations

import contextlib
import io
import logging
import random
import signal
import sys
import traceback
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any, Self

import torch
from hydra import compose, initialize_config_dir
from hydra.core.global_hydra import GlobalHydra
from omegaconf import OmegaConf
from PIL import Image

import experiments.measure_activations as measure_activations
import experiments.stylize as stylize
from analysis.__main__ import main as analyse
from analysis.figures import FIGURES
from experiments import command
from experiments.command import CONF
from experiments.launching import launch
from experiments.sweeps import progress
from experiments.sweeps.sweep import Sweep
from tests.composing import composed_once
from tests.fuzz import tiny

SECONDS = 30
"""Of computing, after which a command hangs: waiting for a busy machine doesn't count."""

TINY = (f"hydra.searchpath=[file://{Path(__file__).parent / 'conf'}]", "network=tiny")
JUDGES = (
    "network@measures.network=resnet18", "network@measures.alternative=resnet18", "weights@measures.weights=random",
)  # fmt: skip
BASES = {
    "measure_activations": (*TINY, "images.size=16", "images.source.limit=1"),
    "stylize": (
        *TINY,
        "preset=equation",
        "weights=random",
        "images.size=16",
        "images.source.limit=1",
        "measures=none",
        "steps=2",
    ),
    "figure": (),
}
"""What every command has, so that a good one takes no time."""

FEW = ("network=vgg19", "weights=random", "smoothing=none")
CHOICES = {
    "measure_activations": [
        (), (), ("smoothing=softmax",), ("weights=file", "weights.path={folder}/tiny.pth"), ("images=folder", "images.path={folder}"),
    ],
    "stylize": [
        (), (), ("objective=strotss",), ("objective=bn_poly",), ("optimizer=adam",), ("preset=paper", "smoothing=softmax"),
        ("objective=sliced_wasserstein",), ("weights=file", "weights.path={folder}/tiny.pth"), ("pairing=mix",),
        ("content={folder}/content.png", "style={folder}/style.png", "keep.every=1"), ("images=folder", "images.path={folder}"),
        ("preset=demystifying", "objective=mmd_gaussian", "steps=2"), ("measures=default", *JUDGES),
    ],
    "figure": [("fig1", *FEW), ("fig3", *FEW[::2], "weights.seed=0"), ("curve", *FEW, "objective.style_weight=1")],
}  # fmt: skip

VALUES = (
    "null", "true", "false", "0", "1", "-1", "2", "7", "0.5", "-0.5", "1e30", "1e-30", "nan", "inf", "-inf", "nonsense", "''",
    "' '", "[]", "{}", "[1,2]", "[nonsense]", "[null]", "{a: 1}", "{_target_: nonsense}", "{_target_: builtins.dict}", "[[1],[2]]",
    "'${nope}'", "'${network.name}'", "'${network.nme}'", "'${oc.env:NOPE}'", "'???'", "auto", "none", "random", "1,2",
    "'a: b'", "\\x00", "ä", "'{'", "nowhere.png", "/nowhere/*.png", "2020-01-01", "0x10", "'1'", "'true'",
)  # fmt: skip
"""Nonsense for most settings, and good for some."""

NONSENSE = {
    "nonsense", "[nonsense]", "{_target_: nonsense}", "'${nope}'", "'${network.nme}'", "'${oc.env:NOPE}'", "'a: b'", "'{'",
    "[[1],[2]]", "{a: 1}",
}  # fmt: skip
"""Good for no setting but those that are free text."""

FREE = (
    "name", "output", "network.name", "network.label", "objective.name", "objective.label", "images.name", "smoothing.name",
    "tracking.project", "tracking.entity", "tracking.tags", "network.imagenet", "network.head", "images.path",
    "weights.path", "weights.sha256", "measures.network.label", "measures.network.name", "measures.network.taps",
    "measures.alternative", "network.taps",
)  # fmt: skip
"""Settings that take any text, or are not read by these bases."""

LONG = ("images.size", "steps", "evaluations")
"""Settings of which a large number is good, and takes its time."""


@dataclass(frozen=True)
class Case:
    """One command.

    Attributes:
        entry: `measure_activations`, `stylize`, or `figure`.
        arguments: Behind those of `BASES`.
        unread: Whether it must not be accepted: an unknown key, or nonsense where no text is free.
    """

    entry: str
    arguments: tuple[str, ...]
    unread: bool

    def __str__(self) -> str:
        return " ".join([self.entry, *self.arguments])


class Hang(BaseException):
    """A command that hangs; no Exception, because those are caught and counted as failures."""


class Session:
    """Runs commands one after the other; results come into a folder."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def __enter__(self) -> Self:
        torch.save(tiny.network().state_dict(), self.folder / "tiny.pth")
        for role in ("content", "style"):
            Image.effect_noise((20, 24), 60).save(self.folder / f"{role}.png")
        self._patched = contextlib.ExitStack()
        self._patched.enter_context(composed_once())
        self._terminal, progress.console.file = progress.console.file, io.StringIO()
        signal.signal(signal.SIGPROF, _hang)
        return self

    def __exit__(self, *_: object) -> None:
        self._patched.close()
        progress.console.file = self._terminal
        signal.signal(signal.SIGPROF, signal.SIG_DFL)

    # --- Commands ---

    def cases(self, count: int, seed: int) -> Iterator[Case]:
        """Return this many cases, the same for the same seed."""
        chance = random.Random(seed)
        for _ in range(count):
            entry = chance.choices(["measure_activations", "stylize", "figure"], [2, 5, 2])[0]
            choice = tuple(one.replace("{folder}", str(self.folder)) for one in chance.choice(CHOICES[entry]))
            keys = _keys(*_composed_as(entry, choice))
            mistakes = [self._mistake(chance, keys) for _ in range(chance.choice([1, 1, 2]))]
            arguments = (*choice, *(mistake for mistake, _ in mistakes))
            yield Case(entry, arguments, any(unread for _, unread in mistakes))

    def _mistake(self, chance: random.Random, keys: tuple[list[str], list[str]]) -> tuple[str, bool]:
        leaves, nodes = keys
        kind = chance.choices(["value", "unknown", "node", "delete", "group", "odd"], [12, 2, 2, 1, 2, 1])[0]
        value = chance.choice(VALUES)
        if kind == "value":
            key = chance.choice(leaves)
            free = any(key == one or key.startswith(f"{one}.") for one in FREE)
            return f"{key}={value}", value in NONSENSE and not free
        if kind == "unknown":
            node = chance.choice(nodes)
            return f"+{node}.nonsense={chance.choice(['1', 'a', 'null'])}", node not in FREE
        if kind == "node":
            return f"{chance.choice(nodes)}={value}", False
        if kind == "delete":
            return f"~{chance.choice(leaves + nodes)}", False
        if kind == "group":
            return (
                f"{chance.choice(_groups())}={chance.choice(['2', 'null', 'nonsense', '[]', 'true', '{}'])}",
                False,
            )
        return chance.choice(
            ["nonsense", "=", "a=b=c", "content=[", "+x", "~y", "steps==3", "x.y.z=1", "'", "style=a,b", "=1"]
        ), True

    # --- What becomes of them ---

    def judged(self, case: Case) -> tuple[str, str]:
        """`run` or `message` where it is well; else what is wrong; and what was printed."""
        signal.setitimer(signal.ITIMER_PROF, SECONDS)
        try:
            status, printed = self.called(case)
        except Hang as error:
            return "hang", str(error)
        except BaseException:
            return "traceback", traceback.format_exc()
        finally:
            signal.setitimer(signal.ITIMER_PROF, 0)
        return _verdict(case, status, printed), printed

    def called(self, case: Case) -> tuple[int, str]:
        """Exit status, and all that was printed."""
        printed = io.StringIO()
        progress.console.file = printed
        GlobalHydra.instance().clear()
        Sweep.launched = None
        with contextlib.redirect_stdout(printed), contextlib.redirect_stderr(printed):
            try:
                status = self._call(case)
            except SystemExit as error:
                status = error.code if isinstance(error.code, int) else 0 if error.code is None else 1
        for handler in list(logging.getLogger().handlers):
            logging.getLogger().removeHandler(handler)
        return status, printed.getvalue()

    def arguments(self, case: Case) -> list[str]:
        """Return arguments of an experiment's entry point."""
        output = [f"output={self.folder / 'out'}", "tracking=disabled", "compute.threads=1", "force=true"]
        return [*BASES[case.entry], *output, *case.arguments]

    def _call(self, case: Case) -> int:
        if case.entry == "figure":
            where = ["--runs", str(self.folder / "none"), "--out", str(self.folder / "figures")]
            (self.folder / "none").mkdir(exist_ok=True)
            return analyse(["figure", *case.arguments, *where])
        sys.argv = [f"{case.entry}.py", *self.arguments(case)]
        launch({"stylize": stylize, "measure_activations": measure_activations}[case.entry].main)
        return 0


def _verdict(case: Case, status: int, printed: str) -> str:
    if "Traceback" in printed or ("HYDRA_FULL_ERROR" in printed and "Error executing job" in printed):
        return "traceback"
    if status == 0:
        return "accepted nonsense" if case.unread else "run"
    return "message" if printed.strip() and len(printed.splitlines()) < 30 else "no clear message"


def _hang(*_: object) -> None:
    raise Hang("".join(traceback.format_stack(limit=12)))


def _composed_as(entry: str, choice: tuple[str, ...]) -> tuple[str, tuple[str, ...]]:
    """The entry point and overrides whose keys a command may mistake."""
    if entry != "figure":
        return entry, (*BASES[entry], *choice)
    experiment = FIGURES[choice[0]].experiment
    return str(command.entry_of(experiment)), (f"experiment={experiment}", *choice[1:])


@cache
def _keys(entry: str, overrides: tuple[str, ...]) -> tuple[list[str], list[str]]:
    """Dotted keys of values, and of nodes."""
    with initialize_config_dir(str(CONF), version_base="1.3"):
        config = OmegaConf.to_container(compose(entry, list(overrides)))
    leaves: list[str] = []
    nodes: list[str] = []

    def walk(node: dict[Any, Any], before: str) -> None:
        for key, value in node.items():
            here = f"{before}{key}"
            if isinstance(value, dict) and value:
                nodes.append(here)
                walk(value, f"{here}.")
            elif here not in ("output", "force"):
                leaves.append(here)

    walk(config, "")
    return leaves, nodes


@cache
def _groups() -> list[str]:
    return sorted(path.name for path in CONF.iterdir() if path.is_dir() and any(path.glob("*.yaml")))
