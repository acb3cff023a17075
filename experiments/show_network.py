"""The layers of a network with their shapes, the taps at which it is read, and a file of `conf/network`.

swag network convnext_tiny
swag network timm/repvgg_a2
"""

from __future__ import annotations

import sys
from collections.abc import Iterator, Sequence
from functools import partial

import yaml
from hydra import compose

from experiments.asking import UsersSettings, initialized
from experiments.building import build
from experiments.command import check_overrides
from experiments.config import Config, checked
from swag_repro.networks import Architecture
from swag_repro.networks.layouts import PROBES, without_values
from swag_repro.networks.rule import RULE, Layer, layers_of
from swag_repro.program import Parser, ended
from swag_repro.runs.files import path_of

ENTRY = "measure_activations"


def main(arguments: Sequence[str] | None = None) -> int:
    """Print the layers, the taps and the file of one network."""
    return ended(partial(_run, arguments))


def _run(arguments: Sequence[str] | None) -> int:
    parser = Parser(
        prog="swag network", description="The layers of a network, its taps, and a file to start from."
    )
    parser.add_argument("name", help="a file of conf/network, a classifier of torchvision, or timm/NAME")
    parser.add_argument("--config-dir", type=path_of, help="a folder of groups of your own, beside conf/")
    given = parser.parse_args(arguments)
    UsersSettings.use(given.config_dir)
    node = settings_of(given.name)
    for line in _lines(build(node, Architecture), by_rule=node.taps is None):
        print(line)
    return 0


def settings_of(name: str) -> Config:
    """Return the settings of the network that `network=NAME` chooses.

    Raises:
        UserError: There is none of this name, or it can't be read.
    """
    overrides = [f"network={name}"]
    check_overrides(ENTRY, overrides)
    with initialized():
        return checked(compose(ENTRY, overrides), ENTRY).network  # type: ignore[no-any-return]


def _lines(architecture: Architecture, *, by_rule: bool) -> Iterator[str]:
    layers = layers_of(without_values(architecture.build).eval())
    shown = [layer for layer in layers if layer.layout is not None and layer.path]
    taps = {path: tap for tap, path in architecture.taps.items()}
    pictures = "×".join(map(str, PROBES[0]))
    rows = [("module", "layout", f"shape for two pictures of {pictures}", "tap")]
    rows += [_row(layer, taps.get(layer.path, "")) for layer in shown]
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    for row in rows:
        yield "  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip()
    yield ""
    yield RULE if by_rule else "Taps: those of its file."
    yield f"\n# conf/network/mine.yaml: use it as network=mine.\n{_file(architecture)}"


def _row(layer: Layer, tap: str) -> tuple[str, str, str, str]:
    return layer.path, str(layer.layout), str(layer.shape), tap


def _file(architecture: Architecture) -> str:
    builder: partial[object] = architecture.builder  # type: ignore[assignment]
    target = f"{builder.func.__module__}.{builder.func.__qualname__}"
    settings = {
        "_target_": "swag_repro.networks.Architecture",
        "name": "mine",
        "label": architecture.label,
        "builder": {"_target_": target, "_partial_": True, **builder.keywords},
        "shortcut": architecture.shortcut,
        "imagenet": architecture.imagenet,
        "head": list(architecture.head),
        "mean": list(architecture.mean),
        "std": list(architecture.std),
        "taps": dict(architecture.taps),
        "style_taps": list(architecture.style_taps),
        "content_tap": architecture.content_tap,
        "statistic_taps": list(architecture.statistic_taps),
    }
    return yaml.safe_dump(settings, sort_keys=False, allow_unicode=True, width=110).rstrip()


if __name__ == "__main__":
    sys.exit(main())
