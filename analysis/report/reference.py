"""The report of the whole project: findings, a page for each claim and each figure, and sizes at a glance."""

from __future__ import annotations

import json
import math
import re
from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from markupsafe import Markup

from analysis.claims.definitions import Claim, Evidence, read_claims, read_evidence
from analysis.claims.drawing import FARTHEST
from analysis.claims.ledger import evidence_commands
from analysis.claims.printing import effect
from analysis.report.markdown import anchor, render, sections
from analysis.report.site import Shown, Site
from experiments.asking import OUTPUT
from experiments.programs import typed
from experiments.settings import CONF, about, entry_of, experiments
from swag_repro.errors import StoreError

REFERENCE = Path(__file__).parents[1] / "reference"
"""The committed figures, tables, answers and their record."""

ROOT = CONF.parent

FINDINGS = "What we found"
"""The heading of README's findings."""

PAGES = {
    "analysis/reference/README.md": "record.html",
    **{f"analysis/reference/{path.name}": "index.html#claims" for path in REFERENCE.glob("claims*.md")},
}
"""Pages of the report that stand for texts which README links."""

VERDICTS = ("reproduced", "not reproduced", "open", "not testable yet", "not testable here")

ROOM = 0.08
"""Share of a drawn interval's axis that stays free at each end."""


@dataclass(frozen=True)
class Interval:
    """An answer on an axis from 0 to 100: its mean, interval and threshold, and the side that the claim says.

    Attributes:
        low: Lower end of the interval.
        mean: The mean.
        high: Upper end.
        threshold: The threshold.
        expected: Both ends of what the claim says.
        labels: Places and values of the threshold and of zero.
    """

    low: float
    mean: float
    high: float
    threshold: float
    expected: tuple[float, float]
    labels: tuple[tuple[float, str], ...]

    @classmethod
    def of(cls, row: Mapping[Any, Any]) -> Interval:
        """Return an answer in its own units."""
        ends = [row["low"], row["high"], row["mean"], row["threshold"], 0.0]
        inside = row["expected"] == "within"
        ends += [-row["threshold"]] if inside else []
        width = float(max(ends) - min(ends)) or 1.0
        least, most = float(min(ends)) - ROOM * width, float(max(ends)) + ROOM * width

        def place(value: float) -> float:
            return round(100 * (value - least) / (most - least), 2)

        threshold = place(row["threshold"])
        sides = {"more than": (threshold, 100.0), "less than": (0.0, threshold)}
        expected = sides.get(row["expected"], (place(-row["threshold"]), threshold))
        marks = dict.fromkeys([row["threshold"], 0.0])
        labels = tuple((place(value), f"{value:g}") for value in marks)
        return cls(place(row["low"]), place(row["mean"]), place(row["high"]), threshold, expected, labels)

    @classmethod
    def standardised(cls, row: Mapping[Any, Any]) -> Interval:
        """Return an answer in standard errors of one pair from its threshold, the claim's side right."""
        low, mean, high = (_standardised(row[name]) for name in ("size_low", "size", "size_high"))
        return cls(low, mean, high, 50.0, (50.0, 100.0), ())


def _standardised(size: float) -> float:
    """Return the place of a distance; far ones are drawn nearer, and none beyond `FARTHEST`."""
    return round(50 + 50 * math.asinh(max(-FARTHEST, min(FARTHEST, size))) / math.asinh(FARTHEST), 2)


@dataclass(frozen=True)
class FigurePage:
    """The committed pictures of one experiment.

    Attributes:
        name: The experiment.
        about: What it is, in a sentence.
        command: The command that computes it.
        pictures: Its pictures, and what the record says of each.
        tables: Names of its tables.
        heading: The heading in the record under which it stands; empty if the record does not show it.
    """

    name: str
    about: str
    command: str
    pictures: tuple[tuple[Shown, str], ...]
    tables: tuple[Path, ...]
    heading: str

    @property
    def first(self) -> Shown:
        """The picture that stands for all."""
        return self.pictures[0][0]


def _ledger() -> tuple[list[dict[str, Any]], list[dict[str, Any]]]:
    """Return the claims and the questions of the committed ledger."""
    ledger = json.loads((REFERENCE / "claims.json").read_text(encoding="utf-8"))
    return ledger["claims"], [_with_interval(row) for row in ledger["questions"]]


def write_reference(results: Path) -> Path:
    """Write the report of the committed findings, claims and figures; return its first page.

    Raises:
        StoreError: This is no checkout of the repository, or the report can't be written.
    """
    if not (ROOT / "README.md").is_file():
        rule, found = "should be asked in a checkout of the repository", f"no README.md in {ROOT}"
        raise StoreError("--reference", rule, found, "Clone it, and install from there.")
    site = Site(results / "report" / "reference", "swag-repro")
    evidence = read_evidence()
    claims = read_claims(evidence.sweeps)
    entries, rows = _ledger()
    record = (REFERENCE / "README.md").read_text(encoding="utf-8")
    figures = dict(_figures(record, site))
    shown = [
        _claim(one, claims[one["claim"]], evidence, rows, figures)
        for one in entries
        if one["claim"] in claims
    ]
    for one in shown:
        site.page(f"claims/{one['name']}.html", "claim.html", claim=one)
    for figure in figures.values():
        resting = [one for one in shown if figure in one["figures"]]
        tables = [site.copy(path) for path in figure.tables]
        site.page(
            f"figures/{figure.name}.html",
            "figure.html",
            figure=figure,
            claims=resting,
            tables=tables,
            anchor=anchor,
        )
    site.page("record.html", "text.html", heading="The record", text=_text(record, REFERENCE, site))
    site.page("glance.html", "glance.html", **_glance(site), claims=[one for one in shown if one["answered"]])
    page = site.page(
        "index.html", "front.html", claims=shown, figures=list(figures.values()), verdicts=VERDICTS,
        answers=site.copy(REFERENCE / "claims.csv"), **_front(site),
    )  # fmt: skip
    site.finish()
    return page


def _front(site: Site) -> dict[str, Any]:
    """Return README's first words, its picture, and its findings."""
    readme = re.sub(r"<!--.*?-->\n", "", (ROOT / "README.md").read_text(encoding="utf-8"))
    above, headline = readme.partition("\n## ")[0], re.search(r"!\[(.*?)\]\((.*?)\)", readme)
    introduction = above.partition("\n\n")[2].partition("\n\n")[0]
    findings, _, below = sections(readme)[FINDINGS].partition("\n\n1 and 2")
    return {
        "introduction": _text(introduction, ROOT, site),
        "findings": _text(findings, ROOT, site),
        "below": _text(f"1 and 2{below}", ROOT, site) if below else "",
        "headline": None if headline is None else site.original(ROOT / headline[2]),
        "alt": "" if headline is None else headline[1],
    }


def _glance(site: Site) -> dict[str, Any]:
    """Return what was computed beside what the papers did, and how long our figures take."""
    times = (ROOT / "docs" / "figures.md").read_text(encoding="utf-8")
    table = "\n".join(line for line in times.splitlines() if line.startswith("|"))
    return {
        "sizes": _text((REFERENCE / "glance.md").read_text(encoding="utf-8"), REFERENCE, site),
        "times": _text(table, ROOT / "docs", site),
    }


def _text(text: str, folder: Path, site: Site) -> Markup:
    return render(text, folder, site, "", PAGES)


# --- Claims -----------------------------------------------------------------------------------------------


def _with_interval(row: dict[Any, Any]) -> dict[Any, Any]:
    """Return an answer with its interval drawn in its own units, and from its threshold."""
    if row["state"] == "missing":
        return row | {"said": row["why"], "drawn": None, "distance": None}
    return row | {
        "said": effect(row),
        "drawn": Interval.of(row),
        "distance": Interval.standardised(row),
    }


def _claim(
    verdict: Mapping[str, Any],
    claim: Claim,
    evidence: Evidence,
    rows: Collection[dict[str, Any]],
    figures: Mapping[str, FigurePage],
) -> dict[str, Any]:
    """Return what the page of a claim shows."""
    own = [row for row in rows if row["claim"] == verdict["claim"]]
    rank = {"primary": 0, "secondary": 1, "identity": 2}
    primary = next((row for row in own if row["role"] == "primary"), None)
    others = sorted((row for row in own if row["role"] != "primary"), key=lambda row: rank[row["role"]])
    return {
        **verdict,
        "name": verdict["claim"].partition("_")[0],
        "refuted_by": claim.refuted_by,
        "primary": primary,
        "others": others,
        "answered": primary is not None and primary["state"] != "missing",
        "figures": list(_figures_of(claim, evidence, figures)),
        "commands": evidence_commands({verdict["claim"]: claim}, evidence, [], OUTPUT),
    }


def _figures_of(claim: Claim, evidence: Evidence, figures: Mapping[str, FigurePage]) -> Iterator[FigurePage]:
    """Yield the figures of a claim: of its sweeps, and of the paper's figures that it cites."""
    sweeps = [evidence.sweeps[question.evidence] for question in claim.questions.values()]
    computed = {
        one.partition("=")[2] for sweep in sweeps for one in sweep.overrides if one.startswith("experiment=")
    }
    cited = _cited(claim.source)
    for name, figure in figures.items():
        same = _paper(figure.about) == claim.paper and cited & _cited(figure.about)
        if name in computed or same:
            yield figure


def _cited(text: str) -> set[str]:
    """Return the numbers of the figures that a text names."""
    return {
        number for found in re.findall(r"Figures? ([\d, and]+)", text) for number in re.findall(r"\d+", found)
    }


def _paper(text: str) -> str:
    return next((paper for paper in ("Demystifying", "AdaIN") if paper in text), "SWAG")


# --- Figures ----------------------------------------------------------------------------------------------


def _figures(record: str, site: Site) -> Iterator[tuple[str, FigurePage]]:
    """Yield the committed pictures by the experiment whose name theirs begins with."""
    known = sorted(experiments(), key=len, reverse=True)
    words = {name: alt for alt, name in re.findall(r"!\[(.*?)\]\((\S+?)\)", record)}
    owners: dict[str, list[Path]] = {}
    for path in sorted(REFERENCE.iterdir()):
        owner = next((name for name in known if re.match(rf"{name}(_|\.)", path.name)), None)
        if owner is not None:
            owners.setdefault(owner, []).append(path)
    for name, paths in owners.items():
        pictures = tuple(
            (site.original(path), words.get(path.name, path.stem))
            for path in paths
            if path.suffix in (".png", ".jpg")
        )
        if pictures:
            tables = tuple(path for path in paths if path.suffix == ".csv")
            command = typed(entry_of(name) or "measure_activations", ["-m", f"experiment={name}"])
            yield (
                name,
                FigurePage(
                    name,
                    about(f"experiment/{name}").replace("`", ""),
                    command,
                    pictures,
                    tables,
                    _heading(record, paths),
                ),
            )


def _heading(record: str, paths: Collection[Path]) -> str:
    names = {path.name for path in paths}
    found = (title for title, text in sections(record).items() if any(f"({name})" in text for name in names))
    return next(found, "")
