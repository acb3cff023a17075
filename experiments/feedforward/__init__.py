"""Networks that stylise in one pass: their training and their use."""
