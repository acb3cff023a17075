"""A cache of what Hydra composes."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import pytest
from hydra._internal.hydra import Hydra


@contextmanager
def composed_once() -> Iterator[None]:
    """Within, a command is composed once.

    Hydra also composes it to look for a `hydra.mode`, which nothing of ours sets; that takes a quarter of a
    second each time.
    """
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Hydra, "get_mode", lambda *_, **__: None)
        yield
