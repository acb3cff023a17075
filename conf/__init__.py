"""What to run: one group a folder, one choice a file, `experiment/` one file a figure or table."""
