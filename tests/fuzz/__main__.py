"""Commands with one or two mistaken settings: each is a run, or one clear message.

python -m tests.fuzz --count 10000 --seed 7
python -m tests.fuzz --scan transfer
"""

from __future__ import annotations

import argparse
import sys
import tempfile
from collections import Counter
from pathlib import Path

from tests.fuzz.harness import BASES, Session


def main() -> int:
    """Tries so many commands; prints those that went wrong, and counts. Exit status 1 where one did."""
    parser = argparse.ArgumentParser(prog="python -m tests.fuzz")
    parser.add_argument("--count", type=int, default=500)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--scan", metavar="ENTRY", choices=BASES, help="each setting of it, by bad values")
    parser.add_argument("--list", action="store_true", help="every command and what it said")
    options = parser.parse_args()
    found: Counter[str] = Counter()
    with tempfile.TemporaryDirectory() as folder, Session(Path(folder)) as session:
        random = session.cases(options.count, options.seed)
        for case in random if options.scan is None else session.scan(options.scan):
            verdict, printed = session.judged(case)
            found[verdict] += 1
            if verdict not in ("run", "message") or options.list:
                print(f"--- {verdict}: {case}\n{printed[-1500:]}", flush=True)
    summary = ", ".join(f"{count} {verdict}" for verdict, count in sorted(found.items()))
    which = f"seed {options.seed}" if options.scan is None else f"scan of {options.scan}"
    print(f"fuzz: {found.total()} commands, {which}: {summary}")
    return 0 if set(found) <= {"run", "message"} else 1


if __name__ == "__main__":
    sys.exit(main())
