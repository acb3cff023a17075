"""Sweeps: their cells, their workers, and the states of their cells."""
