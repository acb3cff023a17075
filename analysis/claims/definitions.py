"""Claims as data: what a paper states, and the questions to our tables that decide it (`conf/claims`)."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from itertools import product
from pathlib import Path
from typing import Any

from omegaconf import MISSING, OmegaConf
from omegaconf.errors import OmegaConfBaseException

from analysis.tables import MEASURES, TERMS
from experiments.settings import CONF
from swag_repro.errors import UserError
from swag_repro.runs.files import MALFORMED

CLAIMS_FOLDER = CONF / "claims"

EVIDENCE = "evidence"
"""The file of sweeps; each other file is a claim."""

TRAINED = "trained"
"""The table of weights that ship, in place of an entry point."""

STUDY = "study"
"""People's answers, in place of an entry point: those of the study that is named as an experiment."""

PICTURED = ("stylize", "train_feedforward", "transfer")
"""Entry points whose runs have pictures, which judges measure."""

CLAIM_ENTRIES = ("measure_activations", "measure_units", *PICTURED, TRAINED, STUDY)
"""Entry points whose runs a claim can rest on."""

VALUES = ("value", "log2", "gain", "relative")
"""The quantity that is compared: a number itself; its log₂; log₂ of how much nearer to its style a picture
came; a loss over that of the start."""

REDUCTIONS = ("log2_ratio", "change", "rank_correlation", "mean")
"""Reductions of numbers along a column: log₂ of last over first; last less first; Spearman's rank; mean."""

BOUNDS = {"rank_correlation": (-1.0, 1.0)}
"""Bounds of the reductions that have some."""

BOUNDED = {
    "normalized_entropy": (0.0, 1.0),
    "ssim": (-1.0, 1.0),
    "style_share": (0.0, 1.0),
    "largest_entries": (0.0, 1.0),
    "peaks_shrunk": (0.0, 1.0),
    "preference": (0.0, 1.0),
}
"""Bounds of the statistics that have some: a threshold at or beyond them can't fail, or can't hold."""


SCALES = ("full", "reduced", "toy")
"""The scales of a sweep, by how near it is to the paper's setting.

Full: its networks, weights and size of pictures. Reduced: a network of its kind and depth, of half width or
in smaller pictures. Toy: small networks, or pictures that are not optimised to their end.
"""

ROLES = ("primary", "secondary", "identity")
"""The primary question of a claim decides. Secondary ones say how far the verdict reaches. What holds by
construction is an identity, and decides nothing."""


class ClaimError(UserError):
    """The error of a claim that can't be tested as it stands."""


@dataclass
class EvidenceSweep:
    """A sweep that claims rest on.

    Attributes:
        entry: The entry point that computes it.
        scale: One of `SCALES`.
        overrides: Overrides of its command, after `-m`.
        figure: A name for `swag figure`, which draws the sweep.
        judges: Judges of its pictures, as in `Evidence.judges`; None for those of `Evidence`.
        beside: Another sweep, whose numbers are added to its own; settings that it lacks are null.
    """

    entry: str = MISSING
    scale: str = MISSING
    overrides: list[str] = field(default_factory=list)
    figure: str | None = None
    judges: list[str] | None = None
    beside: str | None = None


@dataclass
class Evidence:
    """All sweeps that claims rest on, and the judges of their pictures.

    Attributes:
        judges: Choices of `measures=`. Each judge measures all pictures; the first one when they are made.
        sweeps: The sweeps by name.
    """

    judges: list[str] = field(default_factory=list)
    sweeps: dict[str, EvidenceSweep] = field(default_factory=dict)

    def judges_of(self, name: str) -> list[str]:
        """Return the judges of a sweep's pictures."""
        own = self.sweeps[name].judges
        return self.judges if own is None else own

    def together(self, name: str) -> list[str]:
        """Return a sweep, and the one beside it, if any."""
        beside = self.sweeps[name].beside
        return [name] if beside is None else [name, beside]


@dataclass
class Along:
    """A reduction of several numbers of one pair and seed to one.

    Attributes:
        column: The column by which they are sorted, such as `position`.
        by: One of `REDUCTIONS`.
    """

    column: str = MISSING
    by: str = MISSING


@dataclass
class Compare:
    """Two sides of one pair and seed, whose means are subtracted.

    Attributes:
        column: The setting that tells the sides apart.
        these: Its values on one side.
        against: Its values on the other side.
    """

    column: str = MISSING
    these: list[Any] = field(default_factory=list)
    against: list[Any] = field(default_factory=list)


@dataclass
class Expect:
    """The claim's statement about the mean; exactly one attribute is set.

    Attributes:
        more_than: The mean is above this.
        less_than: The mean is below this.
        within: The mean is nearer to 0 than this.
    """

    more_than: float | None = None
    less_than: float | None = None
    within: float | None = None

    @property
    def given(self) -> dict[str, float]:
        """The attributes that are not null."""
        return {name: value for name, value in vars(self).items() if value is not None}


@dataclass
class Question:
    """One question to the tables.

    Attributes:
        evidence: Name of an `EvidenceSweep`.
        where: Columns and their selected values: settings, `statistic`, `quantity`, `layer`, `judge`, ….
        each: Columns and values; the question is asked separately for each value.
        value: One of `VALUES`.
        along: How numbers of one pair and seed become one; None takes their mean.
        compare: The two sides that are compared; None asks about the number itself.
        expect: What the claim says of it.
        identity: Whether it holds by construction.
    """

    evidence: str = MISSING
    where: dict[str, Any] = field(default_factory=dict)
    each: dict[str, list[Any]] = field(default_factory=dict)
    value: str = "value"
    along: Along | None = None
    compare: Compare | None = None
    expect: Expect = field(default_factory=Expect)
    identity: bool = False

    @property
    def names(self) -> set[str]:
        """The columns and the statistics that the question names."""
        columns = {part.column for part in (self.along, self.compare) if part is not None}
        statistics = {*_as_list(self.where.get("statistic")), *self.each.get("statistic", [])}
        return {*self.where, *self.each, *columns, *statistics}


@dataclass
class Claim:
    """A statement of a paper.

    Attributes:
        text: The statement.
        paper: `SWAG`, `Demystifying` or `AdaIN`.
        source: Section or figure.
        refuted_by: What would refute it, in words.
        primary: The name of the question that decides: the paper's own measure, where network, weights and
            size are nearest to the paper's.
        questions: The questions by name.
        untestable: Why it can't be tested here; empty if it can.
        notes: What a reader should know, such as that the claim was changed after looking at results.
    """

    text: str = MISSING
    paper: str = MISSING
    source: str = MISSING
    refuted_by: str = MISSING
    primary: str | None = None
    questions: dict[str, Question] = field(default_factory=dict)
    untestable: str | None = None
    notes: list[str] = field(default_factory=list)


@dataclass(frozen=True)
class Inquiry:
    """One question about one choice of `each`, to one judge.

    Attributes:
        claim: Name of the claim.
        name: Name of the question, with that choice.
        role: One of `ROLES`.
        question: The question as it stands in the file.
        where: Columns and their selected values, with that choice.
    """

    claim: str
    name: str
    role: str
    question: Question
    where: dict[str, list[Any]]

    @property
    def selected(self) -> dict[str, list[Any]]:
        """The columns and values that choose its numbers: `where`, and both compared sides."""
        compare = self.question.compare
        sides = {} if compare is None else {compare.column: [*compare.these, *compare.against]}
        return self.where | sides


def read_evidence(folder: Path = CLAIMS_FOLDER) -> Evidence:
    """Return all sweeps that claims rest on, and the judges of their pictures.

    Raises:
        ClaimError: The file is missing or malformed, or it names an entry point without numbers or an unknown
            sweep.
    """
    path = folder / f"{EVIDENCE}.yaml"
    evidence: Evidence = _load_as(path, Evidence)
    for name, sweep in evidence.sweeps.items():
        _one_of(path, f"{name}.entry", sweep.entry, CLAIM_ENTRIES)
        _one_of(path, f"{name}.scale", sweep.scale, SCALES)
        if sweep.beside is not None:
            _one_of(path, f"{name}.beside", sweep.beside, evidence.sweeps)
    return evidence


def read_claims(sweeps: Mapping[str, EvidenceSweep], folder: Path = CLAIMS_FOLDER) -> dict[str, Claim]:
    """Return all claims by the names of their files, in order.

    Raises:
        ClaimError: A file is malformed, or asks a question that can't have an answer.
    """
    paths = [path for path in sorted(folder.glob("*.yaml")) if path.stem != EVIDENCE]
    claims = {path.stem: _load_as(path, Claim) for path in paths}
    for path, claim in zip(paths, claims.values(), strict=True):
        if bool(claim.questions) == bool(claim.untestable):
            rule = "should have questions, or say why it is untestable"
            raise ClaimError(str(path), rule, "both" if claim.questions else "neither", "Give one.")
        for name, question in claim.questions.items():
            _check(path, name, question, sweeps)
        _check_primary(path, claim)
    _check_none_twice(claims)
    return claims


def inquiries(name: str, claim: Claim, evidence: Evidence) -> list[Inquiry]:
    """Return a claim's questions: one for each choice of `each`, and for each judge of a judged statistic."""
    found = []
    for title, question in claim.questions.items():
        statistics = {*_as_list(question.where.get("statistic")), *question.each.get("statistic", [])}
        judged = bool(statistics & {*MEASURES, *TERMS}) and "judge" not in question.where
        judges = evidence.judges_of(question.evidence)
        each = question.each | ({"judge": judges[:1] if statistics == {"ssim"} else judges} if judged else {})
        for values in product(*each.values()):
            choice = dict(zip(each, values, strict=True))
            words = ", ".join([title, *map(str, choice.values())])
            where = {column: _as_list(value) for column, value in (question.where | choice).items()}
            found.append(Inquiry(name, words, _role(claim, title), question, where))
    return found


def _role(claim: Claim, question: str) -> str:
    if question == claim.primary:
        return "primary"
    return "identity" if claim.questions[question].identity else "secondary"


def _as_list(value: Any) -> list[Any]:
    return list(value) if isinstance(value, list) else [value]


def _load(path: Path) -> dict[str, Any]:
    try:
        content = OmegaConf.to_container(OmegaConf.load(path))
    except (*MALFORMED, OmegaConfBaseException) as error:
        raise ClaimError(str(path), "should be YAML", str(error), "Mend it.") from error
    if not isinstance(content, dict):
        raise ClaimError(str(path), "should be a mapping", type(content).__name__, "Mend it.")
    return {str(key): value for key, value in content.items()}


def _load_as(path: Path, kind: type) -> Any:
    """Return the content as an instance of `kind`."""
    try:
        return OmegaConf.to_object(OmegaConf.merge(OmegaConf.structured(kind), _load(path)))
    except (OmegaConfBaseException, ValueError) as error:
        rule, found = f"should be a {kind.__name__.lower()}", str(error).splitlines()[0]
        raise ClaimError(str(path), rule, found, "conf/claims shows some.") from error


def _check(path: Path, name: str, question: Question, sweeps: Mapping[str, EvidenceSweep]) -> None:
    at = f"{path.stem}.{name}"
    _one_of(path, f"{name}.evidence", question.evidence, sweeps)
    _one_of(path, f"{name}.value", question.value, VALUES)
    if question.along is not None:
        _one_of(path, f"{name}.along.by", question.along.by, REDUCTIONS)
    if question.compare is not None and not (question.compare.these and question.compare.against):
        raise ClaimError(at, "should compare these with others", "an empty side", "Name values on both.")
    given = question.expect.given
    if len(given) != 1:
        rule = "should expect one of more_than, less_than, within"
        raise ClaimError(at, rule, ", ".join(given) or "none", "Give one.")
    _check_threshold(at, question, *given.items())


def _check_primary(path: Path, claim: Claim) -> None:
    """Raise unless one question with one answer decides a claim that can be tested."""
    if not claim.questions:
        return
    _one_of(path, "primary", claim.primary, claim.questions)
    question = claim.questions[str(claim.primary)]
    at = f"{path.stem}.{claim.primary}"
    if question.identity:
        raise ClaimError(at, "should be able to fail", "an identity", "Name another question as primary.")
    several = [name for name, values in question.each.items() if len(values) > 1]
    if str(question.where.get("statistic")) in MEASURES and "judge" not in question.where:
        several.append("judge")
    if several:
        rule = "should have one answer, as the primary question"
        raise ClaimError(at, rule, f"one for each {several[0]}", f"Name one {several[0]} in where.")


def _check_none_twice(claims: Mapping[str, Claim]) -> None:
    """Raise if two questions rest on the same numbers: they would count twice."""
    known: dict[str, str] = {}
    for claim, name, question in ((c, n, q) for c, one in claims.items() for n, q in one.questions.items()):
        at, numbers = f"{claim}.{name}", repr(replace(question, expect=Expect(), identity=False))
        if numbers in known:
            rule = "should rest on numbers of its own"
            raise ClaimError(at, rule, f"those of {known[numbers]}", "Leave one of them out.")
        known[numbers] = at


def _check_threshold(at: str, question: Question, given: tuple[str, float]) -> None:
    """Raise unless the threshold can both fail and hold."""
    bounds = _bounds(question)
    if bounds is None:
        return
    low, high = bounds
    kind, threshold = given
    can = {
        "more_than": low < threshold < high,
        "less_than": low < threshold < high,
        "within": 0 < threshold < max(-low, high),
    }
    if not can[kind]:
        rule = f"should expect what can fail and can hold, within {low:g} and {high:g}"
        raise ClaimError(at, rule, f"{kind} {threshold:g}", "Choose another threshold.")


def _bounds(question: Question) -> tuple[float, float] | None:
    """Return the least and the largest possible value of the compared number, where they are known."""
    statistic = question.where.get("statistic")
    bounds = BOUNDS.get(question.along.by) if question.along is not None else None
    if bounds is None and question.value == "value" and question.along is None:
        bounds = BOUNDED.get(str(statistic))
    if bounds is None or question.compare is None:
        return bounds
    return bounds[0] - bounds[1], bounds[1] - bounds[0]


def _one_of(path: Path, at: str, value: object, known: Any) -> None:
    if value not in known:
        rule = f"should be one of {', '.join(known)}"
        raise ClaimError(f"{path.stem}.{at}", rule, repr(value), "Choose one.")
