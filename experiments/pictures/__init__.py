"""What all experiments that make pictures share: pairs, batches, saving and judging."""
