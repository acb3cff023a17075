"""The ledger as a figure: the distance of each answer from its threshold, one row for each claim."""

from __future__ import annotations

from dataclasses import dataclass
from textwrap import fill

import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from analysis.claims.ledger import Ledger
from analysis.drawing import style
from analysis.tables import Tables, together

ANSWER_COLORS = {"holds": "#009E73", "refuted": "#D55E00", "open": "#7F7F7F"}
"""Colours of the states of answers."""

ANSWER_MARKERS = {"holds": "o", "refuted": "X", "open": "D"}

_ROW, QUESTION, _WORDS = 0.34, 0.05, 0.62
"""Heights in inches: a claim, each of its questions, and the words around all."""

STATEMENT_LETTERS = 66
"""Letters in a line of a statement."""

FARTHEST = 30.0
"""Largest distance in standard errors of one pair; anything farther off is drawn here."""

CAPTION = (
    "Each mark is one answer: its distance from the threshold that the claim was given beforehand, in "
    "standard errors of one pair; right of the line is what the claim says. The large mark is the primary "
    "question's, which decides (Holm's correction over all primary questions); the small ones are secondary, "
    "uncorrected. Bars: 95 % intervals (Student over contents, styles and seeds)."
)


@dataclass(frozen=True)
class Drawn:
    """The data of the figure.

    Attributes:
        ledger: The whole ledger.
    """

    ledger: Ledger

    @property
    def tables(self) -> Tables:
        """The tables that say where the figure comes from, as one."""
        return together(self.ledger.tables)

    @property
    def written(self) -> dict[str, pd.DataFrame]:
        """The table of answers, which is written beside the figure."""
        return {"": self.ledger.questions}


def draw_ledger(ledger: Ledger) -> Figure:
    """Draw the claims that have answers, in the order of the papers; each answer with its interval."""
    questions = ledger.questions
    known = questions[questions["state"] != "missing"]
    shown = ledger.verdicts[ledger.verdicts["claim"].isin(known["claim"])]
    counts = known["claim"].value_counts()
    heights = [max(_ROW, 0.14 + QUESTION * counts[claim]) for claim in shown["claim"]]
    caption = style.caption_lines(CAPTION)
    with style.figure(sum(heights) + _WORDS, caption=caption, data=Drawn(ledger)) as (drawn, [part]):
        words, axes = part.subplots(
            len(shown), 2, sharex="col", squeeze=False, height_ratios=heights, width_ratios=[1.1, 1]
        ).T
        for said, axis, (_, row) in zip(words, axes, shown.iterrows(), strict=True):
            own = known[known["claim"] == row["claim"]]
            _draw(axis, own.sort_values("role", kind="stable"))
            name = str(row["claim"]).split("_")[0]
            statement = fill(f"{name}, {row['verdict']} ({row['scale']}): {row['text']}", STATEMENT_LETTERS)
            said.text(0, 0.5, statement, va="center", fontsize=6.5, parse_math=False)
            said.axis("off")
        axes[-1].set_xlabel("distance from the threshold, standard errors of one pair")
        axes[-1].set_xscale("symlog", linthresh=1, linscale=1.5)
        axes[-1].set_xlim(-FARTHEST, FARTHEST)
        axes[-1].set_xticks([-10, -1, 0, 1, 10], ["−10", "−1", "0", "1", "10"])
        _add_legend(axes[0])
    return drawn


def _draw(axis: Axes, answers: pd.DataFrame) -> None:
    axis.axvline(0, color="0.3", linewidth=0.8)
    for place, (_, answer) in enumerate(answers.iterrows()):
        size, low, high = (
            min(max(float(answer[end]), -FARTHEST), FARTHEST) for end in ("size", "size_low", "size_high")
        )
        color = ANSWER_COLORS[answer["state"]]
        large = answer["role"] == "primary"
        axis.plot([low, high], [place, place], color=color, linewidth=1.6 if large else 0.8)
        axis.plot(size, place, ANSWER_MARKERS[answer["state"]], color=color, markersize=5 if large else 2.5)
    axis.set_ylim(len(answers) - 0.3, -0.7)
    axis.set_yticks([])
    axis.grid(visible=False, axis="y")


def _add_legend(axis: Axes) -> None:
    handles = [
        Line2D([], [], color=color, marker=ANSWER_MARKERS[state], linestyle="none", markersize=4, label=state)
        for state, color in ANSWER_COLORS.items()
    ]
    axis.legend(handles=handles, loc="lower center", bbox_to_anchor=(0.5, 1.0), ncols=3)
