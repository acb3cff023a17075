"""The design of a study: which two pictures are compared, and who sees which comparisons, in which order."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Literal, Self, TypeAlias

import numpy as np

from analysis.effects import BETWEEN
from swag_repro.errors import UserError
from swag_repro.runs.files import MALFORMED, refuse_other

SCHEMA = 1
"""Version of the files of studies and of answers; other versions are refused."""

STUDY_FILE = "study.json"

STUDIES = "studies"
"""The folder of all studies, in an output folder."""

PRACTICE = 2
"""Number of practice trials of each rater."""

CHECK_EVERY = 10
"""One attention check stands among so many trials."""

TrialKind: TypeAlias = Literal["practice", "check", "trial"]


class StudyError(UserError):
    """An error in a study or its answers: they are missing, cut short, or do not belong together."""


@dataclass(frozen=True)
class Option:
    """One of the two pictures of a comparison.

    Attributes:
        arm: The label of the arm that made it; people do not see it.
        run_id: Its run.
        picture: The SHA-256 of its file.
    """

    arm: str
    run_id: str
    picture: str


@dataclass(frozen=True)
class Comparison:
    """Two pictures of one content and style.

    Attributes:
        panel: The label of all that both arms share, such as a network; empty if nothing else was swept.
        content: The content's name.
        style: The style's name.
        content_picture: The SHA-256 of the content's file.
        style_picture: The SHA-256 of the style's file.
        options: The two pictures.
    """

    panel: str
    content: str
    style: str
    content_picture: str
    style_picture: str
    options: tuple[Option, Option]

    @property
    def pair(self) -> str:
        """The name of content and style."""
        return BETWEEN.join((self.content, self.style))


@dataclass(frozen=True)
class Trial:
    """One screen.

    Attributes:
        kind: `practice` and `check` show the first picture of a comparison beside the blank one.
        comparison: Index of the comparison.
        swapped: Whether the first picture, or the blank one, stands at the right.
    """

    kind: TrialKind
    comparison: int
    swapped: bool

    def options(self, study: Study) -> tuple[Option, Option]:
        """Return the left and the right picture."""
        first, second = study.comparisons[self.comparison].options
        if self.kind != "trial":
            first, second = Option("", "", study.blank), first
        return (second, first) if self.swapped else (first, second)


@dataclass(frozen=True)
class Study:
    """A whole study.

    Attributes:
        name: The name of the sweep.
        question: The question that people answer.
        consent: The text that people agree to.
        ties: Whether people may answer that they can't tell.
        seed: The seed of the assignment.
        command: The command that computes the pictures.
        blank: The SHA-256 of a picture without any content, for practice and attention checks.
        comparisons: All comparisons.
        raters: The trials of each rater, by the rater's code.
    """

    name: str
    question: str
    consent: str
    ties: bool
    seed: int
    command: str
    blank: str
    comparisons: tuple[Comparison, ...]
    raters: dict[str, tuple[Trial, ...]]

    @property
    def id(self) -> str:
        """The start of a hash of all that people see."""
        return hashlib.sha256(json.dumps(asdict(self), sort_keys=True).encode()).hexdigest()[:16]

    def to_json(self) -> str:
        """Return the content of its file."""
        return json.dumps({"schema": SCHEMA, "id": self.id, **asdict(self)}, indent=1) + "\n"

    @classmethod
    def from_plain(cls, plain: Mapping[str, Any]) -> Self:
        """Return the study of a parsed file.

        Raises:
            KeyError, TypeError: Fields are missing or unknown.
        """
        comparisons = [
            Comparison(**{**one, "options": tuple(Option(**option) for option in one["options"])})
            for one in plain["comparisons"]
        ]
        raters = {code: tuple(Trial(**trial) for trial in trials) for code, trials in plain["raters"].items()}
        own = {name: value for name, value in plain.items() if name not in ("schema", "id")}
        return cls(**{**own, "comparisons": tuple(comparisons), "raters": raters})


def read_study(folder: Path) -> Study:
    """Return the study of a folder that `swag study build` wrote.

    Raises:
        StudyError: The file is missing, cut short, or was changed.
        OtherVersionError: Another version wrote it.
    """
    path = folder / STUDY_FILE
    if not path.is_file():
        rule, found = f"should be a study: a folder with {STUDY_FILE}", "no such study"
        raise StudyError(str(folder), rule, found, "`swag study build` makes one.")
    try:
        plain = json.loads(path.read_text(encoding="utf-8"))
        refuse_other(str(path), plain["schema"], SCHEMA)
        study = Study.from_plain(plain)
        if study.id != plain["id"]:
            raise ValueError("its content was changed")
    except (*MALFORMED, OSError, KeyError, TypeError, AttributeError) as error:
        rule = f"should be a study: a folder with {STUDY_FILE}"
        raise StudyError(str(folder), rule, error, "`swag study build` writes one.") from error
    return study


def assign(comparisons: int, *, raters: int, trials: int, seed: int) -> dict[str, tuple[Trial, ...]]:
    """Return the trials of each rater, by a code that says nothing.

    Each comparison is shown equally often, give or take one, and so is each of its sides; each rater sees
    first pictures at the left as often as at the right, give or take one where all comparisons are shown.

    Args:
        comparisons: Number of comparisons.
        raters: Number of raters.
        trials: Number of comparisons that each rater sees, at most all.
        seed: Seed of orders, sides and codes.
    """
    generator = np.random.default_rng(seed)
    order = generator.permutation(comparisons).tolist()
    return {
        _code(seed, rater): _plan(_shown(order, rater * trials, trials), generator) for rater in range(raters)
    }


def _code(seed: int, rater: int) -> str:
    return hashlib.sha256(f"{seed} {rater}".encode()).hexdigest()[:8]


def _shown(order: Sequence[int], start: int, trials: int) -> list[Trial]:
    """Return the next trials of a round through all comparisons; each round swaps all sides."""
    places = [divmod(number, len(order)) for number in range(start, start + trials)]
    return [Trial("trial", order[at], bool((at + turn) % 2)) for turn, at in places]


def _plan(shown: list[Trial], generator: np.random.Generator) -> tuple[Trial, ...]:
    """Return trials in random order, with practice before and attention checks among them."""
    mixed = [shown[at] for at in generator.permutation(len(shown))]
    for block in reversed(range(max(1, len(mixed) // CHECK_EVERY))):
        place = block * CHECK_EVERY + int(generator.integers(1, CHECK_EVERY + 1))
        mixed.insert(min(place, len(mixed)), _catch("check", shown, generator))
    return (*(_catch("practice", shown, generator) for _ in range(PRACTICE)), *mixed)


def _catch(kind: TrialKind, shown: list[Trial], generator: np.random.Generator) -> Trial:
    at, side = generator.integers(len(shown)), generator.integers(2)
    return Trial(kind, shown[at].comparison, bool(side))
