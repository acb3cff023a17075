"""The origin of numbers: versions, commit, memory."""

from __future__ import annotations

import platform
import subprocess
import sys
from functools import cache
from importlib import metadata
from pathlib import Path

from swag_repro import __version__


def peak_memory() -> int | None:
    """Return the most memory, in bytes, that this process has had so far; None if the system doesn't say.

    It is what CUDA has allocated if it is in use, otherwise resident memory.
    """
    torch = sys.modules.get("torch")
    if torch is not None and torch.cuda.is_initialized():
        return int(torch.cuda.max_memory_allocated())
    if sys.platform == "win32":
        return None
    import resource

    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak if sys.platform == "darwin" else peak * 1024


@cache
def versions() -> dict[str, str]:
    """Return the versions of Python, this package, torch and torchvision, without importing them."""
    installed = {name: metadata.version(name) for name in ("torch", "torchvision")}
    return {"python": platform.python_version(), "swag_repro": __version__, **installed}


@cache
def commit() -> str | None:
    """Return the commit of this package's checkout, with the suffix `-dirty` if tracked files differ from it.

    Return None outside a checkout, and where the package is installed inside another project's checkout.
    """
    tracked = _git("ls-files", "--error-unmatch", Path(__file__).name)
    return tracked and _git("describe", "--always", "--exclude=*", "--abbrev=40", "--dirty")


def _git(*arguments: str) -> str | None:
    command = ["git", "-C", str(Path(__file__).parent), *arguments]
    try:
        done = subprocess.run(command, capture_output=True, text=True, check=True, timeout=10)
    except (OSError, subprocess.SubprocessError):
        return None
    return done.stdout.strip()
