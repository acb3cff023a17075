"""Faults over real processes, disks and files: `python -m tests.faults`."""
