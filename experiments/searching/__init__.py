"""Searches of settings: space, objectives, and the study that processes share."""
