"""Run directories, what is in them, and their mirror in Weights & Biases."""
