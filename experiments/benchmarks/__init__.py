"""What `experiments/benchmark.py` times."""
