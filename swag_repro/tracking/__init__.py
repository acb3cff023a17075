"""Mirroring of run directories in Weights & Biases; a run's own result never depends on it.

swag sync [--output outputs]
swag rebuild (RUN ... | --all) [--output outputs]
"""

from swag_repro.tracking.about import About, name_of
from swag_repro.tracking.tracker import Tracker, check_settings, tracked

__all__ = ["About", "Tracker", "check_settings", "name_of", "tracked"]
