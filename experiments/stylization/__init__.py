"""The experiment `stylize` and its parts."""
