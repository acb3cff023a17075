"""What `python -m tests.benchmarks` times."""
