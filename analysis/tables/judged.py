"""Which judge measured a stylisation: with the settings asked for, and the pictures that are there today."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Collection, Mapping
from typing import Any

from analysis.tables.index import Index
from analysis.tables.runs import key
from experiments.science import settings_of_judge, wants_judge
from swag_repro.runs.records import RunRecord

JUDGE = "judge"
"""The experiment whose runs measure pictures of others."""

MEASURES = (
    "luminance_wasserstein", "style_distance", "sliced_wasserstein", "sifid", "cfsd", "ssim", "lpips",
)  # fmt: skip
"""The statistics of a judge that was not optimised."""

TERMS = ("style_term", "content_term")
"""Those of `measures=adain`: of a loss itself, in units of the pair."""


def judgements(index: Index, stylizations: Collection[str]) -> dict[str, list[RunRecord]]:
    """The finished judgements of each of these stylisations, by its run id, oldest first.

    Raises:
        StoreError: An identity can't be read.
    """
    found: dict[str, list[RunRecord]] = defaultdict(list)
    records = index.judgements(JUDGE, stylizations)
    for record in sorted(records, key=lambda record: (record.status.started_at, record.path.name)):
        found[record.identity.config["stylization"]].append(record)
    return found


def judge_of(
    config: Mapping[str, Any], stylization: RunRecord, judges: Mapping[str, list[RunRecord]]
) -> RunRecord | None:
    """The newest judgement of a stylisation by the judge of this config; None where there is none.

    A stylisation of before schema 3 is its own judge: its rows hold its measures.
    """
    if not wants_judge(config):
        return None
    wanted = key(settings_of_judge(config))
    candidates = [stylization, *judges.get(stylization.path.name, [])]
    fitting = [
        record
        for record in candidates
        if key(record.identity.config.get("measures")) == wanted and _saw(record, stylization)
    ]
    return fitting[-1] if fitting else None


def _saw(judge: RunRecord, stylization: RunRecord) -> bool:
    """Whether the pictures that were judged are those that are there."""
    files = stylization.status.files or {}
    return judge is stylization or all(
        files.get(name) == sha256 for name, sha256 in judge.identity.images.items()
    )


def has_random_weights(judge: RunRecord) -> bool:
    """Whether settings alone make the judge's weights: then no file's digest tells them."""
    weights = judge.identity.weights
    return weights is None or weights.endswith(" None")
