"""The claims ledger: from questions to verdicts."""

from __future__ import annotations

import json
import math
from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
import yaml

from analysis.claims import answers, ledger, numbers
from analysis.claims.answers import _follows, answer
from analysis.claims.definitions import (
    EVIDENCE,
    PICTURED,
    STUDY,
    TRAINED,
    Along,
    ClaimError,
    Compare,
    EvidenceSweep,
    Expect,
    Inquiry,
    Question,
    inquiries,
    read_claims,
    read_evidence,
)
from analysis.claims.numbers import FUSION_ENDS
from analysis.commands import main
from analysis.effects import Sample, crossed, standard_error
from analysis.figures import FIGURES
from analysis.tables import load_tables
from analysis.tables.collect import collect
from experiments import asking
from experiments.asking import compose_cells, judged_again
from swag_repro.errors import StoreError
from tests.analysis.made import Outputs

PAIRS, SEEDS = 6, 2


# --- What ships ---------------------------------------------------------------------------------------


@pytest.mark.slow
def test_all_sweeps_of_the_evidence_compose():
    evidence = read_evidence()
    roles = {
        question.evidence: "primary"
        for claim in read_claims(evidence.sweeps).values()
        for name, question in claim.questions.items()
        if name == claim.primary
    }
    for name, sweep in evidence.sweeps.items():
        assert sweep.figure is None or sweep.figure in FIGURES, name
        if sweep.entry not in (TRAINED, STUDY):
            with asking._composing(sweep.overrides, sweep.entry) as (jobs, composer):
                values = {value: job for job in reversed(jobs) for value in job}  # a cell for each of them
                cells = [
                    asking._cell(job, composer, sweep.entry, frozenset())
                    for job in map(list, {tuple(job) for job in values.values()})
                ]
            weights = [cell.config.get("weights", {}) for cell in cells]  # a transfer takes those of its run
            seeds = {one["seed"] for one in weights if one.get("name") == "random"}
            assert not seeds or len(seeds) >= answers.SEEDS[roles.get(name, "secondary")], (
                f"{name}: too few seeds"
            )


def test_each_claim_is_tested_or_says_why_not_and_each_sweep_serves_one():
    evidence = read_evidence()
    claims = read_claims(evidence.sweeps)
    named = {question.evidence for claim in claims.values() for question in claim.questions.values()}
    assert {part for name in named for part in evidence.together(name)} == set(evidence.sweeps)
    assert {claim.paper for claim in claims.values()} == {"SWAG", "Demystifying", "AdaIN", "control"}
    parts = [name.split("_")[0] for name in claims]
    assert len(set(parts)) == len(parts)


def test_what_judges_measure_is_asked_of_each_judge():
    evidence = replace(read_evidence(), judges=["one", "two"])
    claims = read_claims(evidence.sweeps)
    [name] = [name for name in claims if name.startswith("C14")]
    questions = inquiries(name, claims[name], evidence)
    assert [one.where["judge"] for one in questions] == [["default"], ["vgg16"], *[["one"], ["two"]] * 2]
    assert [one.role for one in questions] == ["primary", *["secondary"] * 5]
    assert len({one.name for one in questions}) == 6


def test_likeness_to_the_content_needs_no_judge_and_is_asked_once():
    evidence = replace(read_evidence(), judges=["one", "two"])
    claims = read_claims(evidence.sweeps)
    asked = inquiries("D3", claims["D3_balance"], evidence)
    assert [one.where["judge"] for one in asked if one.where["statistic"] == ["ssim"]] == [
        ["resnet50_half"]
    ] * 2


def test_a_sweep_may_have_judges_of_its_own():
    evidence = replace(read_evidence(), judges=["one", "two"])
    claims = read_claims(evidence.sweeps)
    assert [one.where["judge"] for one in inquiries("A1", claims["A1_feedforward"], evidence)] == [
        ["adain"]
    ] * 2


# --- Answers --------------------------------------------------------------------------------------------


def made(effect=1.0, noise=0.1, pairs=PAIRS, seeds=SEEDS):
    """Three layers of two networks: the second is `effect` higher, times the layer; `gain` is its negative."""
    generator = np.random.default_rng(0)
    rows = [
        {
            "run_id": f"{network}{seed}", "cell": 0, "pair": f"p{pair}", "seed": seed, "weights.seed": seed,
            "network.name": network, "position": position, "layer": f"l{position}", "statistic": "maximum",
            "judge": None, "value": 8 + pair + (network == "b") * effect * position + generator.normal() * noise,
        }
        for network in "ab" for seed in range(seeds) for pair in range(pairs) for position in (1, 2, 4)
    ]  # fmt: skip
    table = pd.DataFrame(rows)
    return table.assign(gain=-table["value"], relative=table["value"] / 2)


def ask(where=None, **settings):
    given = {"expect": Expect(more_than=0.5), "compare": Compare("network.name", ["b"], ["a"])} | settings
    return Inquiry(
        "claim", "question", "secondary", Question(evidence="e", **given), where or {"layer": ["l1"]}
    )


def test_an_effect_is_the_mean_of_paired_differences_with_its_interval():
    numbers = made()
    found = answer(numbers, ask())
    own = numbers[numbers["layer"] == "l1"].set_index(["network.name", "pair", "seed"])["value"]
    differences = own["b"] - own["a"]
    assert found.mean == pytest.approx(differences.mean())
    effect = crossed(differences)
    assert (found.low, found.high) == pytest.approx((effect.low, effect.high))
    assert (found.pairs, found.seeds, found.agreeing) == (PAIRS, SEEDS, 1.0)
    assert found.run_ids == ("a0", "a1", "b0", "b1")
    error, _ = standard_error(Sample.of(differences))
    assert found.size == pytest.approx((found.mean - 0.5) / error / PAIRS**0.5)


@pytest.mark.parametrize(
    ("expect", "holds"),
    [
        (Expect(more_than=0.5), True), (Expect(more_than=1.5), False), (Expect(less_than=1.5), True),
        (Expect(less_than=0.5), False), (Expect(within=1.5), True), (Expect(within=0.5), False),
    ],
)  # fmt: skip
def test_the_side_of_the_threshold_decides(expect, holds):
    """Six pairs that agree have a one-sided p of 1/64, however close they lie together."""
    found = answer(made(), ask(expect=expect))
    assert (found.p_holds == 0.5**PAIRS) is holds
    assert (found.p_refuted == 0.5**PAIRS) is not holds
    assert (found.size > 0) is holds
    assert found.size_low <= found.size <= found.size_high
    assert found.agreeing == (1.0 if holds else 0.0)


def test_what_noise_hides_is_open_and_needs_more_pairs():
    found = answer(made(effect=0.6, noise=1.0), ask())
    assert min(found.p_holds, found.p_refuted) > 0.025
    assert ledger.pairs_needed(found.size, 0.05) > PAIRS


def test_a_stricter_level_needs_more_pairs():
    assert ledger.pairs_needed(0.5, 0.05) < ledger.pairs_needed(0.5, 0.002)
    assert ledger.pairs_needed(None, 0.05) is None


def test_pairs_that_could_not_reach_the_level_are_not_enough():
    """A large effect on six pairs has an exact two-sided p of 1/32 at least."""
    assert ledger.pairs_needed(1.4, 0.002) == 13
    assert ledger.pairs_needed(1.4, 0.05) == 7


@pytest.mark.parametrize(
    ("by", "expected"), [("change", 3.0), ("mean", 7 / 3), ("rank_correlation", 1.0), ("log2_ratio", None)]
)
def test_numbers_along_a_column_become_one(by, expected):
    numbers = made(noise=0.0).query("`network.name` == 'b'").assign(value=lambda rows: rows["position"] * 1.0)
    asking = ask(
        {"statistic": ["maximum"]}, compare=None, along=Along("position", by), expect=Expect(within=9)
    )
    assert answer(numbers, asking).mean == pytest.approx(2.0 if by == "log2_ratio" else expected)


@pytest.mark.parametrize(("value", "of"), [("gain", -1.0), ("relative", 0.5), ("value", 1.0)])
def test_what_is_compared(value, of):
    assert answer(made(noise=0.0), ask(value=value)).mean == pytest.approx(of)


def test_logarithms_are_compared():
    numbers = made(noise=0.0).assign(value=lambda rows: 2.0 ** (rows["network.name"] == "b"))
    assert answer(numbers, ask(value="log2")).mean == pytest.approx(1.0)


def test_null_is_a_value_that_can_be_compared():
    numbers = made(noise=0.0).replace({"network.name": {"a": None}})
    assert answer(numbers, ask(compare=Compare("network.name", ["b"], [None]))).mean == pytest.approx(1.0)


@pytest.mark.parametrize(
    ("numbers", "asking", "message"),
    [
        (made(), ask({"color": ["red"]}), "should ask for a column of the numbers; found color"),
        (made(), ask({"layer": ["l9"]}), "should ask for a layer that there is; found l9. There are l1, l2, l4"),
        (made(), ask(compare=Compare("network.name", ["c"], ["a"])), "found c. There are a, b"),
        (made(), ask({"statistic": ["maximum"]}), "should say which, or compare them; found several values of position, layer"),
        (made(), ask(compare=None), "several values of network.name"),
        (made(pairs=4), ask(), "should rest on 6 pairs and 2 seeds; found 4 and 2"),
        (made(seeds=1), ask(), "should rest on 6 pairs and 2 seeds; found 6 and 1"),
        (made(seeds=4), replace(ask(), role="primary"), "should rest on 6 pairs and 5 seeds; found 6 and 4"),
        (made().assign(gain=math.nan), ask(value="gain"), "should have a gain for every number"),
    ],
)  # fmt: skip
def test_a_question_without_an_answer_is_refused(numbers, asking, message):
    with pytest.raises(ClaimError, match=message):
        answer(numbers, asking)


def test_a_seed_without_one_of_the_pairs_is_refused():
    numbers = made()
    with pytest.raises(ClaimError, match="every pair under every seed"):
        answer(numbers[~((numbers["pair"] == "p3") & (numbers["seed"] == 1))], ask())


def test_frequencies_of_a_wave():
    rows = np.arange(64)
    wave = 127 + 100 * np.sin(2 * np.pi * rows / 8)
    picture = np.repeat(np.tile(wave, (64, 1))[..., None], 3, axis=2).astype(np.uint8)
    assert numbers.spectral_centroid(picture) == pytest.approx(1 / 8, rel=0.05)
    noise = np.random.default_rng(0).integers(0, 255, (64, 64, 3), dtype=np.uint8)
    assert numbers.spectral_centroid(noise) > 0.3


# --- Files ----------------------------------------------------------------------------------------------

SWEEP = {
    "entry": "measure_activations",
    "scale": "reduced",
    "overrides": ["experiment=smoke", "network=resnet18", "weights.seed=0,1,2,3,4"],
}
QUESTION = {
    "evidence": "smoke",
    "where": {"quantity": "activation", "statistic": "maximum", "smoothing.name": "none"},
    "along": {"column": "position", "by": "log2_ratio"},
    "expect": {"more_than": 1},
}
IMAGES = {f"content/{index}": str(index) * 64 for index in range(7)}
CLAIM = {
    "text": "T", "paper": "SWAG", "source": "S", "refuted_by": "R", "primary": "grows", "questions": {"grows": QUESTION},
}  # fmt: skip


def write(folder, claim=CLAIM, sweep=SWEEP):
    folder.mkdir(exist_ok=True)
    evidence = {"judges": [], "sweeps": {"smoke": sweep}}
    (folder / f"{EVIDENCE}.yaml").write_text(yaml.safe_dump(evidence))
    (folder / "X1_x.yaml").write_text(yaml.safe_dump(claim))
    return folder


def changed(**settings):
    return CLAIM | {"questions": {"grows": QUESTION | settings}}


@pytest.mark.parametrize(
    ("claim", "message"),
    [
        (changed(evidence="none"), "X1_x.grows.evidence. should be one of smoke; found 'none'"),
        (changed(value="size"), "grows.value. should be one of value, log2, gain, relative"),
        (changed(along={"column": "position", "by": "sum"}), "grows.along.by. should be one of"),
        (changed(expect={}), "should expect one of more_than, less_than, within; found none"),
        (changed(expect={"more_than": 1, "within": 1}), "found more_than, within"),
        (changed(compare={"column": "a", "these": [1]}), "found an empty side"),
        (changed(color="red"), "should be a claim"),
        (changed(identity="maybe"), "should be a claim"),
        (changed(identity=True), "should be able to fail; found an identity"),
        (CLAIM | {"primary": "none"}, "X1_x.primary. should be one of grows; found 'none'"),
        (CLAIM | {"primary": None}, "X1_x.primary. should be one of grows; found None"),
        (changed(each={"network.name": ["a", "b"]}), "should have one answer, as the primary question; found one for each network.name"),
        (changed(where={"statistic": "sifid"}), "found one for each judge. Name one judge in where"),
        (CLAIM | {"questions": {"grows": QUESTION, "later": QUESTION | {"expect": {"more_than": 2}}}}, "X1_x.later. should rest on numbers of its own; found those of X1_x.grows"),
        (changed(along={"column": "position", "by": "rank_correlation"}), "what can fail and can hold, within -1 and 1"),
        (changed(where={"statistic": "normalized_entropy"}, along=None, expect={"more_than": -0.1}), "within 0 and 1"),
        (CLAIM | {"questions": {}}, "should have questions, or say why it is untestable; found neither"),
        (CLAIM | {"untestable": "no"}, "found both"),
    ],
)  # fmt: skip
def test_a_claim_that_cannot_be_tested_as_it_stands_is_refused(tmp_path, claim, message):
    folder = write(tmp_path / "claims", claim)
    with pytest.raises(ClaimError, match=message):
        read_claims(read_evidence(folder).sweeps, folder)


def test_an_entry_point_without_numbers_is_refused(tmp_path):
    folder = write(tmp_path / "claims", sweep=SWEEP | {"entry": "search"})
    with pytest.raises(ClaimError, match=r"smoke.entry. should be one of measure_activations"):
        read_evidence(folder)


def test_a_file_that_is_no_yaml_is_refused(tmp_path):
    folder = write(tmp_path / "claims")
    (folder / "X1_x.yaml").write_text("text: [")
    with pytest.raises(ClaimError, match="should be YAML"):
        read_claims(read_evidence(folder).sweeps, folder)


# --- Verdicts -------------------------------------------------------------------------------------------


def loaded(folder, root, overrides=()):
    evidence = read_evidence(folder)
    return ledger.load_ledger(read_claims(evidence.sweeps, folder), evidence, overrides, root)


def test_from_runs_to_a_verdict(tmp_path):
    folder, root = write(tmp_path / "claims"), tmp_path / "out"
    Outputs.of(root, SWEEP["overrides"], SWEEP["entry"], images=IMAGES)
    found = loaded(folder, root)
    [row] = found.questions.to_dict("records")
    # `made` doubles maxima from layer to layer, of which there are five
    assert (row["state"], row["mean"], row["pairs"], row["seeds"]) == ("holds", pytest.approx(4), 7, 5)
    assert (row["role"], row["scale"], row["setting"]) == ("primary", "reduced", "64 px")
    assert found.verdicts["verdict"].tolist() == ["reproduced"]
    assert loaded(folder, root).questions.equals(found.questions)


def test_a_question_needs_no_more_cells_than_it_is_about(tmp_path):
    other = QUESTION | {"where": QUESTION["where"] | {"smoothing.name": "swag"}}
    both = CLAIM | {"questions": {"grows": QUESTION, "grows with SWAG": other}}
    folder, root = write(tmp_path / "claims", both), tmp_path / "out"
    Outputs.of(root, [*SWEEP["overrides"], "smoothing=none"], SWEEP["entry"], images=IMAGES)
    plain, swag = loaded(folder, root).questions.to_dict("records")
    assert (plain["state"], plain["runs"], plain["setting"]) == ("holds", 5, "64 px")
    assert (swag["state"], swag["why"]) == ("missing", "5 of 5 cells missing")


def test_from_collected_tables_to_the_same_verdict(tmp_path):
    folder, root, out = write(tmp_path / "claims"), tmp_path / "out", tmp_path / "results"
    Outputs.of(root, SWEEP["overrides"], SWEEP["entry"], images=IMAGES)
    collect(root, out)
    assert loaded(folder, out).questions.equals(loaded(folder, root).questions)


def test_of_other_seeds_the_verdict_is_not_known_yet(tmp_path):
    folder, root = write(tmp_path / "claims"), tmp_path / "out"
    Outputs.of(root, SWEEP["overrides"], SWEEP["entry"], images=IMAGES)
    found = loaded(folder, root, ["weights.seed=6,7"])
    [row] = found.questions.to_dict("records")
    assert (row["state"], row["why"]) == ("missing", "4 of 4 cells missing")
    assert found.verdicts["verdict"].tolist() == ["not testable yet"]
    assert "weights.seed=6,7" in found.entries[0].commands[0]


@pytest.mark.parametrize(
    ("state", "scale", "verdict"),
    [
        ("holds", "reduced", "reproduced"), ("holds", "toy", "reproduced"), ("open", "full", "open"),
        ("refuted", "reduced", "not reproduced"), ("refuted", "toy", "open"), ("missing", "full", "not testable yet"),
    ],
)  # fmt: skip
def test_the_primary_answer_decides_and_a_toy_refutes_nothing(state, scale, verdict):
    claims = read_claims(read_evidence().sweeps)
    testable = next(claim for claim in claims.values() if claim.questions)
    assert ledger.verdict(testable, {"state": state, "scale": scale}) == verdict
    assert ledger.verdict(replace(testable, untestable="no"), {}) == "not testable here"


def entries(*, primary=1, p=0.01, others=0):
    """Return entries with answers: primary ones, of which the first has this p, and secondary ones."""
    alone = replace(answer(made(), ask()), p_holds=p / 2, p_refuted=1 - p / 2)
    entry = ledger.Entry(replace(ask(), role="primary"), alone, None, (), None, "reduced")
    unsure = replace(entry, answer=replace(alone, p_holds=0.5, p_refuted=0.5))
    secondary = replace(entry, asked=ask())
    return entry, *[unsure] * (primary - 1), *[secondary] * others


def test_primary_answers_are_corrected_for_each_other_alone():
    """An effect that holds beside a hundred secondary ones may not hold beside twenty primary ones (Holm)."""
    claims = {"claim": read_claims(read_evidence().sweeps)["C08_accuracy"]}
    beside = ledger.Ledger(claims, entries(others=100), ()).questions["state"]
    assert set(beside) == {"holds"}
    among = ledger.Ledger(claims, entries(primary=20, others=1), ()).questions["state"]
    assert among.tolist() == [*["open"] * 20, "holds"]


def networks_compared():
    """Yield the claims whose primary question compares networks."""
    for name, claim in read_claims(read_evidence().sweeps).items():
        question = claim.questions.get(claim.primary)
        if (
            question is not None
            and question.compare is not None
            and question.compare.column == "network.name"
        ):
            yield name


@pytest.mark.parametrize("swapped", [False, True])
@pytest.mark.parametrize("name", list(networks_compared()))
def test_swapped_names_of_networks_turn_the_verdict(name, swapped):
    """Where one side is as far on as the claim says, the claim holds; with the names swapped it is refuted."""
    evidence = read_evidence()
    claim = read_claims(evidence.sweeps)[name]
    [asked] = [one for one in inquiries(name, claim, evidence) if one.role == "primary"]
    question, compare = asked.question, asked.question.compare
    [(kind, threshold)] = question.expect.given.items()
    above = (abs(threshold) + 1) * (1 if kind == "more_than" else -1)
    sides = {
        network: 0.0 if network in compare.against else above
        for network in [*compare.these, *compare.against]
    }
    if swapped:
        sides = {network: above - far for network, far in sides.items()}
    table = pd.DataFrame(
        {
            "run_id": network, "pair": pair, "seed": seed, "weights.seed": seed, "network.name": network,
            **{column: values[0] for column, values in asked.where.items()},
            "position": position, "value": 2.0 ** (far * position if question.along else far), "gain": far,
        }
        | ({"value": 4 + far * position} if question.along and question.along.by == "change" else {})
        for network, far in sides.items() for pair in range(14) for seed in range(5) for position in (0, 1)[bool(question.along) - 1 :]
    )  # fmt: skip
    entry = ledger.Entry(asked, answer(table, asked), None, (), None, "reduced")
    [verdict] = ledger.Ledger({name: claim}, (entry,), ()).verdicts["verdict"]
    assert verdict == ("not reproduced" if swapped else "reproduced")


@pytest.fixture
def written(tmp_path, monkeypatch):
    """The folder of a ledger with one answer, that of `CLAIM`."""
    folder, root, out = write(tmp_path / "claims"), tmp_path / "out", tmp_path / "results"
    Outputs.of(root, SWEEP["overrides"], SWEEP["entry"], images=IMAGES)
    monkeypatch.setattr(read_evidence, "__defaults__", (folder,))
    monkeypatch.setattr(read_claims, "__defaults__", (folder,))
    assert main(["claims", "--output", str(root), "--results", str(out)]) == 0
    return out / "claims"


# --- Pictures -------------------------------------------------------------------------------------------


def fusions(root, weights="[1,0],[0.5,0.5],[0,2]"):
    overrides = [
        "experiment=claims_style", "objective=bn_poly,linear_gaussian", "arm=plain", "weights.seed=0,1",
        f"objective.style.weights={weights}",
    ]  # fmt: skip
    Outputs.of(root, overrides)
    sweep, asked = EvidenceSweep("stylize", overrides=overrides), {"objective.name", *FUSION_ENDS}
    found = numbers.load_numbers(sweep, ["vgg16"], [], root, asked)
    return found.numbers, list(found.tables.values())


def test_fused_pictures_are_compared_with_those_of_either_loss_alone(tmp_path):
    numbers, [data] = fusions(tmp_path)
    assert set(numbers["fusion"].dropna()) == {0, 0.5, 1}
    for statistic, end in FUSION_ENDS.items():
        own = numbers[numbers["statistic"] == statistic]
        assert len(own) == len(data.pairs)
        assert (own[own["fusion"] == end]["value"] == 0).all()
        assert (own[own["fusion"] != end]["value"] > 0.1).all()  # pictures of noise
    one, other = (
        numbers[
            (numbers["statistic"] == statistic) & (numbers["fusion"] == 1 - end)
        ].sort_values(["objective.name", "pair", "seed"])["value"].to_numpy()
        for statistic, end in FUSION_ENDS.items()
    )  # fmt: skip
    np.testing.assert_array_equal(one, other)  # the distance is the same in both directions
    row = data.pairs.iloc[0]
    cells = data.runs[data.runs["run_id"] == row["run_id"]]
    alike = data.runs[
        (data.runs["objective.name"] == cells["objective.name"].item())
        & (data.runs["weights.seed"] == cells["weights.seed"].item())
    ]
    first = alike[alike["objective.style.weights"] == "[1, 0]"].index[0]
    second = alike[alike["objective.style.weights"] == "[0, 2]"].index[0]
    pixels = [data.picture(cell, row["image"]).astype(float) / 255 for cell in (first, second)]
    expected = np.sqrt(((pixels[0] - pixels[1]) ** 2).mean())
    found = numbers[
        (numbers["cell"] == second)
        & (numbers["statistic"] == "distance_to_first")
        & (numbers["pair"] == f"{row['content']} × {row['style']}")
    ]
    assert found["value"].item() == pytest.approx(expected)


def test_pictures_gain_on_the_photograph_wherever_they_start(tmp_path):
    overrides = ["experiment=claims_style", "weights.seed=0", "arm=plain,recolouring"]
    Outputs.of(tmp_path, [*overrides, "measures=vgg16"])
    sweep = EvidenceSweep("stylize", overrides=overrides)
    found = numbers.load_numbers(sweep, ["vgg16"], [], tmp_path, {"arm.name"})
    data = found.tables["vgg16"]
    measured = data.measures.assign(arm=data.measures["cell"].map(data.runs["arm.name"]))
    measured = measured[measured["statistic"] == "style_distance"].set_index(["content", "style"])
    photographs = measured[(measured["arm"] == "plain") & (measured["iteration"] == 0)]["value"]
    pictures = measured[(measured["arm"] == "recolouring") & measured["iteration"].isna()]["value"]
    rows = found.numbers[
        (found.numbers["statistic"] == "style_distance") & (found.numbers["arm.name"] == "recolouring")
    ]
    gains = rows.set_index("pair")["gain"]
    expected = np.log2(photographs / pictures)
    assert len(gains) == len(expected) > 3
    np.testing.assert_allclose(sorted(gains), sorted(expected))


def test_pictures_are_not_in_tables_alone(tmp_path):
    root, out = tmp_path / "out", tmp_path / "results"
    asked = ["experiment=claims_style", "network=resnet50", "weights.seed=0", "arm=plain"]
    Outputs.of(root, asked, "stylize")
    collect(root, out)
    data = load_tables(asked, out, "stylize")
    with pytest.raises(StoreError, match="only their tables"):
        data.picture(0, data.pairs["image"].iloc[0])


def test_a_fusion_without_one_of_its_ends_has_no_distance_to_it(tmp_path):
    numbers, _ = fusions(tmp_path, "[1,0],[0.5,0.5]")
    assert "distance_to_first" in set(numbers["statistic"])
    assert "distance_to_last" not in set(numbers["statistic"])


@pytest.mark.slow
@pytest.mark.parametrize(
    "name",
    [
        "A1_feedforward", "A2_feedforward", "A3_feedforward", "A4_feedforward", "D2_depth", "D4_fusion",
        "E1_overfitting", "K3_transformations",
    ],
)  # fmt: skip
def test_runs_of_its_sweeps_answer_every_question_of_a_claim(name, tmp_path):
    """Where pictures decide a claim, no answer is missing because of its wording."""
    evidence = read_evidence()
    evidence = replace(
        evidence,
        judges=["vgg16"],
        sweeps={key: sweep for key, sweep in evidence.sweeps.items() if sweep.entry in PICTURED},
    )
    claim = read_claims(read_evidence().sweeps)[name]
    asking = {key: one for key, one in claim.questions.items() if one.evidence in evidence.sweeps}
    for one in asking.values():
        one.each = {
            key: [one for one in values if one != "sifid"] for key, values in one.each.items()
        }  # the made runs have no SIFID
    claim = replace(claim, questions=asking)
    pairs = [(f"content{index}", f"painting/{index}") for index in range(PAIRS)]
    for part in {part for one in asking.values() for part in evidence.together(one.evidence)}:
        sweep, [judge] = evidence.sweeps[part], evidence.judges_of(part)
        Outputs.of(tmp_path, [*sweep.overrides, f"measures={judge}"], sweep.entry, pairs=pairs)
    found = ledger.load_ledger({name: claim}, evidence, [], tmp_path)
    whys = found.questions["why"].dropna()
    assert whys.str.contains("should rest on 6 pairs and 5 seeds").all(), whys.tolist()  # a primary question
    assert len(found.questions) >= len(asking)


# --- Command --------------------------------------------------------------------------------------------


def test_without_runs_every_verdict_names_what_fills_it(tmp_path, capsys):
    assert main(["claims", "D3", "--explain", "--output", str(tmp_path)]) == 0
    printed = capsys.readouterr().out
    assert "D3_balance: not testable yet" in printed
    assert "swag stylize -m experiment=claims_vgg" in printed


def test_before_anything_was_computed_all_runs_are_missing(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    assert main(["claims", "D3", "--explain"]) == 0
    assert "swag stylize -m experiment=claims_vgg" in capsys.readouterr().out
    assert main(["figure", "fig3"]) == 1
    assert "swag measure -m experiment=fig3" in capsys.readouterr().err
    assert not list(tmp_path.iterdir())
    for command in (["runs"], ["collect"], ["figure", "fig3", "--output", "mine"]):
        assert main(command) == 1
        assert "Nothing was computed into it yet" in capsys.readouterr().err


@pytest.mark.parametrize(("there", "status"), [(False, 1), (True, 0)])
def test_a_ledger_is_never_replaced_by_one_without_an_answer(written, tmp_path, capsys, there, status):
    """A missing or empty folder of runs replaces no ledger."""
    before = (written / "claims.json").read_bytes()
    if there:
        (tmp_path / "none").mkdir()
    capsys.readouterr()
    assert main(["claims", "--output", str(tmp_path / "none"), "--results", str(written.parent)]) == status
    said = capsys.readouterr()
    assert (written / "claims.json").read_bytes() == before
    assert ("Nothing was written" in said.out) if there else (f"no folder {tmp_path / 'none'}" in said.err)


def test_commands_are_those_of_all_judges(capsys):
    assert (
        main(
            [
                "claims",
                "C10",
                "--commands",
                "--judge",
                "vgg16",
                "--judge",
                "resnet50_half",
                "weights.seed=7,8",
            ]
        )
        == 0
    )
    first, second = capsys.readouterr().out.splitlines()
    assert first.startswith("swag stylize")
    assert first.endswith("weights.seed=7,8 measures=vgg16")
    assert second.startswith("swag judge")
    assert second.endswith("weights.seed=7,8 measures=resnet50_half")


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--judge", "nonsense"], "`--judge` should be one of"),
        (["--config-dir", "nowhere"], "`--config-dir` should be a folder of settings; found nowhere"),
        (["images.sise=3"], "images.sise"),
        (["name=[1"], "`command` should be key=value"),
    ],
)
def test_what_no_sweep_takes_is_refused(tmp_path, capsys, arguments, message):
    assert (
        main(["claims", "C01", *arguments, "--output", str(tmp_path), "--results", str(tmp_path / "out")])
        == 1
    )
    assert message in capsys.readouterr().err
    assert not (tmp_path / "out").exists()


def test_an_unknown_claim_is_refused(capsys):
    assert main(["claims", "C99"]) == 1
    assert "should be some of A1_feedforward" in capsys.readouterr().err


def test_too_few_pairs_give_no_verdict_and_stop_no_other(tmp_path, capsys):
    root, out = tmp_path / "out", tmp_path / "results"
    sweep = read_evidence().sweeps["statistics_dial"]
    Outputs.of(root, sweep.overrides, sweep.entry)  # the runs measured three images
    asked = ["C01", "D3", "--explain", "network=resnet50", "--output", str(root), "--results", str(out)]
    assert main(["claims", *asked]) == 0
    printed = capsys.readouterr().out
    assert "should rest on 6 pairs and 2 seeds; found 3 and 3" in printed
    assert "D3_balance: not testable yet" in printed
    assert not out.exists(), "without an answer nothing is written"


def test_what_is_written_says_the_same(tmp_path, monkeypatch, capsys):
    folder, root, out = write(tmp_path / "claims"), tmp_path / "out", tmp_path / "results"
    Outputs.of(root, SWEEP["overrides"], SWEEP["entry"], images=IMAGES)
    monkeypatch.setattr(read_evidence, "__defaults__", (folder,))
    monkeypatch.setattr(read_claims, "__defaults__", (folder,))
    assert main(["claims", "--output", str(root), "--results", str(out)]) == 0
    assert "X1_x" in capsys.readouterr().out
    table = pd.read_csv(out / "claims" / "claims.csv")
    plain = json.loads((out / "claims" / "claims.json").read_text())
    assert table["state"].tolist() == [row["state"] for row in plain["questions"]] == ["holds"]
    assert "| X1_x | **reproduced** | reduced | T |" in (out / "claims" / "claims.md").read_text()
    assert (out / "claims" / "claims.png").stat().st_size > 10_000
    assert main(["explain", str(out / "claims" / "claims.png"), "--output", str(root)]) == 0
    assert main(["claims", "X1", "--output", str(root), "--results", str(out)]) == 0
    own = (out / "claims" / "X1_x.csv").read_text()
    assert own == (out / "claims" / "claims.csv").read_text(), "by the same runs, in a file of its own"


def test_settings_of_several_types_are_compared():
    """A table of runs holds them as text."""
    numbers = made(noise=0.0).replace({"network.name": {"a": "1", "b": "peak/2"}})
    assert answer(numbers, ask(compare=Compare("network.name", ["peak/2"], [1]))).mean == pytest.approx(1.0)


# --- Quickly --------------------------------------------------------------------------------------------

JUDGED = ["experiment=claims_style", "network=resnet50,small_residual", "weights.seed=0,1", "arm=plain,even"]


def test_cells_of_another_judge_are_those_that_hydra_composes():
    cells = compose_cells([*JUDGED, "measures=vgg16"], "stylize")
    again = judged_again(cells, named := [*JUDGED, "measures=resnet50_half"], "stylize")
    composed = compose_cells(named, "stylize")
    assert again == composed
    assert repr(again) == repr(composed), "types, order of keys"
    assert {cell.config["measures"]["network"]["name"] for cell in again} == {"resnet50_half"}


def test_where_cells_have_judges_of_their_own_all_are_composed():
    swept = [
        *JUDGED,
        "network=resnet50",
        "weights.seed=0",
        "arm=plain",
        "network@measures.network=vgg16,resnet34",
    ]
    cells = compose_cells([*swept, "measures=vgg16"], "stylize")
    named = [*swept, "measures=resnet50_half"]
    assert repr(judged_again(cells, named, "stylize")) == repr(compose_cells(named, "stylize"))


@pytest.mark.parametrize(
    "values", [[1, 1, 2, 2], [1, 2, 2, 2], [None, np.nan, 2, 2], [None, 1, 2, 2], list("aabb"), list("abbb")]
)
def test_what_follows_from_groups_is_as_pandas_has_it(values):
    groups, column = np.array([0, 0, 1, 1]), pd.Series(values)
    rows = pd.DataFrame({"group": groups, "value": column})
    assert _follows(column, groups) is (len(rows.drop_duplicates()) == 2)
