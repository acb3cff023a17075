"""Measures of a finished picture: how much of the content it keeps, and how near it is to its style."""

from swag_repro.measures.distances import art_fid
from swag_repro.measures.held_out import HeldOut, Measure, Measures, WeightedNetwork

__all__ = [
    "HeldOut",
    "Measure",
    "Measures",
    "WeightedNetwork",
    "art_fid",
]
