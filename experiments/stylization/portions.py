"""How many pairs of a run are optimised side by side, and fewer where memory runs out."""

from __future__ import annotations

import json
import logging
from collections.abc import Callable

from swag_repro.runs.store import Run

BATCH_SIZE = "batch_size.json"

logger = logging.getLogger(__name__)


class Portions:
    """The sizes of a run's batches; `auto` is settled by the run's first attempt.

    On another machine, or beside other processes, another number would fit; then the pictures would be
    others, and checkpoints of no use. So `batch_size.json` keeps it for the attempts that follow, with what
    became of it where memory ran out.

    Args:
        run: whose directory keeps them.
        setting: `compute.batch_size`: a number, which stays, or `auto`.
        fitting: how many fit in memory now.
    """

    def __init__(self, run: Run, setting: int | str, fitting: Callable[[], int]) -> None:
        self._run, self._given = run, isinstance(setting, int)
        kept = (setting, {}) if isinstance(setting, int) else self._kept()
        self._size, self._halved = kept or (fitting(), {})
        if kept is None:
            self._keep()

    def at(self, position: int) -> int:
        """How many go together from the pair on before which there are so many."""
        from_here = [first for first in self._halved if first <= position]
        return self._halved[max(from_here)] if from_here else self._size

    def halve(self, position: int, pairs: int) -> bool:
        """From there on no more than half of these pairs go together; False where that can't be."""
        if self._given or pairs == 1:
            return False
        self._halved[position] = pairs // 2
        self._keep()
        logger.warning("memory ran out with %d pairs side by side: from here on %d", pairs, pairs // 2)
        return True

    def _kept(self) -> tuple[int, dict[int, int]] | None:
        try:
            kept = json.loads((self._run.path / BATCH_SIZE).read_text())
            halved = {int(position): int(size) for position, size in kept["halved"].items()}
            return int(kept["batch_size"]), halved
        except (OSError, ValueError, TypeError, KeyError, AttributeError):
            return None

    def _keep(self) -> None:
        with self._run.write_file(BATCH_SIZE) as file:
            file.write(json.dumps({"batch_size": self._size, "halved": self._halved}).encode())
