"""What the papers state, what our runs say of it, and by how much."""
