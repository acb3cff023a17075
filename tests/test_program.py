"""What all programs share: no encoding of a terminal ends them, and a mistake is one line."""

import io
import os
import subprocess
import sys
from contextlib import redirect_stderr, redirect_stdout, suppress
from functools import partial
from importlib import import_module

import pytest

from analysis import commands as analysis
from analysis.cli import COMMANDS
from experiments.launching import launch
from swag_repro.program import Parser, UsageError, ended

ENTRIES = sorted(
    {module for module, _ in COMMANDS.values() if module.startswith("experiments.")}
    - {"experiments.listing", "experiments.show_network"}
)

ASCII = {
    "PYTHONIOENCODING": {"PYTHONIOENCODING": "ascii"},
    "the locale": {"LC_ALL": "C", "PYTHONUTF8": "0", "PYTHONCOERCECLOCALE": "0"},
}
"""Environments whose terminals can't print σ or ×."""


def printed_in_ascii(program):
    """What a program prints at a terminal that only knows ASCII, to both streams."""
    streams = [io.TextIOWrapper(io.BytesIO(), encoding="ascii") for _ in range(2)]
    with redirect_stdout(streams[0]), redirect_stderr(streams[1]), suppress(SystemExit):
        program()
    for stream in streams:
        stream.flush()
    return [stream.buffer.getvalue().decode("ascii") for stream in streams]


@pytest.mark.parametrize("module", ENTRIES)
@pytest.mark.parametrize("key", ["", "network", "experiment"])
def test_help_of_every_entry_point_is_printed_in_ascii(module, key, monkeypatch):
    monkeypatch.setattr(sys, "argv", ["main.py", "--help", *([key] if key else [])])
    out, err = printed_in_ascii(partial(launch, import_module(module).main))
    if module != "experiments.transfer" or key != "network":  # it has none
        assert ("Examples:" in out) if not key else out.startswith(f"{key}: "), err
    else:
        assert err.startswith("error: `--help` should name a setting or a group")


@pytest.mark.parametrize("command", analysis.ANALYSIS_COMMANDS)
def test_help_of_every_analysis_command_is_printed_in_ascii(command):
    out, _ = printed_in_ascii(partial(analysis.main, [command, "--help"]))
    assert out.startswith(f"usage: swag {command} ")


def test_signs_that_an_encoding_lacks_are_escaped():
    def program():
        sys.stdout.write("σ × 2")
        raise UsageError("no σ", "None")

    assert printed_in_ascii(partial(ended, program)) == ["\\u03c3 \\xd7 2", "error: no \\u03c3. None\n"]


@pytest.mark.parametrize(
    ("environment", "arguments", "status"),
    [
        ("PYTHONIOENCODING", ["measure", "-m", "experiment=smoke", "name='σ×'", "--dry-run"], 0),
        ("PYTHONIOENCODING", ["figure", "σ"], 1),
        ("the locale", ["experiments"], 0),
    ],
)
def test_a_process_in_ascii_has_no_traceback(environment, arguments, status, tmp_path):
    script = "import sys; from analysis.cli import main; sys.argv[0] = 'swag'; main()"
    done = subprocess.run(
        [sys.executable, "-c", script, *arguments],
        env={**os.environ, **ASCII[environment]},
        capture_output=True,
        cwd=tmp_path,
        check=False,
    )
    assert done.returncode == status, done.stderr
    assert not list(tmp_path.iterdir())
    assert ("--dry-run" in arguments) == (b"4 cells for 1 workers. Nothing was computed." in done.stderr)
    assert b"Traceback" not in done.stderr
    assert done.stdout.isascii()
    assert done.stderr.isascii()


def test_a_parser_s_error_is_one_line_and_flags_are_written_in_full():
    parser = Parser(prog="swag x")
    parser.add_argument("--number", type=int)
    with pytest.raises(UsageError, match=r"argument --number: invalid int value: 'a'\. Type: swag x --help"):
        parser.parse_args(["--number", "a"])
    with pytest.raises(UsageError, match="unrecognized arguments: --num 3"):
        parser.parse_args(["--num", "3"])
