"""Entry points: how a run happens. The only code that sees Hydra's config."""

import os

# Read once, when torch is first imported. OpenMP's threads wait by spinning. For long, and they take the
# cores from whatever else the machine runs: beside a busy process, a cell took 59 s so, and 6 s with threads
# that soon sleep. Not at all, and small operations wait for them to wake up: statistics took twice as long.
os.environ.setdefault("GOMP_SPINCOUNT", "10000")
