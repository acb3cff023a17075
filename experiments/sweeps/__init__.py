"""Multiruns: their jobs, what became of each, and how far they are."""
