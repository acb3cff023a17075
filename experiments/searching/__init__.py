"""Searches of settings: their spaces, their objectives and their trials."""
