"""`swag dashboard`: the W&B workspace and report of a project, as code.

Both are built from what runs send (see `swag_repro.tracking.shown`). W&B's own package checks them. They are
written as JSON, which needs no account; `--save` puts them into a project.
"""

from __future__ import annotations

import argparse
import json
import warnings
from collections.abc import Sequence
from dataclasses import dataclass
from importlib import import_module
from pathlib import Path
from typing import Any

from analysis.tables import framed, swept
from experiments.asking import compose_cells
from experiments.settings import entry_of, experiments
from swag_repro.errors import SettingError, TrackingError
from swag_repro.runs.files import write_text

CURVES = {
    "measure_activations": (
        "Over depth",
        "depth",
        {
            "activation/maximum": "Maximum of activations",
            "activation/normalized_entropy/softmax": "Entropy of activations",
            "gram/maximum": "Maximum of Gram matrices",
            "gram/normalized_entropy/softmax": "Entropy of Gram matrices",
        },
    ),
    "measure_units": (
        "Unit by unit",
        "position",
        {
            "unit/log2_peak/branch": "Change of peaks by the branch",
            "unit/log2_peak/sum": "Change by the unit",
        },
    ),
    "stylize": (
        "Losses",
        "evaluation",
        {"loss/total": "Total loss", "loss/style": "Style loss", "loss/content": "Content loss"},
    ),
    "train_classifier": (
        "Training",
        "epoch",
        {
            "train/loss": "Loss",
            "train/accuracy": "Accuracy",
            "test/loss": "Held-out loss",
            "test/accuracy": "Held-out accuracy",
        },
    ),
    "train_feedforward": (
        "Training to stylise",
        "step",
        {
            "train/style_loss": "Style term, training",
            "pairs/style_loss": "Style term, pairs shown",
            "pairs/content_loss": "Content term, pairs shown",
        },
    ),
}
"""Entry point → its section, the axis of its curves, and their titles by their names in W&B.

The first are those of SWAG's Figures 3 and 4.
"""

PICTURE_KEYS = ("pictures", "result", "judged")

CONTENT_AXIS, STYLE_AXIS = "measures/cfsd", "measures/style_distance"
"""Summary values on the axes of the scatter; lower is nearer."""

OUTCOMES = (STYLE_AXIS, CONTENT_AXIS, "final/total_loss", "seconds")
"""Summary values at the right of the parallel coordinates."""

CONFIG = ("network/name", "weights/name", "smoothing/name", "objective/name")
"""Settings at the left of the parallel coordinates, if no experiment says what it sweeps."""


@dataclass(frozen=True)
class Shown:
    """The contents of a dashboard.

    Attributes:
        entity: Name of the W&B team or user.
        project: Name of the W&B project.
        known: Whether W&B can be asked about the project.
        group: Group of the runs, such as `fig3`; None for all.
        entries: Entry points whose curves are drawn.
        config: Settings for the parallel coordinates, by W&B's names.
    """

    entity: str
    project: str
    known: bool
    group: str | None
    entries: tuple[str, ...]
    config: tuple[str, ...]

    @property
    def name(self) -> str:
        """The name of the workspace and of the report."""
        return f"swag-repro: {self.group or 'all runs'}"


def write_dashboard(options: argparse.Namespace, overrides: Sequence[str]) -> list[str]:
    """Write `workspace.json` and `report.json`; return their paths and, if they were saved, their addresses.

    Raises:
        SettingError: An override is not a known `experiment=…`, or `--save` has no entity.
        TrackingError: `wandb-workspaces` is not installed, or W&B does not save.
    """
    if options.save and not options.entity:
        raise SettingError("--entity", "should be given with --save", "none", "Add --entity NAME.")
    shown = _request(overrides, options)
    made = {"workspace": workspace(shown), "report": report(shown)}
    lines = [_write(options.results / "dashboard" / f"{name}.json", one) for name, one in made.items()]
    return lines + ([_save(one) for one in made.values()] if options.save else [])


def _package(part: str) -> Any:
    """Return a module of the optional package `wandb-workspaces`."""
    try:
        return import_module(f"wandb_workspaces.{part}")
    except ModuleNotFoundError as error:
        rule, remedy = "needs the package wandb-workspaces", "pip install 'swag-repro[dashboard]'"
        raise TrackingError("dashboard", rule, "none", f"{remedy} installs it.") from error


def _request(overrides: Sequence[str], options: argparse.Namespace) -> Shown:
    names = [item.removeprefix("experiment=") for item in overrides]
    if len(overrides) > 1 or names == list(overrides) != []:
        rule, remedy = "takes nothing but experiment=NAME", "Leave it out for all runs."
        raise SettingError("dashboard", rule, " ".join(overrides), remedy)
    place = (options.entity or "entity", options.project, options.save)
    if not names:
        return Shown(*place, None, tuple(CURVES), CONFIG)
    [name] = names
    if (entry := entry_of(name)) is None:
        rule = f"should be one of {', '.join(experiments())}"
        raise SettingError("experiment", rule, repr(name), "Leave it out for all runs.")
    cells = compose_cells(overrides, entry)
    columns = swept(framed(cells, [None] * len(cells)))
    return Shown(*place, name, (entry,), tuple(column.replace(".", "/") for column in columns))


def workspace(shown: Shown) -> Any:
    """Return the project's workspace: a section for each kind of run; the list of runs shows failures."""
    ws = _package("workspaces")
    columns = ["run:displayName", "summary:state", "summary:reason", "summary:seconds"]
    return ws.Workspace(
        entity=shown.entity,
        project=shown.project,
        name=shown.name.replace(":", ","),
        sections=[
            ws.Section(name=name, panels=panels, is_open=True) for name, panels in _panels(shown).items()
        ],
        runset_settings=ws.RunsetSettings(filters=_filters(shown), pinned_columns=columns),
    )


def _panels(shown: Shown) -> dict[str, list[Any]]:
    """Return the panels of the shown entry points, by section."""
    v2 = _package("reports.v2")
    panels: dict[str, list[Any]] = {}
    for section, axis, titles in (CURVES[entry] for entry in shown.entries if entry in CURVES):
        panels[section] = [
            v2.LinePlot(title=title, x=axis, y=[name], title_x=axis, max_runs_to_show=50)
            for name, title in titles.items()
        ]
    outcomes: Sequence[str] = ("seconds",)
    if "stylize" in shown.entries:
        outcomes = OUTCOMES
        x, y = (v2.SummaryMetric(name) for name in (CONTENT_AXIS, STYLE_AXIS))
        panels["Pictures"] = [
            v2.MediaBrowser(title=name, media_keys=[name], num_columns=4) for name in PICTURE_KEYS
        ]
        panels["Style and content"] = [v2.ScatterPlot(title="Style against content", x=x, y=y)]
    metrics = [*map(v2.Config, shown.config), *map(v2.SummaryMetric, outcomes)]
    columns = [v2.ParallelCoordinatesPlotColumn(metric=metric) for metric in metrics]
    panels["Settings"] = [v2.ParallelCoordinatesPlot(title="Settings and outcomes", columns=columns)]
    return panels


def report(shown: Shown) -> Any:
    """Return a report with the same panels under headings, and the failed runs with their reasons."""
    v2 = _package("reports.v2")
    runs = _runs(shown, "Runs")
    blocks: list[Any] = [v2.TableOfContents()]
    for name, panels in _panels(shown).items():
        blocks += [v2.H2(text=name), v2.PanelGrid(runsets=[runs], panels=panels)]
    failed = _runs(shown, "Failed", state="failed", columns=["summary:reason", "run:displayName"])
    blocks += [v2.H2(text="Failed runs"), v2.PanelGrid(runsets=[failed], panels=[])]
    return v2.Report(
        project=shown.project, entity=shown.entity, title=shown.name, blocks=blocks, width="fluid"
    )


def _runs(shown: Shown, name: str, *, state: str | None = None, columns: Sequence[str] = ()) -> Any:
    v2 = _package("reports.v2")
    filters = _filters(shown, state)
    # W&B is asked for a project that is named; otherwise the runs are those of the report's own project.
    place = {"entity": shown.entity, "project": shown.project} if shown.known else {}
    return v2.Runset(name=name, filters=filters, pinned_columns=list(columns), **place)


def _filters(shown: Shown, state: str | None = None) -> str:
    wanted = {"Group": shown.group, "State": state}
    return " and ".join(f"Metric('{key}') = '{value}'" for key, value in wanted.items() if value)


def plain_view(made: Any) -> dict[str, Any]:
    """Return what W&B receives, checked by the package's own schema.

    Raises:
        ValueError: The schema has no place for a part of `made`.
    """
    model = made._to_model()
    sent = model.model_dump(mode="json", by_alias=True, exclude_none=True)
    with warnings.catch_warnings(action="error"):  # the package warns of parts that it can't place
        try:
            type(model).model_validate(sent)
        except UserWarning as warning:
            raise ValueError(str(warning)) from warning
    return dict(sent)


def _write(path: Path, made: Any) -> str:
    write_text(path, json.dumps(plain_view(made), indent=2) + "\n")
    return str(path)


def _save(made: Any) -> str:
    try:
        return str(made.save().url)
    except Exception as error:  # the package passes on errors of any type
        found = f"{type(error).__name__}: {error}"
        remedy = "Check --entity, --project and the key."
        raise TrackingError("dashboard", "should be saved by W&B", found, remedy) from error
