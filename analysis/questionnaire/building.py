"""A study of a sweep's pictures, as a folder of files that any web server can offer."""

from __future__ import annotations

import io
import shlex
import shutil
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import combinations
from pathlib import Path
from typing import Any

import pandas as pd
from jinja2 import FileSystemLoader
from PIL import Image

from analysis import labels
from analysis.report.site import STATIC, TEMPLATES
from analysis.study.answers import ANSWERS
from analysis.study.design import PRACTICE, SCHEMA, STUDY_FILE, Comparison, Option, Study, StudyError, assign
from analysis.stylizations import PICTURE_ROLES, Stylizations
from analysis.tables.runs import telling_settings
from swag_repro.errors import SettingError, check_number, check_seed
from swag_repro.runs.files import digest, digest_of, make_folder, whole_file, write_text, writing

PAGE = Path(__file__).parent / "page"
"""The folder of what only a study's page has: its template, style and script."""

SITE = "site"
"""The folder of a study that people are shown."""

QUESTION = "Which picture looks more like the photograph, painted in the manner of the painting?"

CONSENT = """\
This study compares computer programs, not people. You choose between pictures; no answer is wrong.
What is kept: your code, your choices, and how long each took. Nothing else is asked or recorded.
You may stop at any time, without giving a reason, and ask for your answers to be deleted by your code."""

BLANK_SIDE = 256
"""Width and height of the blank picture in pixels."""


@dataclass(frozen=True)
class Plan:
    """The choices of who asks.

    Attributes:
        compare: Swept settings, separated by commas, whose values are compared; all others are shared by the
            two pictures. None compares all cells with each other.
        raters: Number of raters.
        trials: Number of comparisons for each; None for all.
        seed: Seed of the assignment.
        ties: Whether people may answer that they can't tell.
        question: The question.
        consent: The text that people agree to.
    """

    compare: str | None = None
    raters: int = 20
    trials: int | None = None
    seed: int = 0
    ties: bool = False
    question: str = QUESTION
    consent: str = CONSENT


@dataclass
class Pictures:
    """The pictures that a study shows, by the SHA-256 of their files."""

    content: dict[str, bytes] = field(default_factory=dict)
    names: dict[str, str] = field(default_factory=dict)

    def add(self, content: bytes, suffix: str) -> str:
        """Keep a picture, and return its digest; its file's name says nothing else."""
        key = digest(content)
        self.content[key], self.names[key] = content, f"{key[:16]}{suffix}"
        return key


def design(data: Stylizations, plan: Plan) -> tuple[Study, Pictures]:
    """Return the study of a sweep's pictures, and its pictures.

    Raises:
        SettingError: A setting was not swept, or a number is out of range.
        StudyError: Nothing can be compared.
        StoreError: A picture is missing, or not as it was written.
    """
    pictures = Pictures()
    compared = tuple(_comparisons(data, plan.compare, pictures))
    if not compared:
        rule = "should have two pictures of one content and style that differ in what is compared"
        raise StudyError("study", rule, "none", "Sweep a setting, or name another by compare=.")
    check_seed("--seed", plan.seed)
    trials = len(compared) if plan.trials is None else plan.trials
    check_number("--trials", trials, least=1, most=len(compared), whole=True, remedy="There are no more.")
    blank = pictures.add(_blank(), ".png")
    raters = assign(len(compared), raters=plan.raters, trials=trials, seed=plan.seed)
    name, command = data.arms[0].config["name"], shlex.join(data.tables.provenance.steps[-1])
    return Study(
        name, plan.question, plan.consent, plan.ties, plan.seed, command, blank, compared, raters
    ), pictures


def _comparisons(data: Stylizations, compare: str | None, pictures: Pictures) -> Iterator[Comparison]:
    """Yield all comparisons of two arms with each other, pair by pair."""
    runs = data.tables.runs
    swept = [column for column in telling_settings(runs) if column not in PICTURE_ROLES]
    compared = swept if compare is None else _columns(compare, swept)
    beside = [column for column in swept if column not in compared]
    words = data.table.assign(arm=data.table["cell"].map(_words(runs, compared)))
    words["panel"] = words["cell"].map(_words(runs, beside))
    for (panel, content, style), rows in words.groupby(["panel", *PICTURE_ROLES], sort=False):
        for one, other in combinations(rows.to_dict("records"), 2):
            inputs = {
                f"{role}_picture": _picture(data, one, f"{role}_image", pictures) for role in PICTURE_ROLES
            }
            first, second = (
                Option(row["arm"], row["run_id"], _picture(data, row, "image", pictures))
                for row in (one, other)
            )
            yield Comparison(str(panel), str(content), str(style), options=(first, second), **inputs)


def _columns(named: str, swept: Sequence[str]) -> list[str]:
    known = {column.removesuffix(".name"): column for column in swept} | {column: column for column in swept}
    if unknown := [name for name in named.split(",") if name not in known]:
        there = ", ".join(column.removesuffix(".name") for column in swept) or "none"
        raise SettingError(
            "compare", "should be settings that were swept", ", ".join(unknown), f"There are {there}."
        )
    return [known[name] for name in named.split(",")]


def _words(runs: pd.DataFrame, columns: Collection[str]) -> pd.Series[str]:
    return labels.settings(runs, columns) if columns else pd.Series("", index=runs.index)


def _picture(data: Stylizations, row: Mapping[Any, Any], role: str, pictures: Pictures) -> str:
    return pictures.add(data.tables.file(row["cell"], row[role]), Path(row[role]).suffix)


def _blank() -> bytes:
    Image.new("RGB", (BLANK_SIDE, BLANK_SIDE), (128, 128, 128)).save(buffer := io.BytesIO(), "PNG")
    return buffer.getvalue()


def summary(study: Study, data: Stylizations) -> Iterator[str]:
    """Yield what is compared, in words, and which pictures did not finish."""
    panels = pd.Series([one.panel for one in study.comparisons]).value_counts(sort=False)
    pairs, each = len({one.pair for one in study.comparisons}), len(next(iter(study.raters.values())))
    listed = ", ".join(f"{name or 'all'} {count}" for name, count in panels.items())
    yield f"study {study.id}: {len(study.comparisons)} comparisons ({listed}) of {pairs} pairs"
    yield f"{len(study.raters)} raters with {each} trials each, practice and attention checks included"
    for status, count in data.table["status"].value_counts().items():
        if status != "finished":
            yield f"{count} of {len(data.table)} pictures are {status}; people see them like the others"


def write_study(study: Study, pictures: Pictures, folder: Path) -> list[Path]:
    """Write a study into a folder, and return its file, its page, and the table of raters' codes.

    Raises:
        StudyError: The folder has answers, which might be of another study.
        StoreError: The files can't be written.
    """
    if any((folder / ANSWERS).glob("*")):
        remedy = "Move the folder away, or delete it with its answers."
        raise StudyError(str(folder), "should have no answers yet", "some", remedy)
    site = folder / SITE
    with writing(site):
        shutil.rmtree(site, ignore_errors=True)
    make_folder(site / "pictures")
    for key, content in pictures.content.items():
        with whole_file(site / "pictures" / pictures.names[key]) as file:
            file.write(content)
    for path in (*STATIC.iterdir(), PAGE / "study.css", PAGE / "study.js"):
        write_text(site / "static" / path.name, path.read_text(encoding="utf-8"))
    write_text(site / "index.html", _rendered(study, pictures))
    raters = pd.DataFrame(
        {"rater": list(study.raters), "link": [f"index.html?rater={code}" for code in study.raters]}
    )
    write_text(folder / "raters.csv", raters.to_csv(index=False))
    write_text(folder / STUDY_FILE, study.to_json())
    return [folder / STUDY_FILE, site / "index.html", folder / "raters.csv"]


def _rendered(study: Study, pictures: Pictures) -> str:
    folders = [str(PAGE), str(STATIC.with_name("templates"))]
    template = TEMPLATES.overlay(loader=FileSystemLoader(folders)).get_template("study.html")
    icon = pictures.names[study.blank]
    return template.render(root="", study=study, data=_shown(study, pictures), icon=icon, practice=PRACTICE)


def _shown(study: Study, pictures: Pictures) -> dict[str, Any]:
    """Return what the page knows: neither arms nor panels, so that nobody can be told."""
    return {
        "schema": SCHEMA,
        "study": study.id,
        "ties": study.ties,
        "blank": {"picture": study.blank, "run": ""},
        "files": pictures.names,
        "comparisons": [
            {
                "content": {"picture": one.content_picture},
                "style": {"picture": one.style_picture},
                "options": [{"picture": option.picture, "run": option.run_id} for option in one.options],
            }
            for one in study.comparisons
        ],
        "raters": {
            code: [(trial.kind, trial.comparison, trial.swapped) for trial in plan]
            for code, plan in study.raters.items()
        },
    }


def check_site(study: Study, folder: Path) -> None:
    """Raise a `StudyError` if a picture that people are asked about is missing, or was changed."""
    here = {digest_of(path) for path in (folder / SITE / "pictures").glob("*")}
    asked = {option.picture for one in study.comparisons for option in one.options} | {study.blank}
    asked |= {key for one in study.comparisons for key in (one.content_picture, one.style_picture)}
    if lost := len(asked - here):
        rule, found = "should have all pictures of the study", f"{lost} of {len(asked)} missing or changed"
        raise StudyError(str(folder / SITE), rule, found, "Give the command of `swag study build` again.")
