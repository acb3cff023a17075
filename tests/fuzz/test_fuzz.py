"""The short form of `python -m tests.fuzz`."""

import subprocess
import sys
from itertools import islice

import pytest

from tests.fuzz.harness import Session

pytestmark = pytest.mark.slow

COUNT, SEED = 60, 0


@pytest.mark.timeout(1800)
@pytest.mark.filterwarnings("default")
def test_a_mistaken_command_is_a_run_or_one_clear_message(tmp_path, capsys):
    with Session(tmp_path) as session:
        judged = [(case, *session.judged(case)) for case in session.cases(COUNT, SEED)]
    wrong = [
        f"{verdict}: {case}\n{printed}"
        for case, verdict, printed in judged
        if verdict not in ("run", "message")
    ]
    with capsys.disabled():
        ran = sum(verdict == "run" for _, verdict, _ in judged)
        sys.stdout.write(f"\nfuzz: {COUNT} commands, seed {SEED}: {ran} ran, {len(wrong)} went wrong\n")
    assert not wrong, "\n".join(wrong)


@pytest.mark.timeout(1800)
def test_a_process_of_its_own_says_the_same(tmp_path):
    with Session(tmp_path) as session:
        for case in islice((case for case in session.cases(40, 1) if case.entry != "figure"), 2):
            status, printed = session.called(case)
            arguments = session.arguments(case)
            script = f"experiments/{case.entry}.py"
            done = subprocess.run(
                [sys.executable, script, *arguments], capture_output=True, text=True, check=False
            )
            assert (done.returncode == 0) == (status == 0), (case, printed, done.stderr)
            assert "Traceback" not in done.stderr
