"""What every experiment that makes pictures shares: pairs, batches, saving and judging."""
