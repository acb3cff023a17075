"""How well automatic measures rank pictures as people do."""

from __future__ import annotations

import json
import math

import numpy as np
import pandas as pd
import pytest
from PIL import Image

from analysis.commands import main
from analysis.study.answers import ANSWERS
from analysis.study.calibrating import DUELS, Ratings, calibrate, read_ratings
from analysis.study.design import STUDIES, StudyError, read_study
from experiments import measure_pictures
from swag_repro.errors import DataError, ImageError
from tests.analysis.made import PAIRS, Outputs
from tests.analysis.test_study import replies


def rated(pairs=20, pictures=5, agreement=1.0, seed=0):
    """Scores and a distance whose correlation, of normal numbers, is `agreement`."""
    rng, rows = np.random.default_rng(seed), []
    for pair in range(pairs):
        for picture in range(pictures):
            quality = rng.normal()
            distance = -agreement * quality + math.sqrt(1 - agreement**2) * rng.normal()
            rows.append((f"{pair}/{picture}.png", f"content {pair}", "style", quality, distance))
    return pd.DataFrame(rows, columns=["picture", "content", "style", "score", "value"])


def write(folder, table, statistic="style_distance", name="ratings"):
    """A file of ratings, and the measures beside it."""
    table.drop(columns="value").to_csv(folder / f"{name}.csv", index=False)
    beside = table[["picture", "value"]].assign(statistic=statistic, definition="vgg16(pretrained)")
    beside.to_csv(folder / f"{name}.measures.csv", index=False)
    return folder / f"{name}.csv"


@pytest.mark.parametrize(("statistic", "tau"), [("style_distance", 1), ("ssim", -1)])
def test_a_distance_agrees_if_it_falls_and_a_likeness_if_it_grows(statistic, tau, tmp_path):
    [row] = calibrate(read_ratings(write(tmp_path, rated(), statistic))).to_dict("records")
    assert row["tau"] == tau
    assert (row["duels"], row["pairs"], row["raters"]) == (20 * 10, 20, 0)


def test_intervals_hold_the_true_correlation_as_often_as_they_say(tmp_path):
    """Of normal numbers τ is 2/π · arcsin of the correlation; nineteen in twenty: of 50, at least 44."""
    truth, held = 2 / math.pi * math.asin(0.6), 0
    for seed in range(50):
        [row] = calibrate(read_ratings(write(tmp_path, rated(agreement=0.6, seed=seed)))).to_dict("records")
        held += row["low"] <= truth <= row["high"]
    assert held >= 44


def test_the_column_of_scores_can_be_chosen(tmp_path, capsys):
    """AST-IQAD has three: content preservation, style resemblance, overall vision."""
    path = write(tmp_path, rated().rename(columns={"score": "OV"}))
    given = ["--results", str(tmp_path / "results")]
    assert main(["calibrate", str(path), *given]) == 1
    assert "should have columns left, right and choice, or picture and score" in capsys.readouterr().err
    assert main(["calibrate", str(path), "--score", "OV", *given]) == 0
    assert (
        "style_distance by vgg16(pretrained): 1.00 [1.00, 1.00]; 200 comparisons" in capsys.readouterr().out
    )
    assert pd.read_csv(tmp_path / "results/calibration/ratings.csv")["tau"].tolist() == [1]


def choices(rng, raters=8, pairs=10):
    values = {f"{pair}{side}.png": rng.normal() for pair in range(pairs) for side in "ab"}
    rows = []
    for pair in range(pairs):
        better = "left" if values[f"{pair}a.png"] < values[f"{pair}b.png"] else "right"
        rows += [
            (f"{pair}a.png", f"{pair}b.png", f"c{pair}", "s.png", better, rater) for rater in range(raters)
        ]
    table = pd.DataFrame(rows, columns=["left", "right", "content", "style", "choice", "rater"])
    beside = pd.DataFrame(
        {"picture": values.keys(), "statistic": "sifid", "definition": "x", "value": values.values()}
    )
    return table, beside


def test_choices_and_ties_are_read(tmp_path):
    table, beside = choices(np.random.default_rng(0))
    table.loc[table["rater"] < 4, "choice"] = "tie"
    table.to_csv(tmp_path / "own.csv", index=False)
    beside.to_csv(tmp_path / "own.measures.csv", index=False)
    [row] = calibrate(read_ratings(tmp_path / "own.csv")).to_dict("records")
    assert row["tau"] == 0.5
    assert (row["pairs"], row["raters"], row["unmeasured"]) == (10, 8, 0)
    assert row["low"] < 0.2  # half of the raters see no difference, and raters are a sample
    beside[1:].to_csv(tmp_path / "own.measures.csv", index=False)
    [row] = calibrate(read_ratings(tmp_path / "own.csv")).to_dict("records")
    assert row["unmeasured"] == 8


def test_the_columns_of_vist_are_read(tmp_path):
    table, beside = choices(np.random.default_rng(0))
    names = {
        "left": "system_a_image", "right": "system_b_image", "style": "ref_image", "rater": "annotator_id",
        "content": "prompt",
    }  # fmt: skip
    winner = table["choice"].map({"left": "one", "right": "other"})
    winner[:8] = "tie"
    vist = table.rename(columns=names).drop(columns="choice")
    vist = vist.assign(winner=winner, system_a="one", system_b="other", style="in words")
    vist.to_parquet(tmp_path / "test.parquet")
    beside.to_csv(tmp_path / "test.measures.csv", index=False)
    [row] = calibrate(read_ratings(tmp_path / "test.parquet")).to_dict("records")
    assert (row["tau"], row["pairs"], row["raters"]) == (0.9, 10, 8)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda path: path.with_name("ratings.measures.csv").unlink(), "measure_pictures"),
        (lambda path: path.write_bytes(b""), "should be a table"),
        (
            lambda path: path.write_text("picture,style,score\na,b,good\n"),
            "should be a number for each picture",
        ),
        (
            lambda path: path.write_text("left,right,choice\na,b,up\n"),
            "should be left, right or tie; found up",
        ),
        (lambda path: path.unlink(), "should be a table"),
    ],
)
def test_bad_ratings_are_one_message(change, message, tmp_path):
    path = write(tmp_path, rated())
    change(path)
    with pytest.raises(StudyError, match=message):
        read_ratings(path)


def test_one_pair_by_one_rater_has_no_interval():
    duels = pd.DataFrame([("a", "b", "p", "r", 1.0)], columns=DUELS)
    numbers = pd.DataFrame(
        {"picture": ["a", "b"], "statistic": "sifid", "definition": None, "value": [0.0, 1.0]}
    )
    [row] = calibrate(Ratings(duels, numbers)).to_dict("records")
    assert row["tau"] == 1
    assert "low" not in row


def test_answers_to_a_study_meet_what_judges_measured(tmp_path, capsys):
    output = tmp_path / "outputs"
    swept = ("experiment=fig1", "network=vgg19,resnet50", "weights=random", "smoothing=none,softmax")
    Outputs.of(output, swept, pairs=PAIRS[:3])
    given = ["--output", str(output), "--results", str(tmp_path / "results")]
    assert main(["study", "build", *swept, "compare=smoothing", "--raters", "3", *given]) == 0
    folder = output / STUDIES / "fig1"
    study = read_study(folder)
    (folder / ANSWERS).mkdir()
    for rater, plan in study.raters.items():
        chosen = ["left" if trial.options(study)[0].arm != "smoothing none" else "right" for trial in plan]
        (folder / ANSWERS / f"{rater}.json").write_text(json.dumps(replies(study, rater, chosen)))
    capsys.readouterr()
    assert main(["calibrate", "fig1", *given]) == 0
    found = pd.read_csv(tmp_path / "results/calibration/fig1.csv")
    assert {"luminance_wasserstein", "style_distance", "ssim"} <= set(found["statistic"])
    assert set(found["pairs"]) <= {0, 3}  # AlexNet of LPIPS is not here
    assert found["tau"].dropna().between(-1, 1).all()
    assert "luminance_wasserstein by " in capsys.readouterr().out


def noise(folder, name, blur):
    rng = np.random.default_rng(3)
    pixels = rng.integers(0, 256, (64, 64, 3)).astype(np.uint8)
    image = Image.fromarray(pixels)
    image.resize((64 // blur, 64 // blur)).resize((64, 64)).save(folder / name)


def test_pictures_of_others_are_measured_and_calibrated(tmp_path, monkeypatch):
    for number, blur in enumerate((1, 2, 4, 8)):
        noise(tmp_path, f"{number}.png", blur)
    noise(tmp_path, "style.png", 1)
    noise(tmp_path, "content.png", 8)
    rows = [(f"{number}.png", "content.png", "style.png", -number) for number in range(4)]
    table = pd.DataFrame(rows, columns=["picture", "content", "style", "score"])
    table.to_csv(tmp_path / "ratings.csv", index=False)
    monkeypatch.setattr("sys.argv", ["measure_pictures", str(tmp_path / "ratings.csv")])
    assert measure_pictures.main() == 0
    beside = pd.read_csv(tmp_path / "ratings.measures.csv")
    assert len(beside) == 4 * 7 + 1
    assert beside.set_index("statistic").loc["art_fid", "reason"] == "it needs LPIPS of all pictures"
    wanted = measure_pictures.pictures_of(tmp_path / "ratings.csv")
    known = [{"statistic": "lpips", "value": 0.5} for _ in wanted]
    row = measure_pictures.art_fid_of(measure_pictures.judge("vgg16"), tmp_path, wanted, known)
    assert row["reason"] == "it needs more of each than 512 features: 4 pictures and 1 styles"
    assert (
        beside.loc[(beside["picture"] == "0.png") & (beside["statistic"] == "style_distance"), "value"].item()
        == 0
    )
    found = calibrate(read_ratings(tmp_path / "ratings.csv")).set_index("statistic")["tau"]
    assert (found["style_distance"], found["ssim"]) == (1, -1)
    table.assign(picture="lost.png").to_csv(tmp_path / "ratings.csv", index=False)
    with pytest.raises(ImageError, match=r"lost\.png"):
        measure_pictures.main()
    table.drop(columns="style").to_csv(tmp_path / "ratings.csv", index=False)
    with pytest.raises(DataError, match="and style among its columns"):
        measure_pictures.main()
