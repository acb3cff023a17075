"""Running out of memory, as torch says it on each device."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager

import torch

from swag_repro.errors import UserError


@contextmanager
def out_of_memory(problem: Callable[[str], UserError]) -> Iterator[None]:
    """Within, running out of memory raises what `problem` makes of torch's own words."""
    try:
        yield
    except (RuntimeError, MemoryError) as error:
        # Of a CPU torch raises RuntimeError; OutOfMemoryError, of accelerators, is one.
        known = isinstance(error, torch.OutOfMemoryError | MemoryError)
        if not known and "allocate memory" not in str(error):
            raise
        raise problem((str(error) or type(error).__name__).splitlines()[0]) from error
