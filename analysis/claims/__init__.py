"""What the papers state, what our runs say about it, and how large the effects are."""
