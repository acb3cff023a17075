"""Reproduction of SWAG (CVPR 2021), Demystifying Neural Style Transfer and AdaIN."""

__version__ = "0.1.0"
