"""Measures of a finished picture: how much of the content it keeps, and how near it is to its style."""

from swag_repro.measures.distances import lpips, ssim, why_no_lpips
from swag_repro.measures.held_out import HeldOut, Measure, Measures, WeightedNetwork, check_held_out

__all__ = [
    "HeldOut",
    "Measure",
    "Measures",
    "WeightedNetwork",
    "check_held_out",
    "lpips",
    "ssim",
    "why_no_lpips",
]
