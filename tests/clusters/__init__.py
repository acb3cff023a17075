"""Real SLURM and real Ray on this machine, and sweeps under them."""
