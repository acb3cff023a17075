"""Training of classifiers: its data, its recipe and its loop."""

from swag_repro.training.base import Loop, Machine, autocast
from swag_repro.training.data import Dataset, Preparation, folder, torchvision_dataset
from swag_repro.training.loop import Score, Training
from swag_repro.training.recipe import Recipe
from swag_repro.training.world import World

__all__ = [
    "Dataset",
    "Loop",
    "Machine",
    "Preparation",
    "Recipe",
    "Score",
    "Training",
    "World",
    "autocast",
    "folder",
    "torchvision_dataset",
]
