"""The command `swag`; also `python -m swag_repro`."""

from __future__ import annotations

import sys

from swag_repro.parts import find_parts, pass_on
from swag_repro.program import ended


def main() -> None:
    """Run a command of `analysis.cli`."""
    sys.exit(ended(_run))


def _run() -> int:
    find_parts()
    pass_on()
    from analysis.cli import main as run  # here: it can't be found before

    run()
    return 0


if __name__ == "__main__":
    main()
