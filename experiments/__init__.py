"""Entry points: how a run happens. The only code that sees Hydra's config."""

import os

# torch reads this once, at its first import. A thread of OpenMP that waits for work spins this many times.
# With many spins, waiting threads take the cores from the machine's other processes: beside a busy process a
# cell took 59 s, against 6 s with this value. With none, small operations wait until the threads wake up:
# statistics took twice as long.
os.environ.setdefault("GOMP_SPINCOUNT", "10000")
