"""Run directories, the files in them, and their mirror in Weights & Biases."""
