"""Parts of all experiments that make pictures: pairs, batches, saving and judging."""
