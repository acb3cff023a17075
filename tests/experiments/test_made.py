"""What a single run prints to standard output, and where its pictures go."""

import sys
from pathlib import Path

import pytest
from PIL import Image

from experiments.stylize import main  # noqa: F401  (the fixture `run` calls it)
from tests.experiments.test_pasted import CONF, PICTURES, ROOT, shell

TINY = [f"hydra.searchpath=[file://{CONF}]", *PICTURES]
ONE = [*TINY, "content=coffee", "style=starry_night"]


@pytest.mark.slow
def test_the_path_of_the_picture_stands_alone_in_standard_output(tmp_path):
    words = " ".join(f"'{word}'" for word in ONE)
    first = shell(tmp_path, f"swag stylize {words}")
    assert first[0] == 0, first[2]
    [line] = first[1].splitlines()
    with Image.open(line) as picture:
        assert picture.size == (48, 32) or min(picture.size) == 32
    again = shell(tmp_path, f"swag stylize {words} save=new/copy.png")
    assert "skipped" in again[2]
    assert again[1] == "new/copy.png\n"
    assert (tmp_path / "new/copy.png").read_bytes() == Path(line).read_bytes()
    assert (tmp_path / "outputs/latest").resolve() == Path(line).parents[1]


@pytest.mark.slow
@pytest.mark.parametrize(
    "redirected", ["2>&-", ">&-", ">/dev/full", "2>/dev/full", "| head -c 0", "2>&1 | head -c 0"]
)
def test_streams_that_can_t_be_written_end_no_run(tmp_path, redirected):
    words = " ".join(f"'{word}'" for word in ONE)
    status, _, said = shell(tmp_path, f"swag stylize {words} {redirected}")
    assert "Traceback" not in said
    assert "Exception ignored" not in said
    assert status == (1 if redirected == ">/dev/full" else 0)
    assert "Error executing job" not in said
    assert len(list(tmp_path.glob("outputs/runs/*/images/coffee__starry_night.png"))) == 1


@pytest.mark.slow
@pytest.mark.parametrize("unbuffered", ["", "1"])
@pytest.mark.parametrize(
    "command",
    ["swag --help", "swag stylize --help", "swag experiments", "swag plot --help", "swag runs",
     f"{sys.executable} -m swag_repro --help", f"{sys.executable} {ROOT}/experiments/judge.py --help"],
)  # fmt: skip
def test_a_reader_that_has_gone_leaves_no_traceback(tmp_path, command, unbuffered):
    (tmp_path / "outputs" / "runs").mkdir(parents=True)
    for redirected in ("| head -1", "| head -c 0", ">/dev/full", ">&-"):
        _, _, said = shell(tmp_path, f"PYTHONUNBUFFERED={unbuffered} {command} {redirected}")
        assert said.count("\n") <= 1, said
        assert "OSError" not in said
        assert "Traceback" not in said


def test_a_copy_that_can_t_be_written_is_refused_before_the_painting(run, tmp_path):
    several = [*TINY, "content=[coffee,chelsea]", "style=starry_night", "pairing=product"]
    (tmp_path / "file").touch()
    (tmp_path / "mine.png").write_bytes(b"")
    for arguments, message in (
        (
            [*ONE, f"save={tmp_path}/a.xyz"],
            "`save` should be a file such as out.png for one picture, or a folder",
        ),
        ([*several, f"save={tmp_path}/a.png"], "`save` should be a file such as out.png for one picture"),
        ([*ONE, f"save={tmp_path}/file/a.png"], "`save` should be a place that can be written to"),
        ([*ONE, f"save={tmp_path}/{300 * 'a'}.png"], "should be a path that the system takes"),
        (["-m", *ONE, "seed=0,1", f"save={tmp_path}/a.png"], "`save` should be left out of a sweep"),
        (["-m", *ONE, f"save={tmp_path}/a.png,{tmp_path}/b.png"], "`save` should be left out of a sweep"),
    ):
        status, printed = run(*arguments)
        assert status == 1, printed
        assert message in printed
        assert "Traceback" not in printed
    assert not list(tmp_path.glob("out/runs/*"))


def test_an_input_is_never_overwritten(run, tmp_path):
    Image.new("RGB", (40, 40), "red").save(photo := tmp_path / "photo.png")
    before = photo.read_bytes()
    status, printed = run(*TINY, f"content={photo}", "style=starry_night", f"save={photo}")
    assert status == 1
    assert "`save` should be no input" in printed
    assert photo.read_bytes() == before


def test_copies_are_written_in_a_folder_and_in_other_formats(run, tmp_path):
    several = [*TINY, "content=[coffee,chelsea]", "style=starry_night", "pairing=product"]
    status, printed = run(*several, f"save={tmp_path}/copies/")
    assert status == 0, printed
    copies = sorted(path.name for path in (tmp_path / "copies").glob("*"))
    assert copies == ["chelsea__starry_night.png", "coffee__starry_night.png"]
    status, printed = run(*ONE, f"save={tmp_path}/one.jpg")
    assert status == 0, printed
    with Image.open(tmp_path / "one.jpg") as copy:
        assert copy.format == "JPEG"


def test_a_copy_changes_no_run_id(run, tmp_path):
    assert run(*ONE)[0] == run(*ONE, f"save={tmp_path}/one.png")[0] == 0
    assert len(list((tmp_path / "out" / "runs").iterdir())) == 1
    [directory] = (tmp_path / "out" / "runs").iterdir()
    assert (tmp_path / "out" / "latest").readlink() == Path("runs") / directory.name
    assert [path.name for path in (tmp_path / "out").glob(".latest*")] == []
