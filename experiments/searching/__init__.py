"""Searches of settings: what they choose from, what they seek, and their trials."""
