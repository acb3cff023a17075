"""Weights & Biases as a mirror of run directories; a run's own result never depends on it.

python -m swag_repro.tracking sync [--runs outputs]
python -m swag_repro.tracking rebuild (RUN ... | --all) [--runs outputs]
"""

from swag_repro.tracking.about import About
from swag_repro.tracking.tracker import Tracker, tracked

__all__ = ["About", "Tracker", "tracked"]
