"""How much of the content a finished picture keeps, and how near its style it is."""

from swag_repro.measures.held_out import HeldOut, Measure, Measures, WeightedNetwork, check_held_out
from swag_repro.measures.perceptual import lpips, why_no_lpips
from swag_repro.measures.pictures import ssim

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
