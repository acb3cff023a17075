"""The benchmark of time to a good picture: what it counts, and that what is there is kept."""

import math
import re

import pandas as pd
import pytest
import torch

from analysis.figures import quality as figure
from experiments import benchmark
from experiments.benchmarks.engine import Setup, Textbook, architecture_of
from experiments.benchmarks.quality import AUTHORS, BATCH, TEXTBOOK, VARIANTS, Quality, Question
from experiments.benchmarks.racing import Judge, race
from experiments.benchmarks.reaching import first_reached, reached
from swag_repro.errors import SettingError

SMALL = ("network=small_no_shortcut", "weights=trained", "measures=small_before_relu", "compute.threads=1")


def curve(variant, *points, loop=2.0):
    """Points of closures, seconds, style, content and scale."""
    columns = ["closures", "seconds", "style", "content", "scale"]
    frame = pd.DataFrame(points, columns=columns, dtype=float)
    return frame.assign(
        variant=variant,
        pair="a__b",
        cpu_seconds=2 * frame["seconds"],
        loop_seconds=loop,
        loop_cpu_seconds=2 * loop,
    )


AUTHORS_CURVE = curve(AUTHORS, (0, 0, 1, 0, 1), (10, 10, 0.6, 0.1, 1), (20, 20, 0.5, 0.2, 1), loop=1.5)


def test_a_target_is_first_reached_between_points():
    assert first_reached([0, 2, 4], [1.0, 0.8, 0.4], 0.6) == pytest.approx(3)
    assert first_reached([0, 2, 4], [1.0, math.inf, 0.4], 0.6) == 4  # nothing is known of what lies between
    assert first_reached([0, 2], [1.0, 0.8], 0.6) == math.inf


def test_variants_are_compared_with_the_loop_that_ran_beside_them():
    ours = curve("ours", (0, 0, 1, 0, 1), (5, 4, 0.5, 0.1, 1), (10, 8, 0.3, 0.4, 1))
    found = reached(pd.concat([AUTHORS_CURVE, ours]), "seconds").set_index("variant")
    assert found["seconds_style"].to_dict() == {AUTHORS: 20, "ours": 4, TEXTBOOK: 30}
    # 20 closures of the authors' take the loop 40 s at the pace it had beside ours: two seconds each.
    assert found.loc["ours", "times_loop_style"] == pytest.approx(10)
    # By this engine the authors' settings took 20 s where the loop would have taken 30.
    assert found.loc["ours", "times_settings_style"] == pytest.approx(10 * 20 / 30)
    assert found.loc[[AUTHORS, TEXTBOOK], "times_loop_style"].tolist() == pytest.approx([1.5, 1])
    assert found.loc[AUTHORS, "times_settings_style"] == pytest.approx(1)
    by_processors = reached(pd.concat([AUTHORS_CURVE, ours]), "cpu_seconds").set_index("variant")
    assert by_processors.loc["ours", "seconds_style"] == 8
    assert by_processors.loc["ours", "times_loop_style"] == pytest.approx(10)


def test_authors_that_pass_their_end_by_chance_are_credited_with_it():
    """Of 20 closures the fifth was nearer than the last: a quarter of the whole, but not by design."""
    early = curve(AUTHORS, (0, 0, 1, 0, 1), (5, 5, 0.375, 0.1, 1), (20, 20, 0.5, 0.2, 1), loop=1.0)
    ours = curve("ours", (0, 0, 1, 0, 1), (5, 2, 0.5, 0.1, 1), loop=1.0)
    found = reached(pd.concat([early, ours]), "seconds").set_index("variant").loc["ours"]
    assert found["times_loop_style"] == pytest.approx(5 / 2)
    assert found["times_whole_style"] == pytest.approx(20 / 2)


def test_the_start_is_no_result():
    """A judge may find the content nearer to the style than where the authors' settings end."""
    worse = curve(AUTHORS, (0, 0, 0.4, 0, 1), (10, 10, 0.45, 0.1, 1), (20, 20, 0.5, 0.2, 1), loop=1.0)
    ours = curve("ours", (0, 0, 0.4, 0, 1), (5, 3, 0.3, 0.1, 1), loop=1.0)
    found = reached(pd.concat([worse, ours]), "seconds").set_index("variant")
    assert found["seconds_style"].to_dict() == {TEXTBOOK: 10, AUTHORS: 10, "ours": 3}


def test_a_blurred_picture_and_one_that_lost_its_content_do_not_count():
    coarse = curve(
        "coarse", (0, 0, 1, 0, 1), (5, 1, 0.1, 0.1, 0.5), (9, 3, 0.4, 0.3, 1), (12, 6, 0.4, 0.2, 1)
    )
    found = reached(pd.concat([AUTHORS_CURVE, coarse]), "seconds").set_index("variant")
    assert found.loc["coarse", "seconds_style"] == 3
    assert found.loc["coarse", "seconds_both"] == 6
    assert found.loc["coarse", "content_then"] == pytest.approx(0.3 / 0.2)
    lost = curve("lost", (0, 0, 1, 0, 1), (5, 1, 0.1, 0.9, 1))
    found = reached(pd.concat([AUTHORS_CURVE, lost]), "seconds").set_index("variant")
    assert found.loc["lost", ["seconds_both", "times_loop_both"]].tolist() == [math.inf, 0]


@pytest.mark.parametrize("variant", VARIANTS)
def test_variants_minimise_the_authors_objective(variant):
    question = Question(settings=SMALL, size=32, closures=20, pairs=1, objective="authors")
    cell, authors = question.cell(variant), question.cell(AUTHORS)
    for part in ("smoothing", "network", "start", "images"):
        assert cell.config[part] == authors.config[part]
    assert {**cell.config.objective, "content_weight": 1.0, "content_decay": 1.0} == authors.config.objective
    objective, scales = cell.config.objective, len(cell.scales)
    assert objective.content_weight * objective.content_decay ** (scales - 1) == 1  # at the whole size
    assert (cell.config.optimizer.constants == "torch") == (variant == AUTHORS)


@pytest.mark.parametrize("variant", sorted(set(VARIANTS) - {AUTHORS}))
def test_variants_may_minimise_our_objective(variant):
    cell = Question(settings=SMALL, size=32, closures=20, pairs=1, objective="ours").cell(variant)
    assert (cell.config.objective.balance, cell.config.objective.style_weight) == ("sides", 10)
    assert (cell.config.images.resize, cell.config.images.interpolation) == ("squash", "bilinear")
    assert (cell.config.smoothing.name, cell.config.result) == ("none", "best")


def test_pictures_are_judged_as_finished_ones_are(tmp_path):
    """The project's own measures of the picture as it would be saved; small ones aren't shrunk for CFSD."""
    quality = Quality(
        Question(settings=SMALL, size=48, closures=5, pairs=1, objective="authors"), [], tmp_path
    )
    batch = quality.cells[AUTHORS].batch(quality.pairs)
    image = (batch.contents + batch.styles[0][0].image).div(2).mul(255).round() / 255
    [measures] = quality.held_out(image, batch.contents, [batch.styles[0][0].image])
    expected = {measure.statistic: measure.value for measure in measures}
    [found] = Judge(quality.held_out, batch)(image + 1e-4)
    assert (found.style, found.content) == pytest.approx(
        (expected["style_distance"], expected["cfsd"]), rel=1e-5
    )


def test_curves_are_kept_and_drawn(tmp_path):
    question = Question(
        settings=(*SMALL, "images.source.limit=2"), size=32, closures=10, pairs=2, objective="authors"
    )
    some, more = [AUTHORS, "coarse to fine"], [AUTHORS, "coarse to fine", BATCH]
    assert len(list(Quality(question, some, tmp_path).compute(chunk=3))) == 4
    before = {path: path.read_bytes() for path in tmp_path.rglob("*.parquet")}
    quality = Quality(question, more, tmp_path)
    assert list(quality.compute(chunk=3)) == [f"{BATCH}: {', '.join(pair.name for pair in quality.pairs)}"]
    assert not list(quality.compute(chunk=3))
    assert {path: path.read_bytes() for path in before} == before
    curves = quality.curves()
    ends = curves.groupby(["variant", "pair"]).last()
    assert ends.loc[AUTHORS, "closures"].tolist() == [10, 10]
    assert ends.loc["coarse to fine", "scale"].eq(1).all()
    assert ends["seconds"].gt(0).all()
    # Side by side a pair comes to what it comes to alone, but for rounding.
    side_by_side, alone = ends.loc[BATCH, "style"], ends.loc["coarse to fine", "style"]
    assert side_by_side.tolist() == pytest.approx(alone.tolist(), rel=0.05)
    assert quality.table("seconds").row_count == 4
    list(quality.write("seconds"))
    drawn = figure.load(tmp_path)
    first, pictures = (one for _, one in figure.make(drawn))
    lines = {line.get_label() for axis in first.axes for line in axis.get_lines()}
    assert {TEXTBOOK, *more} <= lines
    assert len(pictures.axes) == 2 * (2 + 3)
    assert len(list(figure.save(drawn, tmp_path))) == 4
    other = Question(settings=question.settings, size=32, closures=11, pairs=2, objective="authors")
    assert not Quality(other, some, tmp_path)._file(AUTHORS, quality.pairs[0]).exists()


def test_contenders_take_turns():
    class Counted:
        def __init__(self, closures):
            self.left = closures

        def advance(self, closures):
            turns.append(self)
            self.left -= closures
            return self.left > 0

    turns, loop = [], []
    short, long = Counted(3), Counted(6)
    ended = [name for name, _ in race({"short": short, "long": long}, loop.append, chunk=2)]
    assert turns == [short, long, short, long, long]
    assert ended == ["short", "long"]
    assert loop == [1] * 4  # one to warm up, one a round


def test_the_textbook_loop_goes_on_where_it_stopped():
    setup = Setup(
        architecture=architecture_of("resnet18"), size=32, batch=1, closures=4, device=torch.device("cpu")
    )
    textbook = Textbook(setup, frozen=True)
    advance = textbook.descent(*setup.pairs)
    assert [advance(1) for _ in range(4)][-1] == pytest.approx(textbook()[0], rel=1e-4)


def test_mistakes_are_named():
    question = Question(settings=SMALL, size=32, closures=5, pairs=99, objective="authors")
    with pytest.raises(SettingError, match="`--variants` should be one of authors' settings"):
        Quality(question, ["fastest"], None)
    with pytest.raises(SettingError, match="`images` should have at least 99 pairs"):
        Quality(question, [AUTHORS], None)


def test_the_command(tmp_path, monkeypatch, capsys):
    """Of small networks, and again: what is there is kept."""
    given = [
        "quality",
        "--network",
        "small_no_shortcut",
        "--weights",
        "trained",
        "--size",
        "32",
        "--closures",
        "6",
    ]
    given += [
        "--pairs",
        "1",
        "--judge",
        "small_before_relu",
        "--judge-weights",
        "trained",
        "--objective",
        "ours",
    ]
    given += ["--variants", "one scale", "--out", str(tmp_path), "--set", "compute.threads=1"]
    for lines in (3, 1):  # two curves and how to draw them; then the latter only
        monkeypatch.setattr("sys.argv", ["benchmark.py", *given])
        benchmark.main()
        printed = capsys.readouterr().out
        assert "small_no_shortcut(trained), our objective, 32 px, 6 closures, 1 pairs" in printed
        assert (
            len(re.findall("^(?:.*: astronaut__.*|python -m analysis quality .*)$", printed, re.M)) == lines
        )
    monkeypatch.setattr("sys.argv", ["benchmark.py", *given, "--pairs", "99"])
    with pytest.raises(SystemExit):
        benchmark.main()
    assert "error: `images` should have at least 99 pairs" in capsys.readouterr().out
