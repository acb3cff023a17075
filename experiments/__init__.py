"""Entry points: how a run happens. The only code that sees Hydra's config."""

import os

# Read once, when torch is first imported. OpenMP's threads wait by spinning, which takes the cores from
# whatever else the machine runs: beside a busy process, a cell took 59 s so, and 4 s with sleeping threads.
os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")
