"""Experiments that measure networks and optimise nothing."""
