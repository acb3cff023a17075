"""Training of classifiers: its data, its recipe and its loop."""

from swag_repro.training.base import Loop, Machine, autocast
from swag_repro.training.batches import World
from swag_repro.training.data import Dataset, Preparation, labelled_folder, torchvision_dataset
from swag_repro.training.loop import ClassifierLoop, ClassifierRecipe, ClassifierScore

__all__ = [
    "ClassifierLoop",
    "ClassifierRecipe",
    "ClassifierScore",
    "Dataset",
    "Loop",
    "Machine",
    "Preparation",
    "World",
    "autocast",
    "labelled_folder",
    "torchvision_dataset",
]
